"""Run folders: one lock from the first stage to the last, found after a move."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from command_util import run_command
from distill.errors import ArtifactError, DataError, Interrupted, StorageError, TrainingError, UsageError
from distill.live.events import Event, Listeners, StageFinished, StepDone, TrainingStarted
from distill.live.folder import RunFolder
from distill.live.status import StatusListener, status_file
from distill.live.stop_request import StopRequest
from distill.params import Params, read_params, with_settings
from distill.processes.run_lock import Holder, hold, holder_of, lock_file
from distill.runs.background import go_on
from distill.runs.folder import (
    Order,
    default_run,
    finished_at,
    log_file,
    open_folder,
    read_order,
    run_folders,
    write_order,
)
from distill.runs.inputs import Inputs, bring_sounds, from_project, settings_of, source_of
from distill.runs.local import Options, train_folder
from distill.runs.progress import progress_of
from distill.runs.trainings import where_it_stands
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, read_report
from page_util import make_sounds, settings, wait
from pipeline_util import bytes_of, make_workspace
from registry_util import model_file

PARAMS = with_settings(Params(), settings())


def options(
    project: Path, name: str | None = "tiny", *heard: Any, fresh: bool = False, stop: StopRequest | None = None
) -> Options:
    return Options(project, name, None, fresh, Listeners(list(heard)), stop or StopRequest())


def root_of(project: Path) -> Path:
    return Inputs(project, "kit", PARAMS).root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_sounds(tmp_path / "kit", 6)
    return tmp_path


def test_a_refused_second_training_changes_nothing(project: Path) -> None:
    train_folder(project / "kit", PARAMS, options(project), until="configure")
    root = root_of(project)
    with hold(root):
        before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for fresh in (False, True):
            with pytest.raises(TrainingError, match=f"{root.name} runs already as process {os.getpid()}"):
                train_folder(project / "kit", PARAMS, options(project, "other", fresh=fresh), until="prepare")
        assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    train_folder(project / "kit", PARAMS, options(project, "other", fresh=True), until="prepare")
    assert read_params(root / "params.yaml").model.name == "other"
    assert not (root / "config").exists()


def test_a_lock_that_says_nothing_keeps_nobody_waiting(project: Path) -> None:
    root = project / "runs" / "kit-1"
    write_order(root, Order("kit"))
    with hold(root) as lock:
        assert holder_of(root) == Holder(os.getpid(), os.getpid(), lock.since)
        lock_file(root).write_bytes(b"")
        assert holder_of(root) == Holder()
        assert (progress_of(root).state, progress_of(root).pid) == ("running", None)
    assert progress_of(root).state == "stopped"


def test_why_another_training_ended_is_not_why_this_one_did(tmp_path: Path) -> None:
    log_file(tmp_path).parent.mkdir()
    log_file(tmp_path).write_text("distill: interrupted in epoch 3\n")
    assert progress_of(tmp_path).reason == "interrupted in epoch 3"
    with open_folder(tmp_path, Order("kit"), lambda: None):
        pass
    write_order(tmp_path, Order("kit"))
    assert (progress_of(tmp_path).state, progress_of(tmp_path).reason) == ("stopped", "")


def test_without_a_name_the_run_that_goes_on_is_meant_or_else_the_newest(tmp_path: Path) -> None:
    for age, name in enumerate(("kit-b", "kit-a", "kit-c")):
        write_order(tmp_path / "runs" / name, Order("kit"))
        note = tmp_path / "runs" / name / ".distill" / "run.json"
        os.utime(note, ns=(note.stat().st_atime_ns, note.stat().st_mtime_ns + (2 - age) * 10**9))
    assert default_run(tmp_path).name == "kit-b"
    with hold(tmp_path / "runs" / "kit-a"):
        assert default_run(tmp_path).name == "kit-a"


@pytest.mark.parametrize("left_out", ["order", "finished", "source"])
def test_a_note_about_a_run_that_lacks_something_is_one_line(tmp_path: Path, left_out: str) -> None:
    root = tmp_path / "runs" / "kit"
    order = {"source": "kit", "settings": []}
    values = {"schema": 1, "order": order, "finished": None}
    for found in (values, order):
        found.pop(left_out, None)
    note = root / ".distill" / "run.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps(values))
    for read in (read_order, finished_at):
        with pytest.raises(ArtifactError, match=r"run\.json is no note about a run"):
            read(root)


# Works in a stage until it is asked to stop.
STAGE = """
import sys, time
from pathlib import Path
from distill.live.events import Progress
from distill.live.status import StatusListener
from distill.live.stop_request import stop_on_signals
from distill.processes.run_lock import hold
root = Path(sys.argv[1])
with stop_on_signals() as stop, hold(root):
    StatusListener(root)(Progress(sys.argv[2], 1, 2, "sounds"))
    while not stop.asked:
        time.sleep(0.01)
    time.sleep(float(sys.argv[3]))
sys.exit(3)
"""


@contextmanager
def working(root: Path, stage: str, busy: float = 0.0) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that works in a stage, and goes on for so many seconds once it is asked to stop."""
    child = subprocess.Popen([sys.executable, "-c", STAGE, str(root), stage, str(busy)])
    try:
        wait(lambda: progress_of(root).stage == stage)
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("stage", ["prepare", "check_memorization", "assemble"])
def test_a_run_is_listed_and_stopped_in_every_stage(project: Path, stage: str) -> None:
    root = project / "runs" / "kit-1"
    write_order(root, Order("kit"))
    with working(root, stage) as child:
        (listed,) = run_command("list")["runs"]
        expected = {"stage": stage, "state": "running", "running": True, "pid": child.pid, "step": None}
        assert {key: listed[key] for key in expected} == expected
        assert run_command("stop", "kit-1") == {"stage": stage, "step": None, "was_running": True}
        assert child.wait(60) == 3
    assert run_command("list")["runs"] == []
    assert run_command("stop", "kit-1")["was_running"] is False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_that_is_asked_for_twice_saves_the_state(project: Path, number: int) -> None:
    root = project / "runs" / "kit-1"
    write_order(root, Order("kit"))
    with working(root, "prepare", busy=0.5) as child:
        child.send_signal(number)
        time.sleep(0.1)
        child.send_signal(number)
        assert child.wait(60) == 3


def train_until(step: int, project: Path, act: Callable[[], object], stop: StopRequest | None = None) -> None:
    """Train the VQ-VAE, and act once so many steps are done."""

    def heard(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            act()

    train_folder(project / "kit", PARAMS, options(project, "tiny", heard, stop=stop), until="train_vqvae")


def interrupted(project: Path) -> set[int]:
    """A training that was stopped on its way; the steps that it may go on from."""
    stop = StopRequest()
    with pytest.raises(Interrupted):
        train_until(4, project, stop.ask, stop)
    return {4}


KILLED = """
import os, signal, sys
from pathlib import Path
from test_runs import train_until
train_until(4, Path(sys.argv[1]), lambda: os.kill(os.getpid(), signal.SIGKILL))
"""


def killed(project: Path) -> set[int]:
    """A training whose process was killed on its way, an epoch and a step after its beginning, likewise."""
    found = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(project)], env={**os.environ, **found}, check=False)
    assert done.returncode == -signal.SIGKILL
    return {3, 4}


def resumed(project: Path) -> tuple[list[int], dict[str, bytes]]:
    """The step that the same call goes on from where the project now is, the steps that it makes, and what is there."""
    heard: list[Event] = []
    outcome = train_folder(project / "kit", PARAMS, options(project, None, heard.append), until="train_vqvae")
    steps = [event.step for event in heard if isinstance(event, (TrainingStarted, StepDone))]
    return steps, bytes_of(outcome.workspace)


@pytest.mark.parametrize("ended", [interrupted, killed])
def test_a_stopped_and_a_finished_training_go_on_in_a_project_that_was_moved_or_copied(
    ended: Callable[[Path], set[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, moved, copied = tmp_path / "here", tmp_path / "else" / "moved", tmp_path / "copied"
    make_sounds(here / "kit", 6)
    monkeypatch.chdir(tmp_path)
    saved = ended(here)
    moved.parent.mkdir()
    here.rename(moved)
    shutil.copytree(moved, copied, symlinks=True)
    make_sounds(copied / "kit", 6)
    untouched = bytes_of(moved)
    steps, made = resumed(copied)
    assert steps[0] in saved
    assert steps == list(range(steps[0], 10))
    assert bytes_of(moved) == untouched
    assert resumed(moved) == (steps, made)
    assert not here.exists()
    # Finished now, it is found as that, and no step is made.
    moved = moved.rename(tmp_path / "finished")
    assert resumed(moved) == (steps[-1:], made)
    (root,) = run_folders(moved)
    assert not [path for path in moved.rglob("*") if path.is_symlink() and path.readlink().is_absolute()]
    assert str(here).encode() not in b"".join(path.read_bytes() for path in root.rglob("*.json"))


def test_sounds_are_those_of_the_project_that_they_are_reached_from(tmp_path: Path) -> None:
    project = tmp_path / "a" / "project"
    root = project / "runs" / "kit-1"
    for folder in (root, project / "kit", project / "models", tmp_path / "a" / "kit"):
        folder.mkdir(parents=True)
    (root / "kit").symlink_to(tmp_path / "a" / "kit")
    for source in ("kit", "../kit", "models", "."):
        path = bring_sounds(root, project, source)
        assert (root / path).resolve() == (project / source).resolve()
        assert from_project(path) == source
        assert not Path(path).is_absolute()
    assert (root / "kit").readlink() == Path("../../kit")
    assert [path for path in (*project.iterdir(), *root.parent.iterdir()) if path.is_symlink()] == []
    assert source_of(project, project / "kit") == "kit"
    assert source_of(project, tmp_path / "a" / "kit") == str(tmp_path / "a" / "kit")
    with pytest.raises(DataError, match="no such folder"):
        source_of(project, project / "nothing")


def test_a_run_says_what_it_takes_to_go_on(project: Path) -> None:
    params = with_settings(PARAMS, ["vqvae.dropout=0.2", 'model.tags=["a b"]', "data.speed_semitones=[]"])
    assert with_settings(Params(), settings_of(params)) == params
    train_folder(project / "kit", params, options(project), until="prepare")
    (root,) = run_folders(project)
    order = read_order(root)
    assert order is not None
    assert Inputs(project, order.source, with_settings(Params(), order.settings)).root == root
    write_order(root, Order("kit", again=False))
    with pytest.raises(DataError, match="same command"):
        go_on(project, root)


def test_what_cannot_be_a_run_leaves_no_folder(project: Path) -> None:
    with pytest.raises(UsageError, match="--model-name"):
        train_folder(project / "kit", PARAMS, options(project, "no name"))
    with pytest.raises(UsageError, match="no stage"):
        train_folder(project / "kit", PARAMS, options(project), until="nothing")
    assert not (project / "runs").exists()


def test_a_training_that_fails_at_once_leaves_no_run(project: Path) -> None:
    (project / "noise").mkdir()
    (project / "noise" / "a.wav").write_bytes(b"no sound")
    for source, wrong in (("noise", "none of 1 files is usable"), ("noise/a.wav", "none of 1 files is usable")):
        with pytest.raises(DataError, match=wrong):
            train_folder(project / source, PARAMS, options(project))
        assert run_folders(project) == []
    # What was done before stays, to go on from.
    train_folder(project / "kit", PARAMS, options(project), until="prepare")
    shutil.rmtree(project / "kit")
    (project / "kit").mkdir()
    with pytest.raises(DataError):
        train_folder(project / "kit", PARAMS, options(project))
    assert len(run_folders(project)) == 1


def test_a_model_is_called_as_the_file_that_is_asked_for(project: Path) -> None:
    def name(name: str | None, output: str | None) -> str:
        asked = replace(options(project, name), output=None if output is None else project / output)
        train_folder(project / "kit", PARAMS, asked, until="prepare")
        return read_params(root_of(project) / "params.yaml").model.name

    assert name(None, None).startswith("kit-2")
    assert name(None, "out/bells.distill") == "bells"
    assert name(None, None) == "bells"
    assert name(None, "my kit.distill") == "my-kit"
    assert name("tiny", "bells.distill") == "tiny"
    assert name(None, None) == "tiny"
    with pytest.raises(UsageError, match=r"must end in \.distill"):
        name(None, "bells.model")


def test_a_model_is_replaced_by_its_own_run_alone(project: Path) -> None:
    made = train_folder(project / "kit", PARAMS, options(project)).model
    assert made is not None
    # After a fresh start that was interrupted it is still that run's own.
    train_folder(project / "kit", PARAMS, options(project, fresh=True), until="configure")
    assert train_folder(project / "kit", PARAMS, options(project)).model == made
    # Another training that ended there meanwhile is not lost.
    other = with_settings(PARAMS, ["run.seed=5"])

    def meanwhile(event: Event) -> None:
        if isinstance(event, StageFinished) and event.stage == "train_vqvae":
            model_file(project / "models" / "late.distill")

    with pytest.raises(StorageError, match="the model that was trained is"):
        train_folder(project / "kit", other, options(project, "late", meanwhile))


def test_the_health_of_a_finished_training_is_that_of_its_model(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    listeners = Listeners([StatusListener(workspace.root)])
    for stage in ("prepare", "configure", "train_vqvae"):
        run_stage(stage, Call(workspace, listeners, StopRequest()))
    path = status_file(workspace.root, "train_vqvae")
    status = json.loads(path.read_text())
    # As if the last epoch had been far worse than the best one.
    bad = {level: {**values, "utilization": 0.01, "dead_codes": 8} for level, values in status["health"].items()}
    path.write_text(json.dumps({**status, "health": bad}))
    report = read_report(workspace, "train_vqvae")
    said = where_it_stands(RunFolder(workspace.root, "train_vqvae"))
    assert (said["state"], said["health"]) == ("finished", f"{report['health']['light']}: {report['health']['words']}")
