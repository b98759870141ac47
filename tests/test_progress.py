"""The command's progress: one line for each stage and training, whatever figures it has."""

import logging

import pytest

from distill.cli.console import set_up_logging
from distill.cli.progress import shown_progress
from distill.live.events import EpochDone, TrainingStarted


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
