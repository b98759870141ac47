"""The command's progress: one line for each stage and training, whatever figures it has."""

import errno
import io
import logging
import sys
from pathlib import Path

import pytest
from rich.console import Console

from distill.cli import main, progress, train
from distill.cli.console import set_up_logging
from distill.cli.progress import shown_progress
from distill.errors import Interrupted
from distill.live.events import EpochDone, Expected, StageFinished, TrainingStarted, Warned


@pytest.mark.parametrize(
    ("stage", "figures", "said"),
    [
        ("train_vqvae", {"validation_lsd_db": 3.25}, "loss 0.5, held-out 0.6, distance 3.25 dB"),
        ("train_vocoder", {}, "loss 0.5, held-out 0.6,"),
    ],
)
def test_an_epoch_is_told_with_the_figures_that_it_has(
    stage: str, figures: dict[str, float], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(quiet=False, verbose=False)
    row = {"epoch": 1, "step": 10, "train_loss": 0.5, "validation_loss": 0.6, **figures}
    with shown_progress() as tell:
        tell(TrainingStarted(stage, step=0, total_steps=10, steps_per_epoch=10))
        tell(EpochDone(stage, row, {}, seconds=1.0, eta_seconds=1.0, steps_per_second=1.0))
    assert said in " ".join(capfd.readouterr().err.split())
    logging.getLogger("distill").handlers = []


def test_the_time_of_all_is_told_while_something_trains(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_logging(quiet=False, verbose=False)
    with shown_progress() as tell:
        tell(StageFinished("check_memorization", {}, seconds=1.0))
        tell(Expected("check_memorization", left=0.0, total=300.0, first=None))
        assert "It takes" not in capfd.readouterr().err
        tell(TrainingStarted("train_vqvae", step=0, total_steps=10, steps_per_epoch=10))
        tell(Expected("train_vqvae", left=300.0, total=300.0, first=None))
        tell(Expected("train_vqvae", left=299.0, total=300.0, first=None))
        tell(Warned("train_vqvae", "utilization_level_0", "level_0: only 20% of the codes are used"))
    said = capfd.readouterr().err
    assert said.count("It takes 5 min in all") == 1
    assert "level 0: only 20%" in said
    logging.getLogger("distill").handlers = []


def test_only_warnings_of_trainings_are_of_an_epoch(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_logging(quiet=False, verbose=False)
    reports = {"prepare": {"warnings": ["only 3 sounds"]}, "train_vocoder": {"warnings": ["it diverges"]}}
    train._summary(None, Path("runs/kit"), reports, as_json=False)
    said = capfd.readouterr().err
    assert "Warning: only 3 sounds" in said
    assert "Warning at the last epoch: it diverges" in said
    logging.getLogger("distill").handlers = []


def test_a_terminal_that_has_gone_does_not_hide_why_a_training_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        gone = False

        def write(self, text: str) -> int:
            if self.gone:
                raise OSError(errno.EIO, "Input/output error")
            return super().write(text)

    terminal = Terminal()
    monkeypatch.setattr(progress, "stderr", Console(file=terminal, force_terminal=True))
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "argv", ["distill", "train"])

    def lost(*_: object, **__: object) -> None:
        with shown_progress():
            terminal.gone = True
            raise Interrupted("its state is saved")

    monkeypatch.setattr(main, "app", lost)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 3
