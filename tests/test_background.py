"""Trainings in processes of their own: started, found, stopped, gone on with, and what is told of them."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DataError, DistillError, TrainingError, UsageError
from distill.live.activity_zones import peak_of
from distill.live.events import EpochDone, RolledBack, TrainingStarted
from distill.live.folder import RunFolder
from distill.live.status import StatusListener, read_rows, rows_file
from distill.runs.background import go_on, start
from distill.runs.folder import Order, read_order, run_folders, run_named
from distill.runs.progress import alive, progress_of
from distill.runs.stopping import stop
from distill.runs.trainings import list_trainings, training_of
from distill.stages.workspace import Workspace
from distill.ui.training_state import state_of
from page_util import make_sounds, settings, wait


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    make_sounds(tmp_path / "kit")
    yield tmp_path
    for root in run_folders(tmp_path):
        with suppress(DistillError):
            stop(root)
        wait(lambda root=root: not alive(root))


def test_a_training_goes_on_by_itself_is_found_stopped_and_finished(project: Path) -> None:
    order = Order(
        str(project / "kit"),
        settings(vqvae_epochs=400, vqvae_preview_interval=2, vqvae_preview_count=1),
        "tiny",
        "train_vqvae",
        "page",
    )
    root = start(project, order)
    assert alive(root)
    noted = read_order(root)
    assert noted is not None
    assert (noted.source, noted.name, noted.until) == ("kit", "tiny", "train_vqvae")
    with pytest.raises(TrainingError, match="runs already"):
        start(project, order)
    wait(lambda: (training := state_of(root).training) and len(training.history["epoch"]) > 2)
    folder = RunFolder(root, "train_vqvae")
    assert folder.running()
    assert [name for name, _ in progress_of(root).stages] == ["prepare", "configure", "train_vqvae"]
    # A quick training has its first previews before it says for the first time how it stands.
    shown = ("previews", "terms", "levels", "memory_mb")
    state = wait(lambda: (state := state_of(root)) and all(getattr(state.training, name) for name in shown) and state)
    assert (state.state, state.stage) == ("running", "train_vqvae")
    training = state.training
    assert {term.name for term in training.terms} == {"full", "half", "quarter", "l1", "commitment"}
    assert sum(term.share for term in training.terms) == pytest.approx(1)
    assert sum(term.weight_share for term in training.terms) == pytest.approx(1)
    assert [level.label for level in training.levels] == ["Structure", "Timbre", "Detail"]
    assert training.memory_mb > 10
    assert training.previews[0].original.is_file()
    # By now the training itself has noted what it was started with.
    noted = read_order(root)
    assert noted is not None
    assert noted.started_by == "page"
    folder.ask("pause", {}, who="page", timeout=60)
    assert wait(lambda: progress_of(root).state == "paused")
    stop(root)
    wait(lambda: not alive(root))
    stopped = wait(lambda: progress_of(root))
    assert stopped.state == "stopped"
    assert "interrupted in epoch" in stopped.reason

    def steps() -> list[Any]:
        training = state_of(root).training
        assert training is not None
        return training.history["step"]

    rows = steps()
    go_on(project, root, until="train_vqvae")
    wait(lambda: len(steps()) > len(rows))
    again = steps()
    assert again[: len(rows)] == rows
    assert again == sorted(set(again))


def test_a_folder_that_is_no_project_gets_its_trainings_and_nobody_else(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISTILL_PROJECT")
    monkeypatch.setenv("DISTILL_HOME", str(tmp_path / "home"))
    root = start(project, Order(str(project / "kit"), settings(vqvae_epochs=1), "tiny", "prepare", "page"))
    wait(lambda: not alive(root))
    assert Workspace(root).report("prepare").is_file()
    assert not (tmp_path / "home").exists()


def test_a_training_that_only_holds_its_folder_has_nothing_to_tell_yet(project: Path) -> None:
    folder = RunFolder(project, "train_vqvae")
    with folder.held():
        assert list_trainings(project)[0]["stage"] is None
        state = state_of(project)
        assert (state.trainings, state.training) == ([], None)
        with pytest.raises(DataError, match="has not run there"):
            training_of(project, "train_vqvae")
        folder.note(project / "checkpoints", {"max_lr": 0.001})
        assert [found["stage"] for found in list_trainings(project)] == ["train_vqvae"]
        training = state_of(project).training
        assert training is not None
        assert training.running


def test_the_prior_is_trained_from_the_same_workspace(project: Path) -> None:
    root = start(project, Order(str(project / "kit"), settings(vqvae_epochs=2, prior_epochs=2), "tiny", "train_vqvae"))
    wait(lambda: progress_of(root).state == "finished")
    assert not (project / "models" / "tiny.distill").exists()
    go_on(project, root)
    wait(lambda: progress_of(root).state == "finished" and progress_of(root).stage == "assemble")
    assert (project / "models" / "tiny.distill").is_file()
    state = state_of(root)
    assert state.model == "tiny"
    assert state.memorization is not None
    assert state.memorization.verdict in ("pass", "warn", "fail")
    assert state.memorization.page is not None
    assert state.memorization.page.is_file()
    prior = state.training
    assert prior is not None
    assert prior.stage == "train_prior"
    assert len(prior.history["train_perplexity"]) == 2
    assert prior.threshold > 1
    assert prior.verdict is None
    first = state_of(root, "train_vqvae").training
    assert first is not None
    assert first.usage is not None
    assert first.usage.is_file()
    assert first.verdict is not None
    assert first.verdict.light in ("green", "yellow", "red")


@pytest.mark.parametrize(
    ("value", "zone", "words"),
    [
        (0.5, "green", ""),
        (1.0, "yellow", ""),
        (1.4, "orange", ""),
        (1.6, "red", "very active"),
        (2.1, "red", "far too"),
    ],
)
def test_the_most_active_block_is_judged(value: float, zone: str, words: str) -> None:
    peak = peak_of({"encoder.0": 0.1, "decoder.1": value, "decoder.2": None})
    assert peak is not None
    assert (peak.block, peak.value, peak.zone) == ("decoder.1", value, zone)
    assert words in peak.warning
    assert bool(peak.warning) == bool(words)
    assert peak_of({"encoder.0": None}) is None


def test_evaluations_that_a_rollback_took_back_are_gone(tmp_path: Path) -> None:
    listener = StatusListener(tmp_path)

    def evaluated(step: int, loss: float) -> None:
        row = {"epoch": step, "step": step, "validation_loss": loss}
        listener(EpochDone("train_vqvae", row, {}, seconds=1.0, eta_seconds=1.0, steps_per_second=1.0))

    def losses() -> list[float | None]:
        return [row["validation_loss"] for row in read_rows(tmp_path, "train_vqvae")]

    listener(TrainingStarted("train_vqvae", 0, 9, 1))
    for step in range(1, 5):
        evaluated(step, float(step))
    evaluated(5, float("nan"))
    assert losses() == [1, 2, 3, 4, None]
    listener(RolledBack("train_vqvae", 5, 2, 0))
    assert losses() == [1, 2]
    evaluated(3, 30.0)
    with rows_file(tmp_path, "train_vqvae").open("ab") as handle:
        handle.write(b'{"step": 4, "valida')
    again = StatusListener(tmp_path)
    again(TrainingStarted("train_vqvae", 3, 9, 1))
    assert losses() == [1, 2, 30]
    StatusListener(tmp_path)(TrainingStarted("train_vqvae", 0, 9, 1))
    assert losses() == []


def test_what_cannot_be_started_is_one_line(project: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        start(project, Order(str(project / "nothing")))
    with pytest.raises(UsageError, match="did you mean epochs"):
        start(project, Order(str(project / "kit"), ("vqvae.epoch=3",)))
    (project / "runs" / "else" / ".distill" / "live").mkdir(parents=True)
    with pytest.raises(DataError, match="more than its settings"):
        go_on(project, project / "runs" / "else")
    with pytest.raises(TrainingError, match="nothing runs"):
        stop(project / "runs" / "else")
    for name in ("../kit", "/etc", "", "kit", "else/.."):
        with pytest.raises(DataError, match="there is no run"):
            run_named(project, name)


def test_why_a_training_ended_is_known(project: Path) -> None:
    save = project / "empty"
    save.mkdir()
    root = start(project, Order(str(save), settings(), "none"))
    wait(lambda: not alive(root))
    assert progress_of(root).state == "stopped"
    assert "empty" in progress_of(root).reason
