"""A database of runs: made once and whole; where it cannot be used, one line says why."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from database_util import put_database
from distill.errors import TrackingError
from distill.tracking import address, runs
from distill.tracking.address import client_of, experiment_of
from distill.tracking.lookup import find_runs
from pipeline_util import make_workspace

# MLflow warns of what it uses of other packages.
pytestmark = pytest.mark.filterwarnings("ignore:::mlflow", "ignore:.*type hint.*:UserWarning")


def broken(kind: str, root: Path) -> None:
    target = root / "mlflow.db"
    if kind == "a folder in its place":
        target.mkdir()
    elif kind == "no database":
        target.write_text("this is no database, and long enough not to be taken for an empty one" * 20)
    else:
        put_database(root)
        with closing(sqlite3.connect(target)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("a folder in its place", "cannot be opened"),
        ("no database", "it is no database"),
        ("a newer version", "version of MLflow"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(
    kind: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    broken(kind, tmp_path)
    with pytest.raises(TrackingError, match=said) as failed:
        find_runs(tmp_path, "0" * 64)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("name", ["Drum%20Kit", "what?"])
def test_a_folder_that_the_address_cannot_name_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = tmp_path / name
    project.mkdir()
    with pytest.raises(TrackingError, match="rename the folder"):
        client_of(project)
    assert [path.name for path in tmp_path.rglob("*")] == [name]
    client_of(put_database(tmp_path / "100% loud #1"))


def test_a_store_of_files_that_was_chosen_is_nobodys_earlier_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    chosen = (tmp_path / "big" / "mlartifacts").as_uri()
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", chosen)
    project = tmp_path / "project"
    (project / "mlartifacts").mkdir(parents=True)
    for _ in range(2):
        client = client_of(project)
        found = client.get_experiment(experiment_of(client, project))
        assert found.artifact_location.startswith(chosen)


def test_a_locked_database_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(address, "LOCK_SECONDS", 0.2)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="locked by another program"):
            find_runs(tmp_path, "0" * 64)


FIRST = "import sys\nfrom pathlib import Path\nfrom distill.tracking.address import client_of, experiment_of\n"
FIRST += "experiment_of(client_of(Path(sys.argv[1])), Path(sys.argv[1]))"


def test_two_processes_that_record_first_make_one_database(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    command = [sys.executable, "-W", "ignore", "-c", FIRST, str(tmp_path)]
    children = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    said = [child.communicate()[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
    (default, own) = sorted(client_of(tmp_path).search_experiments(), key=lambda each: int(each.experiment_id))
    assert (default.name, own.name) == ("Default", "distill")
    assert own.artifact_location == (tmp_path / "mlartifacts").as_uri()


def test_a_database_that_cannot_be_made_is_a_warning_for_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DISTILL_TRACKING", "on")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    workspace = make_workspace(tmp_path)
    with runs.keep_run_open(workspace, started_by="prefect", tags={}):
        pass
    assert "cannot use the record of runs" in caplog.text
