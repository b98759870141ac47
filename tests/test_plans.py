"""Trainings of sounds that are long beside their plan: what is planned is done, and it is evaluated often."""

from pathlib import Path

import pytest

from distill import adaptive
from distill.evenly import evenly
from distill.live.events import EpochDone, Event, StepDone, TrainingStarted
from pipeline_util import make_workspace, run
from sounds_util import noise, save

STEPS = 40
LENGTHS = {"short": 0.3, "long": 8.0}


@pytest.mark.parametrize("length", LENGTHS)
def test_the_steps_that_are_planned_are_done_with_twenty_evaluations(
    length: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TUNED_VQVAE_STEPS", "TUNED_PRIOR_STEPS"):
        monkeypatch.setattr(adaptive, name, (1, STEPS, STEPS))
    for index in range(3):
        save(tmp_path / "sounds" / f"{index}.wav", noise(LENGTHS[length], index, rate=16_000), rate=16_000)
    planned = {"epochs": "auto", "batch_size": "auto", "checkpoint_interval": 1000}
    workspace = make_workspace(
        tmp_path,
        spectrogram={"n_mels": 32, "sample_rate": 16_000},
        vqvae={**planned, "augmentation_expansion": "auto", "preview_count": 0},
        prior={**planned, "context": 64, "early_stop_patience": 0, "column_cuts": 1, "augmented_copies": 0},
    )
    run(workspace, "prepare", "configure")
    for stage in ("train_vqvae", "train_prior"):
        events: list[Event] = []
        report = run(workspace, stage, events=events)
        (started,) = (event for event in events if isinstance(event, TrainingStarted))
        steps = [event for event in events if isinstance(event, StepDone)]
        epochs = [event for event in events if isinstance(event, EpochDone)]
        assert started.total_steps == len(steps) == report["steps"]
        assert abs(len(steps) - STEPS) <= started.steps_per_epoch / 2
        assert len(epochs) == len({event.row["step"] for event in epochs}) >= adaptive.LEAST_EVALUATIONS
        # What is left to do is said in steps: nothing is left at the end.
        assert epochs[-1].eta_seconds == 0 < epochs[0].eta_seconds


def test_an_evaluation_is_spread_over_everything() -> None:
    assert evenly(7, 9).tolist() == list(range(7))
    few = evenly(1000, 128)
    assert (len(set(few.tolist())), few[0], few[-1]) == (128, 0, 999)
    assert evenly(0, 9).tolist() == []
