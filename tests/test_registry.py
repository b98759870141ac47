"""The registry: versions around model files, and what goes wrong in one line."""

import shutil
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

import work_util
from database_util import put_database
from distill.errors import ArtifactError, DataError, DistillError, TrackingError, UsageError
from distill.registry import catalogue
from distill.registry.promotion import Refused, promote
from distill.registry.registration import register
from distill.registry.registry import delete_version, find_version, resolve, versions
from distill.tracking import address
from distill.tracking.address import client_of, experiment_of
from page_util import free_port, wait
from registry_util import make_folder, mlflow_server, model_file, stored_files, with_model

# MLflow uses what SQLAlchemy will remove.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_model(tmp_path_factory.mktemp("registry") / "project")


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


def test_the_same_weights_with_another_history_are_a_version_of_their_own(project: Path, tmp_path: Path) -> None:
    path = model_file(tmp_path / "checked.distill", verdict="pass")
    first = register(path, project)
    again = register(model_file(path, verdict="fail", lineage="c"), project)
    assert (again.digest, again.version) == (first.digest, first.version + 1)
    with pytest.raises(Refused, match="memorized"):
        promote(again.reference, project)


def test_two_processes_that_register_at_once_make_one_version(project: Path, tmp_path: Path) -> None:
    path, ready = model_file(tmp_path / "twice.distill"), tmp_path / "ready"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pool.submit(work_util.registers, path, project, ready)
        wait(ready.exists)
        assert [register(path, project).version, there.result()] == [1, 1]
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
    with pytest.raises(DataError, match="nothing yet"):
        find_version("bells", tmp_path / "project")
    assert not (tmp_path / "project" / "mlflow.db").exists()


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
    with pytest.raises((DataError, UsageError), match=said) as failed:
        resolve(reference, project)
    assert "\n" not in str(failed.value)


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
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
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
