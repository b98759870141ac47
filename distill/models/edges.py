"""How sounds begin, go on and end, as far as the levels of the columns that codes decode to tell.

A prior draws band after band and column after column. Now and then a column is nearly silent in every band though no
sound begins so, or the end comes where it is loud, or what has died away begins once more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from distill.audio.mel import MelTransform
from distill.configs import STRIDE

# The level of a column follows from its codes and a little from those of the column before it.
LAST_COLUMNS = 2
# Louder than any sound, in dB of mel power.
LOUDEST_DB = 1000.0
# So many frames at the end of a column tell how loud a sound ends with it.
_END_FRAMES = 2
# Share of the known sounds that are unusual; new ones may be so much beyond the others.
UNUSUAL_SHARE, BEYOND_DB = 0.1, 6.0
_LEAST_POWER = 1e-6

Levels = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Edges:
    """Limits for the levels of new sounds, in dB of mel power; by default nothing is limited.

    Attributes:
        softest_start: what the first column reaches at least.
        greatest_rise: by how much a column is louder than the softest one before it at most.
        loudest_end: what the end of the last column reaches at most.
    """

    softest_start: float = -LOUDEST_DB
    greatest_rise: float = LOUDEST_DB
    loudest_end: float = LOUDEST_DB


@dataclass(frozen=True)
class ColumnLevels:
    """The greatest mel power in each column of a sound and in its last frames, in dB, `[columns]` each."""

    peaks: Levels
    ends: Levels


def column_levels(log_mel: torch.Tensor, transform: MelTransform) -> ColumnLevels:
    """Those of a log mel `[n_mels, 16 * columns]`."""
    frames = transform.to_power(log_mel.cpu()).amax(0).clamp_min(_LEAST_POWER).log10().mul(10).view(-1, STRIDE)
    return ColumnLevels(frames.amax(1).numpy(), frames[:, -_END_FRAMES:].amax(1).numpy())


def rise(peaks: Levels) -> float:
    """By how much the last of some columns `[n]` is louder than the softest one before it, in dB."""
    return float(peaks[-1] - peaks[:-1].min()) if len(peaks) > 1 else -LOUDEST_DB


def edges_of(begun: Sequence[Levels], ended: Sequence[float]) -> Edges:
    """The limits that all but unusual ones of some sounds keep.

    Args:
        begun: peaks of columns `[n]` of sounds from their beginnings on.
        ended: ends of the last columns of sounds.
    """
    edges: dict[str, float] = {}
    if begun:
        starts = [float(peaks[0]) for peaks in begun]
        edges["softest_start"] = float(np.quantile(starts, UNUSUAL_SHARE)) - BEYOND_DB
        rises = [max((rise(peaks[:last]) for last in range(2, len(peaks) + 1)), default=0.0) for peaks in begun]
        edges["greatest_rise"] = max(0.0, float(np.quantile(rises, 1 - UNUSUAL_SHARE))) + BEYOND_DB
    if ended:
        edges["loudest_end"] = float(np.quantile(ended, 1 - UNUSUAL_SHARE)) + BEYOND_DB
    return Edges(**edges)
