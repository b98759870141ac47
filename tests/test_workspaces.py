"""Workspaces of runs: their own DVC project, one stage at a time, ended with their owner, published where they fit."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from distill.errors import DataError, DistillError, UsageError
from distill.processes.dvc_stage import StageCrashed, _failure
from distill.runs.dvc_project import open_project, plan_run
from distill.runs.publish import publish
from distill.stages.workspace import Workspace
from page_util import wait
from pipeline_util import run
from project_util import call, commit
from published_util import QUIET, made, stages


@pytest.fixture(scope="module")
def project(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(published, tmp_path_factory.mktemp("workspaces") / "project", symlinks=True)


def test_a_run_with_the_projects_parameters_leaves_dvc_repro_nothing_to_do(project: Path) -> None:
    work = made(project, {})
    assert (work.root / "params.yaml").read_bytes() == (project / "params.yaml").read_bytes()
    assert "up to date" in call(project, "dvc", "status").stdout
    assert "Running stage" not in call(project, "dvc", "repro").stdout
    assert call(project, "git", "status", "--porcelain").stdout.split() == ["??", "dvc.lock"]
    commit(project, "published")


def test_who_was_killed_between_the_lock_and_the_files_goes_on_by_the_same_call(project: Path) -> None:
    model = project / "models" / "tiny.distill"
    before = model.read_bytes()
    for mend in (lambda: publish(made(project, {})), lambda: call(project, "dvc", "repro")):
        shutil.rmtree(project / "models")
        (project / "prepared" / "mels.npy").unlink()
        mend()
        assert model.read_bytes() == before


def test_other_parameters_have_another_workspace_and_share_what_is_equal(project: Path) -> None:
    first, other = made(project, {}), made(project, {"prior": {"hidden": 32}})
    assert first.root != other.root
    assert made(project, {"prior": {"hidden": 32}}).root == other.root
    assert stages(other, "prepare", "configure", "train_vqvae") == [False, True, False]
    assert publish(other) is not None
    assert "up to date" in call(project, "dvc", "status").stdout


def test_changed_parameters_or_sounds_are_never_published_over(project: Path) -> None:
    work = made(project, {})
    before = (project / "params.yaml").read_text()
    try:
        (project / "params.yaml").write_text(before.replace("seed: 0", "seed: 1"))
        assert "params.yaml has changed" in str(publish(work))
        (project / "params.yaml").write_text(before + "# A remark.\n")
        assert publish(work) is None
    finally:
        (project / "params.yaml").write_text(before)
    extra = project / "sounds" / "extra.wav"
    extra.write_bytes(b"not a sound")
    try:
        assert "sounds have changed" in str(publish(work))
    finally:
        extra.unlink()


def test_a_mistake_is_refused_before_there_is_a_workspace(project: Path) -> None:
    runs = sorted((project / "runs").iterdir())
    with pytest.raises(UsageError, match="did you mean dropout"):
        made(project, {"vqvae": {"dropot": 0.1}})
    with pytest.raises(DataError, match="no such sounds"):
        made(project, {"data": {"path": "nowhere"}})
    assert sorted((project / "runs").iterdir()) == runs


def test_a_stage_that_complains_gives_its_own_line(project: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    work = made(project, {"data": {"path": str(tmp_path / "empty")}})
    with pytest.raises(DistillError, match="the folder is empty") as failed:
        stages(work, "prepare")
    assert not isinstance(failed.value, StageCrashed)


def test_the_second_of_two_owners_waits(project: Path) -> None:
    run_of, order = plan_run(project, {}), []

    def second() -> None:
        with open_project(run_of, lambda: order.append("waits")):
            order.append("second")

    with open_project(run_of, lambda: None):
        thread = threading.Thread(target=second)
        thread.start()
        wait(lambda: order)
        order.append("first ends")
    thread.join()
    assert order == ["waits", "first ends", "second"]


OWNER = """
import sys
from pathlib import Path
from distill.processes.dvc_stage import repro
repro(Path(sys.argv[1]), "train_vqvae", environment={}, on_line=print, on_wait=lambda: None)
"""


def training_processes(root: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = process.info["cmdline"] or []
        in_workspace = (process.info["environ"] or {}).get("DVC_ROOT") == str(root) or str(root) in words
        if in_workspace and process.pid != os.getpid():
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_owner_leaves_nothing_running_and_the_next_one_ends_with_the_same_bytes(
    number: signal.Signals, project: Path, tmp_path: Path
) -> None:
    values = {"vqvae": {"epochs": 15, "checkpoint_interval": 1}, "run": {"seed": 3 + number}}
    work = made(project, values)
    stages(work, "prepare", "configure")
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(work.root)], env={**os.environ, **QUIET}, stdout=subprocess.DEVNULL
    )
    wait(lambda: list(work.root.glob(".distill/state/train_vqvae/*/*.safetensors")))
    owner.send_signal(number)
    owner.wait()
    wait(lambda: not training_processes(work.root), seconds=15)
    assert not (work.root / "trained" / "vqvae.distill").exists()
    stages(work, "train_vqvae")
    resumed = (work.root / "trained" / "vqvae.distill").read_bytes()
    # The same once more, uninterrupted and without the cache.
    # The same once more, uninterrupted.
    alone = Workspace(tmp_path)
    for name in ("prepared", "config", "journal"):
        shutil.copytree(work.root / name, tmp_path / name)
    shutil.copy(work.root / "params.yaml", tmp_path)
    run(alone, "train_vqvae")
    assert alone.vqvae.read_bytes() == resumed


def test_a_stage_that_dies_without_a_word_is_reported_so() -> None:
    error = _failure("train_prior", ["ERROR: failed to run: distill stage train_prior, exited with 137"])
    assert isinstance(error, StageCrashed)
    assert str(error) == "train_prior ended with exit code 137 and said nothing; out of memory?"


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ("[Errno 28] No space left on device: '/home/me/glockenspiel/x'", False),
        ("Unable to acquire lock. Most likely another DVC process is running", True),
        ("'/p/sounds' is busy, it is being blocked by: (PID 1): dvc add", True),
    ],
)
def test_only_another_dvc_is_worth_trying_again(said: str, again: bool) -> None:
    assert isinstance(_failure("prepare", [f"ERROR: {said}"]), StageCrashed) is again
