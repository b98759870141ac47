"""A record that several machines share: a database of PostgreSQL, with its files in a store that speaks S3."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import psycopg
import pytest
from local import HERE, Services
from team_util import database, services, store_of

from distill.errors import StorageError, TrackingError
from distill.registry import registration, registry
from distill.registry.registration import register
from distill.registry.registry import find_version, versions
from distill.tracking.address import ADDRESS, ARTIFACT_ROOT, EXPERIMENT, client_of, experiment_of
from distill.versions.dvc import dvc
from page_util import free_port
from registry_util import make_folder, model_file

pytestmark = [
    # MLflow warns of what it uses of other packages, and boto3 of Python's own age.
    pytest.mark.filterwarnings(
        "ignore:::mlflow", "ignore:.*type hint.*:UserWarning", "ignore:::boto3", "ignore:::botocore"
    ),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def team() -> Iterator[Services]:
    with services() as found:
        found.start_postgres()
        found.start_service("s3")
        yield found


@pytest.fixture
def _shared(team: Services, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv(ADDRESS, database(team))
    monkeypatch.setenv(ARTIFACT_ROOT, "s3://distill/mlflow")
    monkeypatch.setenv(EXPERIMENT, request.node.name)
    for name, value in store_of(team).items():
        monkeypatch.setenv(name, value)


def rows(team: Services, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database(team)) as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.mark.usefixtures("_shared")
def test_files_go_to_the_store_and_no_folder_of_a_project_into_the_database(team: Services, tmp_path: Path) -> None:
    project = make_folder(tmp_path / "project")
    made = register(model_file(tmp_path / "stored.distill"), project)
    assert made.source.startswith("s3://distill/mlflow/")
    for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("model_versions", "source")):
        # MLflow makes the experiment 0 itself, which nobody uses.
        found = rows(team, f"SELECT {column} FROM {table} WHERE {column} NOT LIKE '%mlruns%'")
        assert found
        assert all(str(value).startswith(("s3://", "models:/")) for (value,) in found)
        assert str(tmp_path) not in str(rows(team, f"SELECT {column} FROM {table}"))
    # Another machine has the addresses alone.
    elsewhere = make_folder(tmp_path / "elsewhere")
    same = registry.file_of(find_version("models:/stored/1", elsewhere), elsewhere)
    assert same.read_bytes() == (tmp_path / "stored.distill").read_bytes()


@pytest.mark.usefixtures("_shared")
def test_two_machines_that_register_the_same_model_at_once_give_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_file(tmp_path / "twice.distill")
    projects = [make_folder(tmp_path / name) for name in ("one", "other")]
    found: list[registry.RegisteredVersion | Exception] = []
    client_of(projects[0]).search_experiments()
    # Both have seen that it is not there before either goes on.
    both, read_intact = threading.Barrier(2), registration.read_intact

    def read_at_once(path: Path, *, generates: bool) -> object:
        both.wait(60)
        return read_intact(path, generates=generates)

    monkeypatch.setattr(registration, "read_intact", read_at_once)

    def one(project: Path) -> None:
        try:
            found.append(register(model, project))
        except Exception as error:  # noqa: BLE001
            found.append(error)

    threads = [threading.Thread(target=one, args=(project,)) for project in projects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.version for each in found if isinstance(each, registry.RegisteredVersion)} == {1}, found
    assert len(found) == 2
    (kept,) = versions(projects[0], "twice")
    assert kept.aliases == ("candidate",)
    assert registry.file_of(kept, projects[1]).read_bytes() == model.read_bytes()


@pytest.mark.usefixtures("_shared")
def test_a_run_with_a_long_name_is_recorded(tmp_path: Path) -> None:
    from distill.tracking import runs

    project = make_folder(tmp_path / "project")
    run_id = runs._create(client_of(project), project, "setting " * 100, {})
    assert client_of(project).get_run(run_id).info.run_name.startswith("setting setting")


def test_a_shared_database_needs_a_place_for_files(
    team: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, database(team))
    monkeypatch.setenv(EXPERIMENT, "nowhere")
    monkeypatch.delenv(ARTIFACT_ROOT, raising=False)
    project = make_folder(tmp_path / "project")
    with pytest.raises(TrackingError, match=f"set {ARTIFACT_ROOT}") as failed:
        experiment_of(client_of(project), project)
    assert team.values["POSTGRES_PASSWORD"] not in str(failed.value)
    assert not rows(team, "SELECT name FROM experiments WHERE name = 'nowhere'")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("password", "the user's name or the password is wrong"),
        ("away", "nothing answers there"),
        ("no driver", r"pip install 'distill-audio\[postgres\]'"),
    ],
)
def test_a_database_that_cannot_be_reached_is_one_line(
    wrong: str, said: str, team: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = database(team, password="no-such-word" if wrong == "password" else None)
    if wrong == "away":
        address = address.replace(str(team.ports["postgres"]), str(free_port()))
    if wrong == "no driver":
        (tmp_path / "none").mkdir()
        (tmp_path / "none" / "psycopg.py").write_text("raise ModuleNotFoundError(\"No module named 'psycopg'\")")
        monkeypatch.syspath_prepend(tmp_path / "none")
        monkeypatch.delitem(sys.modules, "psycopg")
    monkeypatch.setenv(ADDRESS, address)
    with pytest.raises(TrackingError, match=said) as failed:
        client_of(make_folder(tmp_path / "project"))
    assert "\n" not in str(failed.value)
    assert "no-such-word" not in str(failed.value)
    assert team.values["POSTGRES_PASSWORD"] not in str(failed.value)


@pytest.mark.usefixtures("_shared")
@pytest.mark.parametrize(
    ("wrong", "said"), [("no bucket", "the bucket for files does not exist"), ("away", "does not answer")]
)
def test_a_store_that_cannot_be_used_is_one_line_and_leaves_nothing(
    wrong: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_folder(tmp_path / "project")
    if wrong == "no bucket":
        monkeypatch.setenv(ARTIFACT_ROOT, "s3://no-such-bucket/mlflow")
    else:
        # MLflow keeps its connection as long as this is the same.
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TrackingError, match=said) as failed:
        register(model_file(tmp_path / "lost.distill"), project)
    assert "\n" not in str(failed.value)
    assert versions(project, "lost") == []


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tracked")
    dvc(root, "init", "--no-scm", "--quiet")
    (root / "sound.wav").write_bytes(b"a sound")
    dvc(root, "add", "--quiet", "sound.wav")
    return root


@pytest.mark.usefixtures("_shared")
@pytest.mark.parametrize("wrong", ["", "no bucket", "away", "no driver"])
def test_dvc_says_in_one_line_why_its_remote_cannot_be_used(
    wrong: str, tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(tracked, tmp_path / "project")
    url = "s3://no-such-bucket/dvc" if wrong == "no bucket" else "s3://distill/dvc"
    (root / ".dvc" / "config").write_text(
        f"[core]\n    no_scm = True\n    remote = team\n['remote \"team\"']\n    url = {url}\n"
    )
    if wrong == "away":
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    if wrong == "no driver":
        (tmp_path / "none").mkdir()
        (tmp_path / "none" / "dvc_s3.py").write_text("raise ImportError('not here')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "none"))
    if not wrong:
        dvc(root, "push")
        (root / "sound.wav").unlink()
        (root / ".dvc" / "cache").rename(tmp_path / "gone")
        dvc(root, "pull")
        assert (root / "sound.wav").read_bytes() == b"a sound"
        return
    said = {
        "no bucket": "the bucket does not exist",
        "away": "does not answer",
        "no driver": "pip install 'distill-audio[s3]'",
    }
    with pytest.raises(StorageError) as failed:
        dvc(root, "push")
    assert said[wrong] in str(failed.value)
    assert "\n" not in str(failed.value)


@pytest.mark.slow
@pytest.mark.usefixtures("_shared")
def test_a_backup_brings_back_what_was_lost(team: Services, tmp_path: Path) -> None:
    project = make_folder(tmp_path / "project")
    made = register(model_file(tmp_path / "kept.distill"), project)
    environment = {**team.environment("keep"), **team.database()}

    def keep(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, str(HERE / "keep.py"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stderr

    keep("backup", str(tmp_path / "backup"))
    assert "is there already" in keep("backup", str(tmp_path / "backup"), code=1)
    assert "is no backup" in keep("restore", str(tmp_path), code=1)
    registry.delete_version(made, project)
    assert versions(project, "kept") == []
    keep("restore", str(tmp_path / "backup"))
    (again,) = versions(project, "kept")
    assert again == find_version("kept/1", project)
    assert registry.file_of(again, project).read_bytes() == (tmp_path / "kept.distill").read_bytes()
    assert [each["Name"] for each in boto3.client("s3").list_buckets()["Buckets"]] == ["distill"]


def test_no_service_starts_without_passwords() -> None:
    from local import interpolated

    with pytest.raises(ValueError, match="set POSTGRES_PASSWORD"):
        interpolated("${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD in .env}", {"POSTGRES_PASSWORD": ""})
