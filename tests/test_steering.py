"""Steering a training: every parameter has its effect, every request its answer, and a journal makes it repeatable."""

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from distill.artifact.container import read_container, read_document, write_container
from distill.artifact.model_file import read_manifest
from distill.cli.main import app
from distill.configs import VQVAEConfig
from distill.errors import ArtifactError, Interrupted, UsageError
from distill.live.events import (
    CheckpointSaved,
    EpochDone,
    Event,
    LayerActivity,
    Listeners,
    Paused,
    PreviewWritten,
    RolledBack,
    StepDone,
    Tuned,
    Validated,
)
from distill.live.folder import RunFolder
from distill.live.journal import Journal, effective_by_stage
from distill.live.runtime_config import RuntimeConfigManager
from distill.live.stopping import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from distill.training.position import list_checkpoints
from distill.training.stopped import roll_back_stopped
from pipeline_util import bytes_of, make_workspace, run
from steering_util import Act, Asked, at_steps, edit, journal_of, write_journal

STAGE = "train_vqvae"
OUTPUTS = ("trained/vqvae", "previews", "history/train_vqvae", "reports/train_vqvae", "plots/train_vqvae")
VQVAE = {
    "augmentation_expansion": 6,
    "preview_interval": 100,
    "learning_rate": 1e-3,
    "weight_full": 0.5,
    "weight_half": 0.3,
    "weight_quarter": 0.2,
    "weight_l1": 0.0,
}
STEPS_PER_EPOCH = 6
children = multiprocessing.get_context("forkserver")
children.set_forkserver_preload(["distill.stages.train_vqvae", "distill.stages.train_prior"])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("steering"), vqvae=VQVAE)
    run(workspace, "prepare", "configure")
    return workspace


def copy(workspace: Workspace, root: Path) -> Workspace:
    shutil.copytree(workspace.root, root)
    return Workspace(root)


def train(workspace: Workspace, acts: dict[int, Act] | None = None, stage: str = STAGE) -> list[Event]:
    events: list[Event] = []
    listeners = Listeners([events.append, at_steps(stage, acts or {})])
    run_stage(stage, Call(workspace, listeners, StopRequest()))
    return events


def of(events: list[Event], kind: type[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def weights(workspace: Workspace) -> str:
    return read_manifest(workspace.vqvae).tensor_digest


def outputs(workspace: Workspace) -> dict[str, bytes]:
    """What the training of the VQ-VAE wrote."""
    return {name: data for name, data in bytes_of(workspace.root).items() if name.startswith(OUTPUTS)}


@pytest.fixture(scope="module")
def plain(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[Event]]:
    """A training that nobody touched."""
    workspace = copy(prepared, tmp_path_factory.mktemp("plain") / "run")
    return workspace, train(workspace)


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


@pytest.mark.parametrize("change", CHANGES_WEIGHTS, ids=lambda change: next(iter(change)))
def test_a_parameter_changes_what_is_learned(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path, change: dict[str, Any]
) -> None:
    workspace = copy(prepared, tmp_path / "tuned")
    events = train(workspace, {2: lambda: edit(RunFolder(workspace.root, STAGE), **change)})
    (tuned,) = of(events, Tuned)
    assert tuned.step == 2
    assert {name: new for name, (_, new) in tuned.changes.items()} == change
    assert weights(workspace) != weights(plain[0])


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
    intervals = {"log_interval": 3, "preview_interval": 1, "checkpoint_interval": 100, "keep_interval": 2}
    before, after = plain[1], train(workspace, {1: lambda: edit(folder, **intervals)})
    assert not [event for event in of(before, StepDone) if event.health]
    blocks = of(after, LayerActivity)[0].blocks
    assert {name.partition(".")[0] for name in blocks} == {"encoder", "decoder"}
    assert all(value > 0 for value in blocks.values())
    logged = [event.step for event in of(after, StepDone) if event.health]
    assert logged == [event.step for event in of(after, LayerActivity)]
    assert logged == [step for step in range(1, of(after, StepDone)[-1].step + 1) if step % 3 == 0]
    assert [len(of(events, PreviewWritten)) for events in (before, after)] == [1, 3]
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
    run(workspace, "check_memorization", "train_vocoder", "register")
    manifest = read_manifest(workspace.model("tiny"))
    assert manifest.journal is not None
    assert [(entry["stage"], entry["step"], entry["change"]) for entry in manifest.journal] == [
        ("train_prior", 2, {"log_interval": 1, "max_lr": 1e-4})
    ]
    run(plain[0], "train_prior", "check_memorization", "train_vocoder", "register")
    assert read_manifest(plain[0].model("tiny")).lineage.id != manifest.lineage.id


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
    assert resume.answer == {"step": 4, "paused": False}
    assert [event.name for event in of(events, Validated)] == ["look", "step-5"]
    measured = json.loads(folder.validation("look").read_text())
    assert measured["values"]["max_lr"] == 1e-3
    assert outputs(workspace) == outputs(plain[0])
    assert journal_of(workspace, STAGE) == []
    (state,) = (workspace.root / ".distill" / "state" / STAGE).iterdir()
    kinds = {each.step: each.kind for each in list_checkpoints(state)}
    assert kinds[2] == "asked"
    assert not folder.running()


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


def steered(root: str, moment: int) -> None:
    """Tuned by three ways, then killed."""
    workspace = Workspace(Path(root))
    folder = RunFolder(workspace.root, STAGE)
    config = VQVAEConfig(**json.loads(workspace.config(STAGE).read_text())["vqvae"])

    def by_python() -> None:
        RuntimeConfigManager(folder.config_file, config).update({"weight_full": 0.4, "weight_l1": 0.1})

    acts: dict[int, Act] = {
        2: lambda: edit(folder, max_lr=3e-3),
        4: by_python,
        6: Asked(folder, "tune", changes={"decay": 0.8}),
        moment: lambda: os.kill(os.getpid(), signal.SIGKILL),
    }
    train(workspace, acts)


def replayed(workspace: Workspace) -> Workspace:
    """What `distill train --replay` makes, in the current folder, of the inputs and the journal of a workspace."""
    params = yaml.safe_load(workspace.params_file.read_text())
    settings = [
        f"--set={section}.{key}={json.dumps(value)}"
        for section in ("data", "run", "vqvae", "prior", "memorization")
        for key, value in params[section].items()
    ]
    sounds, journal = str(workspace.root / "sounds"), str(workspace.journal(STAGE))
    options = ["--model-name", params["model"]["name"], "--until", STAGE, "--json"]
    arguments = ["train", sounds, "--replay", journal, *options, *settings]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Workspace(Path(json.loads(result.stdout)["workspace"]))


def test_three_ways_a_kill_a_rollback_and_a_replay(
    prepared: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    child = children.Process(target=steered, args=(str(workspace.root), 8))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    assert [entry["who"] for entry in journal_of(workspace, STAGE)] == ["file", "python", "command"]
    asked = {
        STEPS_PER_EPOCH * 2 + 1: Asked(folder, "tune", changes={"gradient_clip": 0.5}),
        STEPS_PER_EPOCH * 2 + 2: Asked(folder, "rollback", to=STEPS_PER_EPOCH, config_only=False),
    }
    late = Asked(folder, "tune", changes={"augmentation_strength": 0.5})
    events: list[Event] = []
    rolled: list[int] = []

    def after_rollback(event: Event) -> None:
        if isinstance(event, RolledBack):
            rolled.append(event.to)
        if rolled and isinstance(event, StepDone) and event.step == STEPS_PER_EPOCH + 3:
            late()

    listeners = Listeners([events.append, at_steps(STAGE, dict(asked)), after_rollback])
    run_stage(STAGE, Call(workspace, listeners, StopRequest()))
    rollback = asked[STEPS_PER_EPOCH * 2 + 2].answer
    assert not isinstance(rollback, Exception), rollback
    assert rollback["abandoned"] >= 1
    assert rollback["changes"]["gradient_clip"] == [0.5, 1.0]
    effective = Journal(workspace.journal(STAGE), STAGE).effective()
    assert "gradient_clip" not in [name for entry in effective for name in entry.change]
    assert effective[-1].change == {"augmentation_strength": 0.5}
    monkeypatch.chdir(tmp_path)
    assert outputs(replayed(workspace)) == outputs(workspace)


def damage(path: Path) -> None:
    """One bit of the weights."""
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("which", ["checkpoint-000000006", "best-000001"])
def test_nothing_changes_where_the_checkpoint_to_go_back_to_is_damaged(
    prepared: Workspace, tmp_path: Path, which: str
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)

    def damage_it() -> None:
        (path,) = (workspace.root / ".distill" / "state" / STAGE).glob(f"*/{which}.safetensors")
        damage(path)

    acts: dict[int, Act] = {
        STEPS_PER_EPOCH + 1: damage_it,
        STEPS_PER_EPOCH + 2: lambda: edit(folder, max_lr=2e-3),
        STEPS_PER_EPOCH + 3: (back := Asked(folder, "rollback", to=STEPS_PER_EPOCH, config_only=False)),
        STEPS_PER_EPOCH + 4: Asked(folder, "stop"),
    }
    with pytest.raises(Interrupted):
        train(workspace, acts)
    assert "damaged" in str(back.answer)
    state, _ = folder.noted()
    before = [checkpoint.step for checkpoint in list_checkpoints(state)]
    with pytest.raises(ArtifactError, match="damaged"):
        roll_back_stopped(folder, workspace.journal(STAGE), STEPS_PER_EPOCH)
    assert [checkpoint.step for checkpoint in list_checkpoints(state)] == before
    (entry,) = journal_of(workspace, STAGE)
    assert entry["change"] == {"max_lr": 2e-3}


def test_settings_alone_go_back(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    acts: dict[int, Act] = {
        2: Asked(folder, "checkpoint"),
        3: lambda: edit(folder, max_lr=2e-3),
        5: (back := Asked(folder, "rollback", to=2, config_only=True)),
        6: (again := Asked(folder, "rollback", to=2, config_only=True)),
    }
    train(workspace, acts)
    assert back.answer == {"step": 5, "changes": {"max_lr": [2e-3, 1e-3]}}
    assert again.answer == {"step": 6, "changes": {}}
    assert [entry["step"] for entry in journal_of(workspace, STAGE)] == [3, 5]
    assert json.loads(folder.config_file.read_text())["max_lr"] == 1e-3


def test_changes_wait_until_the_journal_is_replayed(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    write_journal(workspace.journal(STAGE), STAGE, (2, {"max_lr": 2e-3}), (5, {"decay": 0.8}))
    early = Asked(folder, "tune", changes={"max_lr": 1e-4})
    late = Asked(folder, "tune", changes={"max_lr": 1e-4})
    train(workspace, {3: early, 4: lambda: edit(folder, decay=0.1), 6: late})
    assert "replayed up to step 5" in str(early.answer)
    assert late.answer["changes"] == {"max_lr": [2e-3, 1e-4]}
    assert [entry["step"] for entry in journal_of(workspace, STAGE)] == [2, 5, 6]


def test_another_journal_finds_another_training(plain: tuple[Workspace, list[Event]], tmp_path: Path) -> None:
    workspace = copy(plain[0], tmp_path / "run")
    write_journal(workspace.journal(STAGE), STAGE, (2, {"max_lr": 2e-3}))
    train(workspace)
    tuned = weights(workspace)
    assert tuned != weights(plain[0])
    assert of(train(workspace), StepDone) == []
    workspace.journal(STAGE).write_text("")
    train(workspace)
    assert weights(workspace) == weights(plain[0])


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('{"schema": 2}', "newer"),
        ('{"schema": 1, "stage": "train_prior", "seq": 1, "step": 1, "who": "", "change": {"max_lr": 1e-3}}', "prior"),
        ('{"schema": 1, "stage": "train_vqvae", "seq": 1, "step": 1, "who": "", "change": {"max_lr": 5}}', "max_lr"),
        ('{"schema": 1, "stage": "train_vqvae", "seq": 1, "step": -1, "who": "", "change": {"max_lr": 5}}', "step"),
        ('{"schema": 1, "stage": "train_vqvae", "seq": 1}', "missing"),
        ("[]", "not a journal entry"),
    ],
)
def test_a_journal_that_cannot_be_replayed_is_refused(
    prepared: Workspace, tmp_path: Path, line: str, word: str
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    workspace.journal(STAGE).parent.mkdir()
    workspace.journal(STAGE).write_text(line + "\n")
    with pytest.raises(ArtifactError, match=word):
        train(workspace)


def test_a_journal_of_no_training_is_refused(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal" / "x.jsonl", "train_nothing", (1, {"max_lr": 1e-3}))
    with pytest.raises(ArtifactError, match="none of train_vqvae, train_prior"):
        effective_by_stage([tmp_path / "journal" / "x.jsonl"])


def test_a_line_that_was_cut_off_never_counted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", STAGE)
    journal.append(1, "test", {"max_lr": 1e-3}, {})
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + whole[:30])
    assert [entry.seq for entry in journal.entries()] == [1]
    journal.append(2, "test", {"max_lr": 1e-4}, {})
    assert [entry.seq for entry in journal.entries()] == [1, 2]
    journal.path.write_bytes(journal.path.read_bytes().rstrip())
    journal.append(3, "test", {"max_lr": 1e-5}, {})
    assert [entry.seq for entry in journal.entries()] == [1, 2, 3]


def test_a_stop_that_was_asked_for_is_saved(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    stop = Asked(folder, "stop")
    with pytest.raises(Interrupted):
        train(workspace, {4: stop})
    assert stop.answer == {"step": 4}
    train(workspace)
    assert outputs(workspace) == outputs(plain[0])


def test_a_checkpoint_without_settings_is_used_with_a_warning(
    plain: tuple[Workspace, list[Event]], prepared: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = copy(prepared, tmp_path / "run")
    with pytest.raises(Interrupted):
        train(workspace, {4: Asked(RunFolder(workspace.root, STAGE), "stop")})
    (path,) = (workspace.root / ".distill" / "state" / STAGE).glob("*/checkpoint-*")
    container = read_container(path, format="distill_checkpoint", version=1)
    position = {**container.document["position"]}
    assert position.pop("settings")["max_lr"] == 1e-3
    write_container(path, container.tensors, {**container.document, "position": position})
    assert of(train(workspace), StepDone)[0].step == 5
    assert "holds no settings" in caplog.text
    assert outputs(workspace) == outputs(plain[0])


def test_a_checkpoint_holds_the_settings_in_force(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    train(workspace, {2: lambda: edit(folder, max_lr=2e-3)})
    (state,) = (workspace.root / ".distill" / "state" / STAGE).iterdir()
    newest = sorted(state.glob("checkpoint-*"))[-1]
    document = read_document(newest, format="distill_checkpoint", version=1)
    assert document["position"]["settings"]["max_lr"] == 2e-3
    assert document["position"]["effects"] == [{"step": 2, "change": {"max_lr": 2e-3}}]
