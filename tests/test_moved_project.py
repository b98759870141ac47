"""A project that was moved or copied: its registry and its recorded runs go on, and the original is left alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from database_util import put_database
from distill.registry.registration import register
from distill.registry.registry import file_of, versions
from distill.runs.dvc_project import open_project, plan_run
from distill.tracking.address import client_of
from page_util import make_sounds
from pipeline_util import bytes_of
from registry_util import make_folder, model_file

pytestmark = pytest.mark.filterwarnings("ignore:::mlflow", "ignore:.*type hint.*:UserWarning")


REGISTER = """
from pathlib import Path
from distill.registry.registration import register
assert not register(Path("models/kit.distill"), Path()).created
"""


@pytest.fixture(autouse=True)
def _own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)


def test_the_registry_of_a_moved_and_of_a_copied_project_goes_on(tmp_path: Path) -> None:
    here, moved, copied = put_database(make_folder(tmp_path / "here")), tmp_path / "moved", tmp_path / "copied"
    first = register(model_file(here / "models" / "kit.distill"), here)
    here.rename(moved)
    shutil.copytree(moved, copied)
    untouched = bytes_of(copied)
    (known,) = versions(moved)
    assert file_of(known, moved).is_relative_to(moved)
    assert register(moved / "models" / "kit.distill", moved).created is False
    assert register(model_file(moved / "models" / "new.distill", weights=1, lineage="c"), moved).created
    run = client_of(moved).get_run(str(first.run_id))
    assert run.info.artifact_uri.startswith(moved.as_uri())
    assert bytes_of(copied) == untouched
    original = bytes_of(moved)
    (known,) = versions(copied)
    assert file_of(known, copied).is_relative_to(copied)
    shutil.rmtree(copied / "mlartifacts")
    (copied / "mlartifacts").mkdir()
    # In a process of its own, as MLflow remembers the place of a run as long as one lives.
    subprocess.run([sys.executable, "-W", "ignore", "-c", REGISTER], cwd=copied, check=True)
    assert file_of(known, copied).is_relative_to(copied)
    assert bytes_of(moved) == original
    assert not here.exists()


def test_a_copied_project_trains_on_its_own_sounds_and_keeps_its_own_cache(tmp_path: Path) -> None:
    project = make_folder(tmp_path / "a" / "project")
    (project / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    analytics = false\n")
    (project / "dvc.yaml").write_text("stages: {}\n")
    (project / "params.yaml").write_text("schema: 1\ndata:\n  path: ../kit\n")
    make_sounds(tmp_path / "a" / "kit", 3)
    before = set(project.iterdir())
    with open_project(plan_run(project, {}), lambda: None):
        pass
    shutil.copytree(tmp_path / "a", tmp_path / "b", symlinks=True)
    run = plan_run(tmp_path / "b" / "project", {})
    with open_project(run, lambda: None):
        pass
    assert run.root.name == plan_run(project, {}).root.name
    assert run.workspace.source(run.workspace.params()).resolve() == tmp_path / "b" / "kit"
    assert str(tmp_path) not in (run.root / ".dvc" / "config").read_text()
    assert set(project.iterdir()) - before == {project / "runs"}
    assert list((project / "runs").iterdir()) == [plan_run(project, {}).root]


def test_what_another_project_recorded_here_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = put_database(make_folder(tmp_path / "one"))
    other = make_folder(tmp_path / "other")
    register(model_file(one / "models" / "kit.distill"), one)
    with monkeypatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{one}/mlflow.db")
        patched.setenv("MLFLOW_EXPERIMENT_NAME", "other")
        register(model_file(other / "models" / "bells.distill", weights=1, lineage="c"), other)
        (known,) = (each for each in versions(other) if each.name == "bells")
        assert file_of(known, other).is_relative_to(other)
    # In a process of its own, as one looks only once whether a project was moved.
    subprocess.run([sys.executable, "-W", "ignore", "-c", REGISTER], cwd=one, check=True)
    assert {each.name for each in versions(one)} == {"kit", "bells"}
    (known,) = (each for each in versions(one) if each.name == "bells")
    assert file_of(known, one).is_relative_to(other)
