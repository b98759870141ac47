"""Finding projects, what git says of them, and the lineage that a workspace's model will have."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import distill
from distill.artifact.model_file import read_manifest
from distill.errors import UsageError
from distill.projects.models import named_file
from distill.projects.project import current_project, find_project, home, project_of
from distill.runs.folder import Order, write_order
from distill.stages import lineage
from distill.stages.pipeline import STAGES
from distill.versions.git import SourceState, source_state
from pipeline_util import make_workspace, run
from project_util import commit, git


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    for name in ("params.yaml", "dvc.yaml", "sounds/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n")
    return tmp_path


def test_a_project_is_found_from_below_and_through_a_workspace(project: Path) -> None:
    workspace = project / "runs" / "one"
    (workspace / ".dvc").mkdir(parents=True)
    (workspace / "params.yaml").write_text("")
    write_order(workspace, Order("sounds"))
    assert find_project(project / "sounds") == project
    assert find_project(workspace) == project
    assert project_of(workspace) == project


def test_outside_of_a_project_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not in a project"):
        find_project(tmp_path)


def test_dirty_counts_sources_and_never_outputs(project: Path) -> None:
    assert source_state(project) == SourceState(None, dirty=True)
    git(project, "init", "-q")
    commit(project, "first")
    state = source_state(project, "sounds")
    assert state.commit is not None
    assert not state.dirty
    (project / "dvc.lock").write_text("x")
    (project / "models").mkdir()
    (project / "models" / "m.distill").write_text("x")
    assert not source_state(project, "sounds").dirty
    (project / "sounds" / "a.wav").write_text("2\n")
    assert source_state(project, "sounds").dirty
    assert not source_state(project).dirty
    (project / "params.yaml").write_text("2\n")
    assert source_state(project).dirty


def test_the_planned_lineage_is_the_one_that_the_model_carries(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    run(workspace, "prepare", "configure")
    before = lineage.planned_lineage(workspace, vqvae_trained=False)
    run(workspace, *STAGES[2:])
    assert read_manifest(workspace.model("tiny")).lineage == before
    assert lineage.planned_lineage(workspace, vqvae_trained=True) == before


def test_the_code_has_a_commit_where_git_tracks_it_and_none_where_it_is_installed(project: Path) -> None:
    code = "from distill.versions.git import code_state; print(code_state().commit)"

    def commit_of(package: Path) -> str:
        environment = {**os.environ, "PYTHONPATH": str(package)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=project, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    shutil.copytree(Path(distill.__file__).parent, project / "lib" / "distill")
    (project / ".gitignore").write_text("lib\n")
    git(project, "init", "-q")
    commit(project, "first")
    # As an environment within somebody's own repository.
    assert commit_of(project / "lib") == "None"
    (project / ".gitignore").write_text("")
    commit(project, "second")
    assert commit_of(project / "lib") == source_state(project).commit


def test_a_named_project_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        current_project(tmp_path / "typo")
    monkeypatch.setenv("DISTILL_PROJECT", str(tmp_path / "typo"))
    with pytest.raises(UsageError, match="is no folder"):
        current_project()
    assert not (tmp_path / "typo").exists()


def test_a_name_that_no_file_can_have_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_file("x" * 300, tmp_path) is None
    monkeypatch.setenv("DISTILL_HOME", "~nobody-has-this-name/x")
    assert home().name == "x"
