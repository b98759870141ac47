"""Which sounds are held out: by file, seeded; a single long file by time."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from distill import adaptive

_SPLIT_STREAM = 0x5711
_LEAST_CHUNKS = 4

Fraction = float | Literal["auto"]
TRAIN, VALIDATION = "train", "validation"
# What a dataset is split by where its only sound is too short: that sound is trained on and held out.
WITHOUT_SPLIT = "none"


@dataclass(frozen=True)
class TimeSplit:
    """A single file's parts, in frames: training up to `train_end`, held out from `validation_start` on."""

    train_end: int
    validation_start: int


def split_files(count: int, fraction: Fraction, seed: int) -> list[str]:
    """`train` or `validation` for each of at least 2 files; at least one of each."""
    share = adaptive.validation_fraction(count) if fraction == "auto" else fraction
    held_out = min(count - 1, max(1, int(share * count + 0.5)))
    generator = np.random.default_rng([seed, _SPLIT_STREAM])
    chosen = set(generator.permutation(count)[:held_out].tolist())
    return [VALIDATION if index in chosen else TRAIN for index in range(count)]


def split_time(frames: int, chunk: int, fraction: Fraction) -> TimeSplit | None:
    """Divide one file of so many frames, with a gap of one chunk between the parts; None when it is too short."""
    chunks = frames // chunk
    if chunks < _LEAST_CHUNKS:
        return None
    share = adaptive.validation_fraction(chunks) if fraction == "auto" else fraction
    held_out = min(frames - 2 * chunk, max(chunk, int(share * (frames - chunk) + 0.5)))
    return TimeSplit(train_end=frames - held_out - chunk, validation_start=frames - held_out)
