"""A small project in which everything is real: sounds, a trained model, and sounds that it made."""

from pathlib import Path

import numpy as np

from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from pipeline_util import make_workspace, run
from sounds_util import noise, save, tone

RATE = 48_000


def make_trained(root: Path) -> Path:
    """Eight tones and eight noises in `in/`, `models/tiny.distill`, and four takes of it in `generated/`."""
    fade = np.linspace(1, 0, round(0.4 * RATE), dtype=np.float32)
    for number in range(8):
        save(root / "in" / f"tone{number}.wav", tone(0.4, 150 * 1.3**number, RATE), RATE)
        save(root / "in" / f"noise{number}.wav", noise(0.4, number, RATE) * fade, RATE)
    workspace = make_workspace(root, data={"path": str(root / "in")})
    run(workspace, "prepare", "configure", "train_vqvae", "train_prior")
    run(workspace, "check_memorization", "train_vocoder", "assemble")
    place = Destination(root / "generated")
    list(produce(root / "models" / "tiny.distill", Request(seconds=0.5, natural=True), place, count=4))
    return root
