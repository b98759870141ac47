"""A training that is killed at any moment ends, after the same call, with the bytes of one that was not."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.errors import Interrupted
from distill.live.events import EpochDone, Event, Listeners, StepDone, TrainingStarted
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from pipeline_util import bytes_of, make_workspace, run

OUTPUTS = {
    "train_vqvae": ("trained/vqvae.distill", "history/train_vqvae.csv", "reports/train_vqvae.json", "previews"),
    "train_prior": ("trained/prior.safetensors", "history/train_prior.csv", "reports/train_prior.json"),
}

# Children come from a process that has loaded torch and has never computed with it: a start takes no time.
children = multiprocessing.get_context("forkserver")
children.set_forkserver_preload(["distill.stages.train_vqvae", "distill.stages.train_prior"])


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _on(wanted: Callable[[Event], bool]) -> Callable[[str], list[Callable[[Event], None]]]:
    def listeners(_stage: str) -> list[Callable[[Event], None]]:
        return [lambda event: _kill() if wanted(event) else None]

    return listeners


def _in_validation(stage: str) -> list[Callable[[Event], None]]:
    """Dies in the second epoch's validation, when a part of it is done."""
    from distill.training import prior, vqvae

    task: Any = vqvae.VQVAETask if stage == "train_vqvae" else prior.PriorTask
    inner, calls = task._evaluate, []

    def evaluate(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) == 4:
            _kill()
        return inner(*arguments)

    task._evaluate = evaluate
    return []


def _in_a_checkpoint(_stage: str) -> list[Callable[[Event], None]]:
    """Dies when the second checkpoint is written but has not taken its name."""
    inner, calls = Path.replace, []

    def replace(path: Path, target: Path) -> Path:
        if target.name.startswith("checkpoint-"):
            calls.append(None)
            if len(calls) == 2:
                _kill()
        return inner(path, target)

    Path.replace = replace  # type: ignore[method-assign, assignment]
    return []


MOMENTS: dict[str, Callable[[str], list[Callable[[Event], None]]]] = {
    "before the first step": _on(lambda event: isinstance(event, TrainingStarted)),
    "in the middle of an epoch": _on(lambda event: isinstance(event, StepDone) and event.epoch == 2),
    "during validation": _in_validation,
    "while a checkpoint is written": _in_a_checkpoint,
    "after the best epoch": _on(lambda event: isinstance(event, EpochDone) and event.row["epoch"] == 2),
}


def _train_until_killed(root: str, stage: str, moment: str) -> None:
    listeners = MOMENTS[moment](stage)
    run_stage(stage, Call(Workspace(Path(root)), Listeners(listeners), StopRequest()))


def _interrupted(workspace: Workspace, stage: str, moment: str) -> None:
    child = children.Process(target=_train_until_killed, args=(str(workspace.root), stage, moment))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL


def _outputs(workspace: Workspace, stage: str) -> dict[str, bytes]:
    everything = bytes_of(workspace.root)
    return {name: data for name, data in everything.items() if name.startswith(OUTPUTS[stage])}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A run that nothing disturbed."""
    workspace = make_workspace(tmp_path_factory.mktemp("whole"), vqvae={"preview_count": 1})
    run(workspace, "prepare", "configure", "train_vqvae", "train_prior")
    return workspace


def _before(whole: Workspace, root: Path, stage: str) -> Workspace:
    """The undisturbed run as it was before a stage."""
    shutil.copytree(whole.root, root)
    shutil.rmtree(root / ".distill" / "state" / stage)
    for name in OUTPUTS[stage]:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Workspace(root)


@pytest.mark.parametrize("stage", ["train_vqvae", "train_prior"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_training_resumes_to_the_same_bytes(whole: Workspace, tmp_path: Path, stage: str, moment: str) -> None:
    workspace = _before(whole, tmp_path / "killed", stage)
    _interrupted(workspace, stage, moment)
    assert not workspace.report(stage).exists()
    run(workspace, stage)
    assert _outputs(workspace, stage) == _outputs(whole, stage)


@pytest.mark.parametrize("stage", ["train_vqvae", "train_prior"])
def test_a_stopped_training_saves_and_goes_on(whole: Workspace, tmp_path: Path, stage: str) -> None:
    workspace = _before(whole, tmp_path / "stopped", stage)
    stop = StopRequest()

    def ask(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 2:
            stop.ask()

    with pytest.raises(Interrupted, match="run the same command to resume"):
        run_stage(stage, Call(workspace, Listeners([ask]), stop))
    events: list[Event] = []
    run(workspace, stage, events=events)
    started = next(event for event in events if isinstance(event, TrainingStarted))
    assert started.step == 2
    assert _outputs(workspace, stage) == _outputs(whole, stage)


def test_a_finished_training_gives_its_outputs_again_without_training(whole: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "again")
    shutil.copytree(whole.root, workspace.root)
    workspace.vqvae.unlink()
    events: list[Event] = []
    run(workspace, "train_vqvae", events=events)
    assert not any(isinstance(event, StepDone) for event in events)
    assert _outputs(workspace, "train_vqvae") == _outputs(whole, "train_vqvae")


def test_a_damaged_checkpoint_is_passed_over(whole: Workspace, tmp_path: Path) -> None:
    workspace = _before(whole, tmp_path / "damaged", "train_prior")
    _interrupted(workspace, "train_prior", "after the best epoch")
    newest = sorted((workspace.root / ".distill" / "state" / "train_prior").rglob("checkpoint-*"))[-1]
    data = bytearray(newest.read_bytes())
    data[-100] ^= 1
    newest.write_bytes(bytes(data))
    run(workspace, "train_prior")
    assert _outputs(workspace, "train_prior") == _outputs(whole, "train_prior")


def test_other_parameters_do_not_resume(whole: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "other"
    shutil.copytree(whole.root, root)
    workspace = make_workspace(root, prior={"learning_rate": 2e-3})
    events: list[Event] = []
    run(workspace, "configure", "train_prior", events=events)
    assert any(isinstance(event, StepDone) and event.step == 1 for event in events)
    assert _outputs(workspace, "train_prior") != _outputs(whole, "train_prior")
