"""What goes wrong beside a training neither ends nor harms it; what does end it loses nothing."""

import json
import logging
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.configs import VQVAEConfig
from distill.errors import (
    ArtifactError,
    DataError,
    DistillError,
    Interrupted,
    StorageError,
    TrackingError,
    TrainingError,
    UsageError,
)
from distill.live.events import CheckpointSaved, Event, Listeners, Tuned, Warned
from distill.live.folder import RunFolder
from distill.live.runtime_config import RuntimeConfigManager
from distill.live.status import StatusListener, read_rows, read_status, rows_file, status_file
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace, read_config, section
from distill.training.checkpoint import Checkpoints
from distill.training.position import abandoned_files, best_file, list_checkpoints
from distill.training.rollback import roll_back_stopped
from distill.training.vqvae import VQVAETask
from pipeline_util import make_workspace, run
from steering_util import (
    STAGE,
    VQVAE,
    Act,
    Asked,
    at_steps,
    copy,
    edit,
    journal_of,
    of,
    outputs,
    train,
    weights,
)

Listener = Callable[[Event], None]


def train_with(workspace: Workspace, *listeners: Listener) -> list[Event]:
    events: list[Event] = []
    run_stage(STAGE, Call(workspace, Listeners([events.append, *listeners]), StopRequest()))
    return events


def train_until(workspace: Workspace, step: int, acts: dict[int, Act] | None = None) -> None:
    """Train until somebody asks to stop when a step is done."""
    stop = StopRequest()
    listeners = Listeners([at_steps(STAGE, {**(acts or {}), step: stop.ask})])
    with pytest.raises(Interrupted):
        run_stage(STAGE, Call(workspace, listeners, stop))


def state_of(workspace: Workspace) -> Path:
    (state,) = (workspace.root / ".distill" / "state" / STAGE).iterdir()
    return state


def fail_from(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """Give a loss that is not a number from a step on."""
    inner, calls = VQVAETask.loss, []

    def loss(task: VQVAETask, batch: Any) -> Any:
        calls.append(None)
        return inner(task, batch * float("nan") if len(calls) >= first else batch)

    monkeypatch.setattr(VQVAETask, "loss", loss)


@pytest.mark.parametrize("interval", [1, 100])
def test_a_training_that_cannot_go_on_says_where_its_best_is_and_goes_on_when_it_can(
    prepared: Workspace, tmp_path: Path, interval: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    make_workspace(workspace.root, vqvae={**VQVAE, "epochs": 7, "checkpoint_interval": interval})
    run(workspace, "configure")
    with monkeypatch.context() as patched:
        fail_from(patched, 14)
        with pytest.raises(TrainingError, match="10 steps in a row") as caught:
            train(workspace)
        state = state_of(workspace)
        found = list_checkpoints(state)[-1].position
        assert found.best_epoch
        assert str(best_file(state, found.best_epoch)) in str(caught.value)
        assert best_file(state, found.best_epoch).is_file()
        assert "\n" not in str(caught.value)
        # What was wrong still is: it ends the same way, and as much is tried as before.
        with pytest.raises(TrainingError, match="10 steps in a row"):
            train(workspace)
        assert list_checkpoints(state)[-1].position.skipped == 20
    train(workspace)
    report = json.loads(workspace.report(STAGE).read_text())
    assert (report["skipped_steps"], report["epochs"]) == (20, 7)


@pytest.mark.parametrize(
    "error", [StorageError, TrackingError, ArtifactError, DataError, UsageError, OSError, ValueError, MemoryError]
)
def test_a_listener_that_fails_is_left_out_and_the_others_hear_on(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    # An error of ours is one line; of another the place is wanted.
    heard: list[Event] = []
    asked: list[Event] = []

    def failing(event: Event) -> None:
        asked.append(event)
        raise error("cannot")

    emit = Listeners([failing, heard.append])
    for _ in range(3):
        emit(Event("stage"))
    assert (len(heard), len(asked)) == (3, 1)
    assert len(caplog.records) == 1
    assert ("Traceback" in caplog.text) != issubclass(error, DistillError)


def test_a_listener_may_ask_to_stop() -> None:
    def asking(_event: Event) -> None:
        raise Interrupted("interrupted")

    with pytest.raises(Interrupted):
        Listeners([asking])(Event("stage"))


def test_a_status_that_cannot_be_written_changes_nothing_and_is_written_when_it_can(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    rows, status = rows_file(workspace.root, STAGE), status_file(workspace.root, STAGE)
    rows.mkdir(parents=True)
    status.mkdir()

    def repair() -> None:
        rows.rmdir()
        status.rmdir()

    train_with(workspace, StatusListener(workspace.root), at_steps(STAGE, {8: repair}))
    assert outputs(workspace) == outputs(plain[0])
    assert len([record for record in caplog.records if "cannot" in record.getMessage()]) == 1
    found = read_status(workspace.root, STAGE)
    assert found is not None
    assert found["done"] == 18
    assert [row["epoch"] for row in read_rows(workspace.root, STAGE)] == [1, 2, 3]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_under_the_status_changes_nothing(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    rows_file(workspace.root, STAGE).parent.mkdir(parents=True)

    def fill() -> None:
        rows_file(workspace.root, STAGE).symlink_to("/dev/full")

    train_with(workspace, StatusListener(workspace.root), at_steps(STAGE, {2: fill}))
    assert outputs(workspace) == outputs(plain[0])


@pytest.fixture(scope="module")
def with_previews(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, bytes]]:
    """A workspace whose training makes previews, and what comes out where nothing goes wrong beside it."""
    workspace = copy(prepared, tmp_path_factory.mktemp("previews") / "prepared")
    make_workspace(workspace.root, vqvae={**VQVAE, "preview_count": 1})
    run(workspace, "configure")
    undisturbed = copy(workspace, workspace.root.with_name("undisturbed"))
    train(undisturbed)
    return workspace, outputs(undisturbed)


@pytest.mark.parametrize("last", [8, 18])
def test_a_disk_that_is_full_for_a_while_costs_no_training(
    with_previews: tuple[Workspace, dict[str, bytes]], tmp_path: Path, last: int
) -> None:
    """No checkpoint, of which one is due each epoch of 6 steps, can be written up to a step."""
    workspace, expected = copy(with_previews[0], tmp_path / "run"), with_previews[1]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limits = {
        2: lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1])),
        last: lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before),
    }
    try:
        events = train_with(workspace, StatusListener(workspace.root), at_steps(STAGE, limits))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "no_checkpoint" in {event.kind for event in of(events, Warned)}
    assert len(of(events, CheckpointSaved)) == (2 if last < 12 else 1)
    # Previews that found no room are not made later.
    written = outputs(workspace)
    assert written == {name: expected[name] for name in written}
    missing = expected.keys() - written.keys()
    assert missing
    assert all(name.startswith("previews/") for name in missing)


def test_what_was_best_on_a_full_disk_is_the_outcome(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copy(prepared, tmp_path / "run")

    def full(*_: Any) -> Any:
        raise StorageError("cannot write: No space left on device")

    monkeypatch.setattr(Checkpoints, "save_best", full)
    monkeypatch.setattr(VQVAETask, "preview", full)
    kinds = {event.kind for event in of(train(workspace), Warned)}
    assert kinds >= {"no_checkpoint", "no_previews"}
    assert weights(workspace) == weights(plain[0])


def test_a_journal_that_cannot_be_written_refuses_an_edit_and_changes_nothing(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    workspace.journal(STAGE).parent.mkdir()

    def block() -> None:
        workspace.journal(STAGE).mkdir()
        edit(folder, max_lr=1e-2)

    train(workspace, {3: block, 5: lambda: workspace.journal(STAGE).rmdir()})
    assert outputs(workspace) == outputs(plain[0])
    told = json.loads((folder.root / "runtime_config.status.json").read_text())
    assert not told["accepted"]
    assert "journal" in told["problem"]
    assert json.loads(folder.config_file.read_text())["max_lr"] == 1e-3


def test_an_edit_while_stopped_counts_from_the_next_step_on(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    train_until(workspace, 4, {2: lambda: edit(folder, decay=0.5)})
    edit(folder, max_lr=2e-3)
    (tuned,) = of(train(workspace), Tuned)
    assert (tuned.step, tuned.who, tuned.changes) == (4, "file", {"max_lr": (1e-3, 2e-3)})
    assert [(entry["step"], entry["change"]) for entry in journal_of(workspace, STAGE)] == [
        (2, {"decay": 0.5}),
        (4, {"max_lr": 2e-3}),
    ]
    told = json.loads((folder.root / "runtime_config.status.json").read_text())
    assert (told["accepted"], told["step"]) == (True, 4)
    again = copy(prepared, tmp_path / "again")
    again.journal(STAGE).parent.mkdir()
    shutil.copy(workspace.journal(STAGE), again.journal(STAGE))
    train(again)
    assert outputs(again) == outputs(workspace)


def test_a_manager_elsewhere_may_change_a_stopped_training(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    train_until(workspace, 4)
    config: VQVAEConfig = section(read_config(workspace, STAGE), "vqvae", VQVAEConfig)
    RuntimeConfigManager(folder.config_file, config).set("max_lr", 3e-3)
    (tuned,) = of(train(workspace), Tuned)
    assert (tuned.step, tuned.who) == (4, "python")


def test_a_wrong_edit_while_stopped_is_told(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    train_until(workspace, 4)
    edit(folder, weight_full=0.9)
    train(workspace)
    assert "weight_full 0.9" in caplog.text
    assert outputs(workspace) == outputs(plain[0])


def test_an_edit_for_another_training_is_told_and_not_taken_up(
    prepared: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    train_until(workspace, 4)
    edit(folder, max_lr=2e-3)
    make_workspace(workspace.root, vqvae={"learning_rate": 5e-4, "epochs": 1})
    run(workspace, "configure")
    assert not of(train(workspace), Tuned)
    assert "edit it again" in caplog.text
    assert json.loads(folder.config_file.read_text())["max_lr"] == 5e-4


def test_what_a_training_wrote_or_took_up_itself_is_no_edit(
    prepared: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    tune = Asked(folder, "tune", changes={"decay": 0.5})
    train_until(workspace, 9, {2: Asked(folder, "checkpoint"), 4: tune, 7: lambda: edit(folder, max_lr=2e-3)})
    assert tune.answer["changes"]
    # Going back takes both changes back; that the file still holds them is nobody's wish.
    assert roll_back_stopped(folder, workspace.journal(STAGE), 2) == 2
    assert not of(train(workspace), Tuned)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_edit_that_a_command_does_not_go_together_with_is_told(
    prepared: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    tune = Asked(folder, "tune", changes={"weight_full": 0.45, "weight_l1": 0.05})

    def race(event: Event) -> None:
        # The change is in force, and the file does not know of it yet.
        if isinstance(event, Tuned) and event.who == "command":
            edit(folder, weight_full=0.3, weight_half=0.5)

    train_with(workspace, at_steps(STAGE, {3: tune}), race)
    assert tune.answer["changes"] == {"weight_full": [0.5, 0.45], "weight_l1": [0.0, 0.05]}
    assert "make it again" in caplog.text
    assert "weight_half" in caplog.text


def test_a_checkpoint_that_was_asked_for_is_never_removed(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    ask: dict[int, Act] = {step: Asked(folder, "checkpoint") for step in (3, 8)}
    train_until(workspace, 10, {**ask, 5: lambda: edit(folder, decay=0.5)})
    state = state_of(workspace)
    workspace.journal(STAGE).write_text("")
    train_until(workspace, 9)
    assert [path.name for path in abandoned_files(state)] == ["abandoned-000000008.safetensors"]
    roll_back_stopped(folder, workspace.journal(STAGE), 3)
    assert 8 not in [each.step for each in list_checkpoints(state)]
    assert len(abandoned_files(state)) == 1
