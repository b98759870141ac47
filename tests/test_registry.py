"""The registry: versions around model files, who may be champion, and what goes wrong in one line."""

import ast
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from importlib.metadata import packages_distributions
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from database_util import put_database
from distill.errors import ArtifactError, DistillError, TrackingError, UsageError
from distill.registry import catalogue
from distill.registry.promotion import promote
from distill.registry.registration import register
from distill.registry.registry import delete_version, find_version, resolve, versions
from distill.tracking import address
from distill.tracking.address import client_of, experiment_of
from registry_util import make_folder, mlflow_server, model_file

# MLflow uses what SQLAlchemy will remove.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(autouse=True)
def _own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a registered model."""
    root = put_database(make_folder(tmp_path_factory.mktemp("registry") / "project"))
    register(model_file(root / "models" / "bells.distill"), root)
    return root


def stored_files(project: Path) -> set[Path]:
    return {path for path in (project / "mlartifacts").rglob("*") if path.is_file()}


def test_the_same_bytes_are_one_version_and_others_a_new_one(project: Path, tmp_path: Path) -> None:
    first = find_version("bells", project)
    again = register(project / "models" / "bells.distill", project)
    assert (again.version, again.created) == (first.version, False)
    assert "candidate" in first.aliases
    other = register(model_file(tmp_path / "bells.distill", weights=1), project)
    assert other.created
    assert other.version == first.version + 1
    assert find_version("bells@candidate", project).version == other.version
    assert resolve("bells/1", project).read_bytes() == (project / "models" / "bells.distill").read_bytes()


def test_a_version_says_what_it_is_and_holds_nothing_pickled(project: Path) -> None:
    version = client_of(project).get_model_version("bells", "1")
    assert version.tags["distill.verdict"] == "pass"
    assert version.tags["distill.health"] == "green: Healthy"
    assert version.tags["distill.dataset"] == "Glöckchen 🔔"
    assert "held-out distance in dB 4" in version.description
    assert "Memorization: pass. a reason" in version.description
    suffixes = {path.suffix for path in stored_files(project)}
    assert suffixes == {".distill", ".json", ".py", ".txt", ".yaml", ""}


def test_the_same_weights_with_another_history_are_a_version_of_their_own(project: Path, tmp_path: Path) -> None:
    path = model_file(tmp_path / "checked.distill", verdict="pass")
    first = register(path, project)
    again = register(model_file(path, verdict="fail", lineage="c"), project)
    assert (again.digest, again.version) == (first.digest, first.version + 1)
    with pytest.raises(UsageError, match="memorized"):
        promote(again.reference, project)


def _register_there(arguments: tuple[str, str]) -> int:
    return register(Path(arguments[0]), Path(arguments[1])).version


def test_two_processes_that_register_at_once_make_one_version(project: Path, tmp_path: Path) -> None:
    path = model_file(tmp_path / "twice.distill")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_register_there, [(str(path), str(project))] * 2)) == [1, 1]
    assert len(versions(project, "twice")) == 1


def test_a_model_belongs_to_the_finished_run_that_made_it(project: Path, tmp_path: Path) -> None:
    client = client_of(project)
    made = []
    for status in ("FINISHED", "KILLED"):
        run = client.create_run(experiment_of(client, project), tags={"distill.lineage": "d" * 64})
        client.set_terminated(run.info.run_id, status)
        made.append(run.info.run_id)
    version = register(model_file(tmp_path / "made.distill", lineage="d"), project)
    assert version.run_id == made[0]


def test_a_model_without_a_prior_is_not_registered(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="has no prior"):
        register(model_file(tmp_path / "mute.distill", with_prior=False), project)
    assert versions(project, "mute") == []


def test_looking_makes_no_database(tmp_path: Path) -> None:
    make_folder(tmp_path / "project")
    assert versions(tmp_path / "project") == []
    with pytest.raises(UsageError, match="nothing yet"):
        find_version("bells", tmp_path / "project")
    assert not (tmp_path / "project" / "mlflow.db").exists()


def promoted(name: str, project: Path, folder: Path, *, force: bool = False, **kind: Any) -> str:
    version = register(model_file(folder / f"{name}.distill", **kind), project)
    try:
        promote(version.reference, project, force=force)
    except UsageError as error:
        return str(error)
    assert find_version(f"{name}@champion", project).version == version.version
    return "promoted"


def test_only_what_memorized_nothing_and_is_not_worse_becomes_champion(project: Path, tmp_path: Path) -> None:
    assert "a reason" in promoted("gate", project, tmp_path, verdict="fail", weights=1)
    assert "a reason" in promoted("gate", project, tmp_path, verdict="fail", weights=2, force=True)
    assert "warn" in promoted("gate", project, tmp_path, verdict="warn", weights=3)
    assert "never checked" in promoted("gate", project, tmp_path, verdict=None, weights=4)
    assert promoted("gate", project, tmp_path, distance=4.0, weights=5) == "promoted"
    assert "4.5" in promoted("gate", project, tmp_path, distance=4.5, weights=6)
    assert "other sounds" in promoted("gate", project, tmp_path, distance=3.0, weights=7, data="cd")
    assert promoted("gate", project, tmp_path, distance=4.5, weights=8, force=True) == "promoted"
    assert promoted("gate", project, tmp_path, distance=3.9, weights=9) == "promoted"


def test_an_unknown_quality_compares_by_loss_or_not_at_all(project: Path, tmp_path: Path) -> None:
    assert promoted("blind", project, tmp_path, distance=None, weights=1) == "promoted"
    assert "not known" in promoted("blind", project, tmp_path, distance=3.0, weights=2)
    known = {"distance": None, "best_val_loss": 0.5}
    assert promoted("blind", project, tmp_path, weights=3, force=True, **known) == "promoted"
    assert "loss is 0.6" in promoted("blind", project, tmp_path, weights=4, distance=None, best_val_loss=0.6)
    assert promoted("blind", project, tmp_path, weights=5, distance=None, best_val_loss=0.4) == "promoted"


def test_a_tag_that_somebody_edits_does_not_open_the_gate(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "edited.distill", verdict="fail"), project)
    client_of(project).set_model_version_tag(version.name, str(version.version), "distill.verdict", "pass")
    with pytest.raises(UsageError, match="memorized"):
        promote(version.reference, project)


def test_a_file_that_was_exchanged_or_damaged_is_no_champion(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "changed.distill", verdict="fail"), project)
    stored = resolve(version.reference, project)
    shutil.copy(model_file(tmp_path / "other" / "changed.distill", weights=1), stored)
    with pytest.raises(ArtifactError, match="is not the model that was registered"):
        promote(version.reference, project)
    data = bytearray(model_file(tmp_path / "again" / "changed.distill").read_bytes())
    data[-1] ^= 1
    stored.write_bytes(data)
    with pytest.raises(ArtifactError, match="damaged"):
        promote(version.reference, project)


def test_a_file_is_registered_before_it_is_promoted(project: Path) -> None:
    with pytest.raises(UsageError, match="distill model register"):
        promote(str(project / "models" / "bells.distill"), project)


@pytest.mark.parametrize("step", ["set_registered_model_alias", "create_model_version", "finalize_logged_model"])
def test_a_failure_leaves_nothing(step: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    def fails(*_arguments: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    def runs() -> int:
        return len(client_of(project).search_runs([experiment_of(client_of(project), project)]))

    before = stored_files(project), runs()
    monkeypatch.setattr(MlflowClient, step, fails)
    with pytest.raises(DistillError, match="disk is full"):
        register(model_file(tmp_path / "half.distill", lineage="e"), project)
    assert (stored_files(project), runs()) == before
    assert versions(project, "half") == []
    assert not any(model.name == "half" for model in client_of(project).search_registered_models())


def test_a_version_whose_file_is_lost_is_named_and_can_be_registered_again_or_deleted(
    project: Path, tmp_path: Path
) -> None:
    path = model_file(tmp_path / "lost.distill")
    version = register(path, project)
    resolve(version.reference, project).unlink()
    with pytest.raises(ArtifactError, match="no model file"):
        resolve(version.reference, project)
    _, unreadable = catalogue.catalogue(project)
    assert "lost/1" in [each.place for each in unreadable]
    assert register(path, project).version == version.version
    assert resolve(version.reference, project).read_bytes() == path.read_bytes()
    resolve(version.reference, project).unlink()
    delete_version(version, project)
    assert versions(project, "lost") == []


def test_an_interrupted_registration_is_completed(project: Path, tmp_path: Path) -> None:
    path = model_file(tmp_path / "stopped.distill")
    register(path, project)
    client_of(project).delete_registered_model_alias("stopped", "candidate")
    assert register(path, project).aliases == ("candidate",)
    assert find_version("stopped@candidate", project).version == 1


def test_deleting_leaves_no_file_and_touches_no_other_folder(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "gone.distill"), project)
    folder = resolve(version.reference, project).parents[1]
    delete_version(version, project)
    assert not folder.exists()
    client = client_of(project)
    (tmp_path / "diary").mkdir()
    client.create_registered_model("elsewhere")
    client.create_model_version("elsewhere", source=(tmp_path / "diary").as_uri(), tags={"distill.digest": "a" * 64})
    delete_version(find_version("elsewhere", project), project)
    assert (tmp_path / "diary").exists()


def test_models_of_other_kinds_are_left_alone(project: Path, tmp_path: Path) -> None:
    client = client_of(project)
    client.create_registered_model("it's not ours")
    client.create_model_version("it's not ours", source=(tmp_path / "x").as_uri())
    try:
        assert "it's not ours" not in {version.name for version in versions(project)}
    finally:
        client.delete_registered_model("it's not ours")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("bell", "did you mean bells"),
        ("bells/99", "no such version"),
        ("bells@nobody", "no such version"),
        ("../bells/1", "neither a model file nor"),
        ("bells/1\n", "neither a model file nor"),
        ("bells'", "did you mean bells"),
        ("", "neither a model file nor"),
    ],
)
def test_a_reference_to_nothing_is_one_line(reference: str, said: str, project: Path) -> None:
    with pytest.raises(UsageError, match=said) as failed:
        resolve(reference, project)
    assert "\n" not in str(failed.value)


def test_a_file_that_is_in_no_registry_is_told_how_it_gets_there(project: Path) -> None:
    file = shutil.copy(project / "models" / "bells.distill", project / "models" / "kit.distill")
    with pytest.raises(UsageError, match=rf"{file} is a file: distill model register {file} registers it"):
        promote("kit", project)
    file.unlink()


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "a b", "Glöckchen", "a'b", "a\n", "x" * 101])
def test_a_name_that_cannot_be_one_is_refused(name: str, project: Path) -> None:
    with pytest.raises(UsageError, match="cannot be a model's name"):
        register(project / "models" / "bells.distill", project, name=name)


def test_a_registry_of_its_own_holds_the_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "sqlite:///registry.db")
    root = put_database(make_folder(tmp_path / "project"))
    assert versions(root) == []
    first = register(model_file(root / "models" / "bells.distill"), root)
    assert find_version("bells@candidate", root).version == first.version
    assert resolve("bells/1", root).is_file()
    assert (root / "registry.db").is_file()
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    assert versions(root) == []


def test_a_server_that_is_away_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{probe.getsockname()[1]}")
    with pytest.raises(TrackingError, match="nothing answers there"):
        register(project / "models" / "bells.distill", project)
    entries, unreadable = catalogue.catalogue(project)
    assert [str(path) for entry in entries for path in entry.files] == [str(project / "models" / "bells.distill")]
    assert [each.place for each in unreadable] == ["registry"]


def test_a_database_that_cannot_be_used_is_one_line(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_folder(tmp_path / "other")
    path = project / "models" / "bells.distill"
    monkeypatch.setattr(address, "LOCK_SECONDS", 0.2)

    shutil.copy(project / "mlflow.db", other / "mlflow.db")
    with closing(sqlite3.connect(other / "mlflow.db")) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="locked by another program"):
            register(path, other)
        connection.rollback()
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        connection.commit()
    with pytest.raises(TrackingError, match="version"):
        register(path, other)

    (other / "mlflow.db").write_text("my diary")
    with pytest.raises(TrackingError, match="it is no database"):
        register(path, other)
    (other / "mlflow.db").unlink()
    (other / "mlflow.db").mkdir()
    with pytest.raises(TrackingError, match="cannot be opened"):
        register(path, other)
    assert not (other / "mlartifacts").exists()


def test_storage_that_cannot_be_written_is_one_line_and_nothing_is_registered(project: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other")
    shutil.copy(project / "mlflow.db", other / "mlflow.db")
    client = client_of(other)
    blocked = client.create_experiment("blocked", artifact_location=(other / "mlartifacts").as_uri())
    run = client.create_run(blocked)
    (other / "mlartifacts").write_text("in the way")
    with pytest.raises(TrackingError) as failed:
        register(model_file(tmp_path / "kept.distill"), other, run_id=run.info.run_id)
    assert "\n" not in str(failed.value)
    assert versions(other, "kept") == []


@pytest.mark.slow
def test_a_server_keeps_models_as_files_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_folder(tmp_path / "project")
    path = model_file(tmp_path / "away.distill")
    fetched = project / ".distill" / "registry"
    with mlflow_server(tmp_path) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
        assert register(path, project).created
        assert not register(path, project).created
        (entry,), unreadable = catalogue.catalogue(project)
        assert (entry.summary()["registered"], unreadable) == (["away/1"], [])
        assert not list(fetched.rglob("*.distill"))
        assert promote("away", project).aliases == ("candidate", "champion")
        out = catalogue.export("away@champion", tmp_path / "out.distill", project)
        assert out.read_bytes() == path.read_bytes()
        catalogue.delete("away/1", project, force=True)
        assert versions(project) == []
        assert not list((tmp_path / "kept").rglob("*.distill"))
        assert not list(fetched.iterdir())


# Python finds neither this repository nor an installed distill.
ALONE = """
import sys
sys.path = [path for path in sys.path if not path.startswith({repository!r}) or "site-packages" in path]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model({folder!r})
made = model.predict(pandas.DataFrame([{{"seed": 3, "seconds": 0.4}}]))
import distill
print(distill.__file__)
print(made["audio"][0])
"""


def test_a_registered_model_brings_the_code_that_it_needs(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "kit.distill"), project)
    folder = Path(version.source.removeprefix("file://"))
    code = ALONE.format(repository=str(Path(__file__).parents[1]), folder=str(folder))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    where, audio = done.stdout.split()
    assert Path(where).is_relative_to(folder / "code")
    import mlflow.pyfunc

    here = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame([{"seed": 3, "seconds": 0.4}]))
    assert here["audio"][0] == audio
    size = sum(path.stat().st_size for path in (folder / "code").rglob("*") if path.is_file())
    assert size < 1_000_000


def test_what_a_registered_model_imports_is_what_it_asks_for(project: Path, tmp_path: Path) -> None:
    folder = Path(register(model_file(tmp_path / "kit.distill"), project).source.removeprefix("file://"))
    asked = {line.partition("==")[0] for line in (folder / "requirements.txt").read_text().splitlines()}
    assert not any(name.startswith("distill") for name in asked)
    known = packages_distributions()
    for path in (folder / "code").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in (each.partition(".")[0] for each in names):
                if name not in sys.stdlib_module_names and name != "distill":
                    assert {each.lower() for each in known[name]} & asked, f"{path.name} imports {name}"


def test_a_registered_model_is_a_logged_model_with_its_figures(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "logged.distill", distance=2.5), project)
    client = client_of(project)
    model_id = version.source.split("/")[-2]
    logged = client.get_logged_model(model_id)
    assert logged.artifact_location == version.source
    assert str(logged.status).endswith("READY")
    figures = {metric.key: metric.value for metric in logged.metrics}
    assert figures["model/lsd_db"] == 2.5
    assert {"model/level_0/utilization", "model/level_1/dead_codes"} <= figures.keys()
    delete_version(version, project)
    with pytest.raises(Exception, match="not found"):
        client.get_logged_model(model_id)
