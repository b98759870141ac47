"""Journals replayed, checkpoints gone back to: a training that was steered comes again, to the byte."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from distill.artifact.container import read_document
from distill.cli.main import app
from distill.configs import VQVAEConfig
from distill.errors import ArtifactError, Interrupted, StorageError
from distill.live.events import Event, Listeners, RolledBack, StepDone
from distill.live.folder import RunFolder
from distill.live.journal import EMPTY, Journal, effective_by_stage, parse_entry
from distill.live.runtime_config import RuntimeConfigManager
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from distill.training.position import list_checkpoints
from distill.training.rollback import roll_back_stopped
from steering_util import (
    STAGE,
    STEPS_PER_EPOCH,
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
    write_journal,
)

children = multiprocessing.get_context("forkserver")
children.set_forkserver_preload(["distill.stages.train_vqvae", "distill.stages.train_prior"])


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


def test_a_journal_without_entries_goes_on_where_it_is(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", STAGE)
    journal.replace([])
    assert journal.path.read_bytes() == EMPTY
    assert journal.entries() == []
    journal.append(1, "test", {"max_lr": 1e-4}, {})
    # A run whose journal begins like the project's is the project's.
    assert journal.path.read_bytes().startswith(EMPTY)
    assert [entry.step for entry in journal.entries()] == [1]


def test_only_what_a_rollback_kept_counts_and_is_numbered_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, STAGE)
    assert journal.entries() == []
    for step in (1, 2, 3):
        journal.append(step, "test", {"max_lr": step * 1e-4}, {})
    journal.append(3, "test", {"rollback": 1}, {"kept": 1})
    journal.append(2, "test", {"max_lr": 9e-4}, {})
    assert [entry.seq for entry in journal.entries()] == [1, 2, 3, 4, 5]
    assert [(entry.seq, entry.step) for entry in journal.effective()] == [(1, 1), (5, 2)]
    (carried,) = effective_by_stage([path]).values()
    assert [(each["seq"], each["step"], each["who"]) for each in carried] == [(1, 1, ""), (2, 2, "")]
    with pytest.raises(ArtifactError, match="so does a journal before it"):
        effective_by_stage([path, path])
    with pytest.raises(ArtifactError, match="put them elsewhere"):
        Journal(path, "train_prior").entries()
    journal.replace(journal.effective())
    assert [entry.seq for entry in journal.entries()] == [1, 5]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] * 2)
    with pytest.raises(ArtifactError, match="entry 1 of train_vqvae stands behind 1"):
        journal.entries()


@pytest.mark.parametrize(
    "change",
    [
        {"seq": -1},
        {"step": -1},
        {"seq": 1.5},
        {"change": {}},
        {"change": [1]},
        {"result": []},
        {"stage": 3},
        {"more": 1},
        {"change": {"rollback": 1}},
        {"schema": 2},
        {"schema": "1"},
    ],
)
def test_what_is_no_entry_is_refused(change: dict[str, object]) -> None:
    right = {"schema": 1, "stage": STAGE, "seq": 0, "step": 0, "who": "test", "change": {"max_lr": 1e-3}, "result": {}}
    assert parse_entry(right, "here").line().endswith(b"\n")
    with pytest.raises(ArtifactError, match="here: "):
        parse_entry({**right, **change}, "here")


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


@pytest.mark.parametrize(("cut", "kept"), [(30, []), (1, [1])], ids=["within the entry", "before the line's end"])
def test_a_first_line_that_was_cut_off_counts_if_its_entry_is_whole(tmp_path: Path, cut: int, kept: list[int]) -> None:
    journal = Journal(tmp_path / "run" / "journal" / "journal.jsonl", STAGE)
    journal.append(1, "test", {"max_lr": 1e-3}, {})
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    assert [entry.seq for entry in journal.entries()] == kept
    journal.append(2, "test", {"max_lr": 1e-4}, {})
    assert [entry.step for entry in journal.entries()] == [*kept, 2]


def test_a_change_that_cannot_be_noted_is_refused_and_leaves_the_journal_whole(tmp_path: Path) -> None:
    import resource

    journal = Journal(tmp_path / "journal.jsonl", STAGE)
    journal.append(1, "test", {"max_lr": 1e-3}, {})
    noted = journal.path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Like a disk that has room for a part of the next entry.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(noted) + 20, before[1]))
    try:
        with pytest.raises(StorageError):
            journal.append(2, "test", {"max_lr": 1e-4}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert journal.path.read_bytes() == noted
    assert journal.append(2, "test", {"max_lr": 1e-4}, {}).seq == 2


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


def test_a_checkpoint_holds_the_settings_in_force(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy(prepared, tmp_path / "run")
    folder = RunFolder(workspace.root, STAGE)
    train(workspace, {2: lambda: edit(folder, max_lr=2e-3)})
    (state,) = (workspace.root / ".distill" / "state" / STAGE).iterdir()
    newest = sorted(state.glob("checkpoint-*"))[-1]
    document = read_document(newest, format="distill_checkpoint", version=1)
    assert document["position"]["settings"]["max_lr"] == 2e-3
    assert document["position"]["effects"] == [{"step": 2, "change": {"max_lr": 2e-3}}]
