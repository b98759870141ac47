"""Steering a training while it runs: every parameter has its effect, and every request its answer."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from distill.artifact.container import read_document
from distill.artifact.model_file import read_manifest
from distill.errors import Interrupted, TrainingError, UsageError
from distill.live.commands import command_of
from distill.live.events import (
    CheckpointSaved,
    EpochDone,
    Event,
    LayerActivity,
    Listeners,
    Paused,
    StepDone,
    Tuned,
    Validated,
)
from distill.live.folder import Request, RunFolder
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from distill.training.position import list_checkpoints, step_of
from pipeline_util import bytes_of, make_workspace, run
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

CHANGES_WEIGHTS: list[dict[str, Any]] = [
    {"max_lr": 1e-4},
    {"min_lr": 9e-4},
    {"gradient_clip": 0.1},
    {"weight_full": 0.55},
    {"weight_half": 0.35},
    {"weight_quarter": 0.25},
    {"weight_l1": 0.05},
    {"commitment_weight": 1.0},
    {"threshold_ema_dead_code": 100.0},
    {"decay": 0.5},
    {"augmentation_strength": 0.0},
]


def first_weights(workspace: Workspace) -> dict[str, torch.Tensor]:
    """The weights after the first epoch."""
    (best,) = (workspace.root / ".distill" / "state" / STAGE).glob("*/best-000001.safetensors")
    return load_file(best)


@pytest.mark.parametrize("change", CHANGES_WEIGHTS, ids=lambda change: next(iter(change)))
def test_a_parameter_changes_what_is_learned(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path, change: dict[str, Any]
) -> None:
    workspace = copy(prepared, tmp_path / "tuned")
    events: list[Event] = []
    stop = StopRequest()
    tune = at_steps(STAGE, {2: lambda: edit(RunFolder(workspace.root, STAGE), **change)})

    def stop_after_an_epoch(event: Event) -> None:
        if isinstance(event, EpochDone):
            stop.ask()

    listeners = Listeners([events.append, tune, stop_after_an_epoch])
    with pytest.raises(Interrupted):
        run_stage(STAGE, Call(workspace, listeners, stop))
    (tuned,) = of(events, Tuned)
    assert tuned.step == 2
    assert {name: new for name, (_, new) in tuned.changes.items()} == change
    mine, others = (first_weights(each) for each in (workspace, plain[0]))
    assert mine.keys() == others.keys()
    assert not all(torch.equal(mine[name], others[name]) for name in mine)


def test_the_same_journal_gives_the_same_bytes(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy(prepared, tmp_path / "tuned")
    folder = RunFolder(workspace.root, STAGE)
    changes: list[dict[str, Any]] = [{"weight_full": 0.4, "weight_l1": 0.1}]
    changes += [change for change in CHANGES_WEIGHTS if not next(iter(change)).startswith(("weight", "max"))]
    acts: dict[int, Act] = {
        step: lambda change=change: edit(folder, **change)  # type: ignore[misc]
        for step, change in enumerate(changes, start=2)
    }
    train(workspace, {**acts, 15: lambda: edit(folder, preview_interval=1, validate_interval=2)})
    again = copy(prepared, tmp_path / "again")
    again.journal(STAGE).parent.mkdir()
    shutil.copy(workspace.journal(STAGE), again.journal(STAGE))
    train(again)
    assert bytes_of(again.root) == bytes_of(workspace.root)
    manifest = read_manifest(workspace.vqvae)
    assert manifest.journal is not None
    assert [entry["step"] for entry in manifest.journal] == [*acts, 15]


def test_intervals_have_their_effect_and_change_no_weight(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    intervals = {"log_interval": 3, "checkpoint_interval": 100, "keep_interval": 2}
    before, after = plain[1], train(workspace, {1: lambda: edit(folder, **intervals)})
    assert not [event for event in of(before, StepDone) if event.health]
    blocks = of(after, LayerActivity)[0].blocks
    assert {name.partition(".")[0] for name in blocks} == {"encoder", "decoder"}
    assert all(value > 0 for value in blocks.values())
    logged = [event.step for event in of(after, StepDone) if event.health]
    assert logged == [event.step for event in of(after, LayerActivity)]
    assert logged == [step for step in range(1, of(after, StepDone)[-1].step + 1) if step % 3 == 0]
    assert len(of(before, CheckpointSaved)) == 3
    assert len(of(after, CheckpointSaved)) == 2
    (state,) = (workspace.root / ".distill" / "state" / STAGE).iterdir()
    assert [each.kind for each in list_checkpoints(state)] == ["kept", "regular"]
    assert weights(workspace) == weights(plain[0])


def test_evaluating_less_often_leaves_rows_out(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    events = train(workspace, {1: lambda: edit(folder, validate_interval=2)})
    rows = [event.row for event in of(events, EpochDone)]
    assert [row["epoch"] for row in rows] == [2, 3]
    full = [event.row for event in of(plain[1], EpochDone)]
    assert [row["validation_loss"] for row in rows] == [row["validation_loss"] for row in full[1:]]


def test_an_early_stop_can_be_asked_for_later(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy(prepared, tmp_path / "run")
    make_workspace(workspace.root, vqvae={**VQVAE, "epochs": 30, "learning_rate": 1e-2})
    run(workspace, "configure")
    folder = RunFolder(workspace.root, STAGE)
    events = train(workspace, {1: lambda: edit(folder, early_stop_patience=1)})
    assert len(of(events, EpochDone)) < 30


def test_the_prior_is_tuned_and_repeated(plain: tuple[Workspace, list[Event]], tmp_path: Path) -> None:
    workspace = copy(plain[0], tmp_path / "prior")
    folder = RunFolder(workspace.root, "train_prior")
    events = train(workspace, {2: lambda: edit(folder, max_lr=1e-4, log_interval=1)}, "train_prior")
    assert set(of(events, LayerActivity)[0].blocks) == {"prior.0"}
    again = copy(plain[0], tmp_path / "again")
    again.journal("train_prior").parent.mkdir(exist_ok=True)
    shutil.copy(workspace.journal("train_prior"), again.journal("train_prior"))
    train(again, stage="train_prior")
    assert again.prior.read_bytes() == workspace.prior.read_bytes()
    assert json.loads(again.history("train_prior").read_text().splitlines()[-1].split(",")[0]) == 3
    run(workspace, "check_memorization", "train_vocoder", "assemble")
    manifest = read_manifest(workspace.model("tiny"))
    assert manifest.journal is not None
    assert [(entry["stage"], entry["step"], entry["change"]) for entry in manifest.journal] == [
        ("train_prior", 2, {"log_interval": 1, "max_lr": 1e-4})
    ]
    untouched = copy(plain[0], tmp_path / "untouched")
    run(untouched, "train_prior", "check_memorization", "train_vocoder", "assemble")
    assert read_manifest(untouched.model("tiny")).lineage.id != manifest.lineage.id


def test_requests_are_answered_with_the_step(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path
) -> None:
    """Asking for measurements, checkpoints and pauses, however often, changes nothing in the outcome."""
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    asked = {
        2: Asked(folder, "checkpoint"),
        3: Asked(folder, "validate", name="look"),
        4: Asked(folder, "pause"),
        5: Asked(folder, "validate", name=None),
    }
    resume = Asked(folder, "resume")
    events: list[Event] = []

    def on_pause(event: Event) -> None:
        if isinstance(event, Paused) and event.paused:
            resume()

    listeners = Listeners([events.append, at_steps(STAGE, dict(asked)), on_pause])
    run_stage(STAGE, Call(workspace, listeners, StopRequest()))
    assert [asked[step].answer["step"] for step in asked] == [2, 3, 4, 5]
    assert asked[2].answer["checkpoint"].endswith("checkpoint-000000002.safetensors")
    assert asked[3].answer["metrics"]["validation_loss"] > 0
    assert resume.answer == {"step": 4, "paused": False, "changed": True}
    assert [event.name for event in of(events, Validated)] == ["look", "step-5"]
    measured = json.loads(folder.validation("look").read_text())
    assert measured["values"]["max_lr"] == 1e-3
    assert outputs(workspace) == outputs(plain[0])
    assert journal_of(workspace, STAGE) == []
    (state,) = (workspace.root / ".distill" / "state" / STAGE).iterdir()
    kinds = {each.step: each.kind for each in list_checkpoints(state)}
    assert kinds[2] == "asked"
    assert not folder.running()


def test_a_checkpoint_that_gives_way_while_they_are_listed_is_left_out(
    plain: tuple[Workspace, list[Event]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = (plain[0].root / ".distill" / "state" / STAGE).iterdir()
    state = shutil.copytree(source, tmp_path / "state")
    first, *others = [each.step for each in list_checkpoints(state)]

    def read_and_lose(path: Path, **kind: Any) -> dict[str, Any]:
        document = read_document(path, **kind)
        if step_of(path) == first:
            path.unlink()
        return document

    monkeypatch.setattr("distill.training.position.read_document", read_and_lose)
    assert [each.step for each in list_checkpoints(state)] == others


def test_what_is_wrong_is_refused_and_changes_nothing(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    asked = {
        2: Asked(folder, "tune", changes={"weight_full": 0.7}),
        3: Asked(folder, "tune", changes={"batch_size": 3}),
        4: Asked(folder, "rollback", to=1, config_only=False),
        5: Asked(folder, "dance"),
        6: Asked(folder, "validate", name="../up"),
    }
    acts: dict[int, Act] = {**asked, 7: lambda: folder.config_file.write_text("{")}
    train(workspace, acts)
    words = ["not 1.2", "only be set at the start", "no checkpoint of step 1", "dance", "no name"]
    for each, word in zip(asked.values(), words, strict=True):
        assert isinstance(each.answer, UsageError)
        assert word in str(each.answer)
    assert not json.loads((folder.root / "runtime_config.status.json").read_text())["accepted"]
    assert outputs(workspace) == outputs(plain[0])


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("tune", []),
        ("tune", {"changes": ["max_lr"]}),
        ("validate", []),
        ("rollback", {"to": float("inf"), "config_only": False}),
    ],
)
def test_what_is_no_request_at_all_is_refused(command: str, arguments: Any) -> None:
    with pytest.raises(UsageError, match="cannot be understood"):
        command_of(Request("1", command, arguments, "test"))


def test_a_run_folder_that_is_gone_or_blocked_does_not_end_the_training(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)

    def block() -> None:
        folder.config_file.unlink()
        folder.config_file.mkdir()

    acts: dict[int, Act] = {
        2: block,
        4: (tune := Asked(folder, "tune", changes={"checkpoint_interval": 2})),
        5: (wrong := Asked(folder, "rollback", to="soon", config_only=False)),
        7: lambda: shutil.rmtree(folder.root),
    }
    train(workspace, acts)
    assert tune.answer["changes"] == {"checkpoint_interval": [1, 2]}
    assert isinstance(wrong.answer, UsageError)
    assert weights(workspace) == weights(plain[0])


def test_a_change_with_measurements_before_and_after(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    tune = Asked(folder, "tune", changes={"max_lr": 1e-2}, validate="faster", after=3)
    events = train(workspace, {2: tune})
    assert [(event.name, event.step) for event in of(events, Validated)] == [("faster-before", 2), ("faster-after", 5)]
    assert tune.answer["changes"] == {"max_lr": [1e-3, 1e-2]}
    before, after = (json.loads(folder.validation(f"faster-{end}").read_text()) for end in ("before", "after"))
    assert before["values"]["max_lr"] == 1e-3
    assert after["values"]["max_lr"] == 1e-2
    assert before["metrics"]["validation_loss"] != after["metrics"]["validation_loss"]


def test_an_edit_is_acknowledged_beside_the_file(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    train(workspace, {3: lambda: edit(folder, max_lr=2e-3)})
    status = json.loads((folder.root / "runtime_config.status.json").read_text())
    assert status == {
        "schema": 1,
        "accepted": True,
        "problem": None,
        "step": 3,
        "changes": {"max_lr": [1e-3, 2e-3]},
    }
    (entry,) = journal_of(workspace, STAGE)
    assert (entry["seq"], entry["step"], entry["who"]) == (1, 3, "file")
    assert entry["result"] == {"max_lr": [1e-3, 2e-3]}


def test_a_request_that_nobody_waits_for_is_withdrawn_or_said_to_be_carried_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, STAGE)
    said: list[str] = []

    def ask() -> None:
        with pytest.raises(TrainingError) as error:
            folder.ask("tune", {}, who="test", timeout=0.2)
        said.append(str(error.value))

    with folder.held():
        for taken in (False, True):
            thread = threading.Thread(target=ask)
            thread.start()
            while not (requests := folder.pending()):
                pass
            if taken:
                assert folder.take(requests[0])
            thread.join()
            assert folder.take(requests[0]) is False
            folder.answer(requests[0])
            assert folder.pending() == []
    assert "nothing was changed" in said[0]
    assert "has begun to carry out the request" in said[1]
    assert "nothing was changed" not in said[1]


def test_a_journal_that_is_damaged_meanwhile_refuses_an_edit_and_ends_nothing(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)

    def damage() -> None:
        workspace.journal(STAGE).parent.mkdir(exist_ok=True)
        workspace.journal(STAGE).write_text("<<<<<<< HEAD\n")
        edit(folder, max_lr=5e-4)

    assert of(train(workspace, {2: damage}), Tuned) == []
    assert weights(workspace) == weights(plain[0])
    assert workspace.journal(STAGE).read_text() == "<<<<<<< HEAD\n"


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "300", 101 * "y", 90 * "漢"])
def test_a_measurement_has_a_name_that_a_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name"):
        RunFolder(tmp_path, STAGE).validation(name)
    assert RunFolder(tmp_path, STAGE).validation(100 * "y").name == 100 * "y" + ".json"
