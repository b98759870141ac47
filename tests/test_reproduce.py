"""`distill reproduce`: a recorded model built again from its commit, in a project that holds its own code."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import artifact_example
from command_util import Command
from distill import __version__
from distill.artifact.model_file import read_manifest
from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset.prepare import prepare
from distill.errors import StorageError
from distill.library import reproduce
from distill.tracking.lookup import RecordedRun
from distill.versions.datasets import add_dataset
from distill.versions.revision import worktree
from pipeline_util import TINY
from project_util import PROJECT, call, commit, make_project
from sounds_util import folder_of_tones, save, tone


@pytest.fixture
def _in_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.delenv("DISTILL_TRACKING")


# MLflow warns of what it uses of other packages.
pytestmark = pytest.mark.filterwarnings("ignore:::mlflow", "ignore:.*type hint.*:UserWarning")


def reproduced(distill: Command, reference: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(distill("reproduce", reference, "--json", code=code).out)
    return found


LITTLE = [(name, key, value) for name in ("data", "run", "memorization") for key, value in TINY[name].items()]
LITTLE += [(name, key, value) for name in ("vqvae", "prior") for key, value in TINY[name].items() if key != "epochs"]

# What `dvc repro` does, in one process, with somebody who edits the settings while it trains.
BUILD = """
import json
from pathlib import Path
from distill.live.events import Listeners, StepDone
from distill.live.folder import RunFolder
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import STAGES, run_stage
from distill.stages.workspace import Call, Workspace
from distill.tracking.listener import track
CHANGES = {"train_vqvae": {"max_lr": 5e-4, "weight_full": 0.4, "weight_l1": 0.3}, "train_prior": {"gradient_clip": 0.5}}
def tune(event):
    if isinstance(event, StepDone) and event.step == 2 and event.stage in CHANGES:
        file = RunFolder(Path(), event.stage).config_file
        file.write_text(json.dumps({**json.loads(file.read_text()), **CHANGES[event.stage]}))
workspace = Workspace(Path())
with track(workspace) as recorder:
    for stage in STAGES:
        run_stage(stage, Call(workspace, Listeners([recorder, tune]), StopRequest()))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with its own code, little sounds versioned by DVC, and a model tuned while it was built and recorded."""
    root = make_project(tmp_path_factory.mktemp("reproduce") / "project")
    folder_of_tones(root.parent / "tones", 6)
    add_dataset(root.parent / "tones", root)
    commit(root, "first")
    call(root, sys.executable, "-c", BUILD)
    return root


@pytest.mark.usefixtures("_in_project")
def test_a_model_is_built_again_although_sounds_and_parameters_have_changed_since(
    project: Path, tmp_path: Path, distill: Command
) -> None:
    kept = tmp_path / "kept.distill"
    shutil.copy(project / "models" / "tiny.distill", kept)
    before = (project / "params.yaml").read_text()
    save(project / "data" / "tones" / "more.wav", tone(0.5, 700.0))
    (project / "params.yaml").write_text(before.replace("seed: 0", "seed: 1"))
    try:
        found = reproduced(distill, str(kept))
    finally:
        (project / "params.yaml").write_text(before)
        (project / "data" / "tones" / "more.wav").unlink()
    assert found["identical"] is True
    assert found["stage"] is None
    journal = read_manifest(kept).journal or ()
    assert [(entry["stage"], entry["step"]) for entry in journal] == [("train_vqvae", 2), ("train_prior", 2)]
    assert call(project, "git", "worktree", "list").stdout.count("\n") == 1


def test_only_the_stages_of_the_pipeline_are_run(tmp_path: Path) -> None:
    stages = {
        "prepare": {"cmd": "distill stage prepare"},
        "listen": {"cmd": "distill generate > new.txt"},
        "each": {"foreach": [1, 2], "do": {"cmd": "echo ${item}"}},
        "register": {"cmd": "distill stage register"},
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    assert [name for name, _ in reproduce._commands(tmp_path)] == ["prepare", "register"]


def test_no_other_code_than_that_of_the_model_runs(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    reproduce._check_code(root, {}, __version__)
    for version, words in (("9.9.9", "9.9.9, but"), ("", "of unknown version, but")):
        with pytest.raises(StorageError, match=f"made by distill {words} {__version__} is installed"):
            reproduce._check_code(root, {}, version)
    for folder in (root, other):
        (folder / "distill").mkdir(parents=True)
        (folder / "distill" / "__init__.py").touch()
    reproduce._check_code(root, {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{other}"}, "9.9.9")
    with pytest.raises(StorageError, match=r"other/distill/__init__\.py before the code of the commit"):
        reproduce._check_code(root, {**os.environ, "PYTHONPATH": f"{other}{os.pathsep}{root}"}, "9.9.9")
    (other / "distill" / "__init__.py").write_text("raise ImportError")
    with pytest.raises(StorageError, match="Python finds no distill"):
        reproduce._check_code(root, {**os.environ, "PYTHONPATH": str(other)}, "9.9.9")


@pytest.mark.slow
@pytest.mark.usefixtures("_in_project")
def test_sounds_that_are_gone_are_one_line(project: Path, distill: Command) -> None:
    cache = project / ".dvc" / "cache"
    cache.rename(project / ".dvc" / "gone")
    try:
        said = distill("reproduce", "models/tiny.distill", code=1).err
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        (project / ".dvc" / "gone").rename(cache)
    assert "neither in DVC's cache nor on a remote" in said


@pytest.mark.usefixtures("_in_project")
def test_a_remote_beside_the_project_is_found_from_a_worktree(project: Path) -> None:
    call(project, "dvc", "remote", "add", "-d", "team", "../team")
    commit(project, "a remote")
    call(project, "dvc", "push", "-q", "data/tones.dvc")
    cache = project / ".dvc" / "cache"
    cache.rename(project / ".dvc" / "gone")
    try:
        with worktree(project, "HEAD") as root:
            assert reproduce._fetch_data(project, root, "data/tones", print) == "data/tones"
            assert len(list((root / "data" / "tones").iterdir())) == 6
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        (project / ".dvc" / "gone").rename(cache)
        call(project, "git", "reset", "-q", "--hard", "HEAD~1")


def test_the_model_that_a_training_started_from_is_brought_along(tmp_path: Path) -> None:
    project, root = tmp_path / "project", tmp_path / "root"
    for folder in (project / "models", root):
        folder.mkdir(parents=True)
    (project / "models" / "kit.distill").write_bytes(b"kit")
    for base in ("models/kit.distill", "auto", "none", "models/gone.distill", "../project/models/kit.distill"):
        reproduce._bring_base(project, root, base)
    assert {path.relative_to(root): path.read_bytes() for path in root.rglob("*.*")} == {
        Path("models/kit.distill"): b"kit"
    }


@pytest.mark.slow
@pytest.mark.usefixtures("_in_project")
def test_sounds_come_from_a_remote(project: Path, tmp_path: Path, distill: Command) -> None:
    call(project, "dvc", "remote", "add", "--local", "-d", "team", str(tmp_path / "remote"))
    call(project, "dvc", "push", "-q", "data/tones.dvc")
    cache = project / ".dvc" / "cache"
    cache.rename(project / ".dvc" / "gone")
    try:
        found = reproduced(distill, "models/tiny.distill")
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        (project / ".dvc" / "gone").rename(cache)
        call(project, "dvc", "remote", "remove", "--local", "team")
    assert found["identical"] is True


@pytest.mark.slow
@pytest.mark.usefixtures("_in_project")
def test_code_that_was_in_no_commit_shows_in_the_first_stage_that_differs(project: Path, distill: Command) -> None:
    source = project / "distill" / "models" / "losses.py"
    before = source.read_text()
    source.write_text(
        before + "\n_spectral_terms = spectral_terms\n\n\ndef spectral_terms(*args, **kwargs):  # type: ignore\n"
        "    return {k: v * 1.5 for k, v in _spectral_terms(*args, **kwargs).items()}\n"
    )
    try:
        # What the training would resume from, and find finished, does not know of the change.
        shutil.rmtree(project / ".distill" / "state")
        call(project, sys.executable, "-c", BUILD)
    finally:
        source.write_text(before)
    found = reproduced(distill, "models/tiny.distill", code=1)
    assert found["identical"] is False
    assert found["stage"] == "train_vqvae"
    assert any("in no commit" in reason for reason in found["reasons"])


def test_other_sounds_are_the_first_reason_and_the_same_ones_are_none(tmp_path: Path) -> None:
    folder_of_tones(tmp_path / "sounds", 4)
    summary = prepare(
        tmp_path / "sounds", tmp_path / "prepared", DataConfig(speed_semitones=()), SpectrogramConfig(), 0
    )
    shutil.copy(PROJECT / "dvc.yaml", tmp_path / "dvc.yaml")
    run = RecordedRun("1", "one", "FINISHED", {"distill.dirty": "true"}, None, None)

    def reasons(digest: str) -> tuple[str, ...]:
        lineage = artifact_example.LINEAGE.model_copy(update={"data_digest": digest})
        return reproduce._reasons(artifact_example.manifest(lineage=lineage), run, tmp_path, tmp_path / "record")

    same, other = reasons(summary.digest), reasons("f" * 64)
    assert not [reason for reason in same if reason.startswith("data: ")]
    assert other[0].startswith("data: the sounds are others")
    assert "ffffffffffff" in other[0]
    assert summary.digest[:12] in other[0]
    assert other[1:] == same
    assert "code: the tree held changes that were in no commit" in same
    (tmp_path / "prepared" / "summary.json").unlink()
    assert reasons(summary.digest)[0].startswith("data: ")


@pytest.mark.slow
@pytest.mark.usefixtures("_in_project")
def test_sounds_that_have_changed_are_named_before_anything_else(project: Path, distill: Command) -> None:
    folder_of_tones(project / "own", 5)
    values = {"vqvae.epochs": 1, "prior.epochs": 1, **{f"{name}.{key}": value for name, key, value in LITTLE}}
    settings = [f"--set={name}={json.dumps(value)}" for name, value in values.items()]
    call(project, sys.executable, "-m", "distill", "train", "own", "--model-name", "own", *settings)
    save(project / "own" / "more.wav", tone(0.5, 700.0))
    found = reproduced(distill, "models/own.distill", code=1)
    assert found["stage"] == "prepare"
    assert found["reasons"][0].startswith("data: ")


def test_a_model_without_a_record_is_one_line(
    project: Path, tmp_path: Path, distill: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In another folder, as MLflow keeps a database open as long as a process lives.
    unrecorded = tmp_path / "unrecorded"
    shutil.copytree(project, unrecorded, symlinks=True, ignore=shutil.ignore_patterns("mlflow.db", "distill"))
    monkeypatch.chdir(unrecorded)
    assert "is recorded here" in distill("reproduce", "models/tiny.distill", code=1).err
