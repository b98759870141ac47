"""How sounds begin, go on and end, as far as the levels of the columns that codes decode to tell.

A prior draws band after band and column after column. Now and then a column is nearly silent in every band though no
sound begins so, or the end comes where it is loud, or what has died away begins once more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from distill.audio.mel import MelTransform
from distill.configs import STRIDE

# The level of a column follows from its codes and a little from those of the column before it.
LAST_COLUMNS = 2
# Beyond the level of any sound, in dB of mel power.
NO_LIMIT_DB = 1000.0
# A column has four parts, in which a second attack shows; so many frames at its end tell how loud a sound ends with it.
_PART_FRAMES, _END_FRAMES = STRIDE // 4, 2
# What is softer is nearly silence, where nothing rises.
HEARD_DB = 0.0
# Share of the known sounds that are unusual; new ones may be so much beyond the others. Of 96 sounds of a kit's model
# without limits 18 began a second time, 10 where they may rise by 6 dB more than the kit's, and 6 where by 3 or 1 dB.
UNUSUAL_SHARE, BEYOND_DB, RISE_BEYOND_DB = 0.1, 6.0, 3.0
_LEAST_POWER = 1e-6

Levels = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Edges:
    """Limits for the levels of new sounds, in dB of mel power; by default nothing is limited.

    Attributes:
        softest_start: what the first column reaches at least.
        greatest_rise: by how much a sound that has become softer may come back to its level, as `Course` says.
        loudest_end: what the end of the last column reaches at most.
    """

    softest_start: float = -NO_LIMIT_DB
    greatest_rise: float = NO_LIMIT_DB
    loudest_end: float = NO_LIMIT_DB


@dataclass(frozen=True)
class ColumnLevels:
    """The greatest mel power in each column's parts, `[columns, 4]`, and in its last frames, `[columns]`, in dB."""

    parts: Levels
    ends: Levels


@dataclass(frozen=True)
class Course:
    """The loudest part of a sound so far, the softest since then, and the greatest rise, all in dB.

    >>> course = Course().after([30.0, 40.0, 10.0, 25.0])
    >>> course.rise, course.after([50.0, 44.0]).rise
    (15.0, 30.0)
    """

    loudest: float = -NO_LIMIT_DB
    softest: float = -NO_LIMIT_DB
    rise: float = 0.0

    def after(self, parts: Iterable[float]) -> "Course":
        """The course after some more parts. Up to its loudest part a sound rises once, which does not count."""
        loudest, softest, most = self.loudest, self.softest, self.rise
        for level in parts:
            level = max(float(level), HEARD_DB)
            most = max(most, min(level, loudest) - softest)
            softest = level if level >= loudest else min(softest, level)
            loudest = max(loudest, level)
        return Course(loudest, softest, most)


def column_levels(log_mel: torch.Tensor, transform: MelTransform) -> ColumnLevels:
    """Those of a log mel `[n_mels, 16 * columns]`."""
    frames = transform.to_power(log_mel.cpu()).amax(0).clamp_min(_LEAST_POWER).log10().mul(10).view(-1, STRIDE)
    parts = frames.view(len(frames), -1, _PART_FRAMES).amax(2)
    return ColumnLevels(parts.numpy(), frames[:, -_END_FRAMES:].amax(1).numpy())


def edges_of(begun: Sequence[Levels], ended: Sequence[float]) -> Edges:
    """The limits that all but unusual ones of some sounds keep.

    Args:
        begun: parts of columns `[columns, 4]` of sounds from their beginnings on.
        ended: ends of the last columns of sounds.
    """
    edges: dict[str, float] = {}
    if begun:
        starts = [float(parts[0].max()) for parts in begun]
        edges["softest_start"] = float(np.quantile(starts, UNUSUAL_SHARE)) - BEYOND_DB
        rises = [Course().after(parts.ravel()).rise for parts in begun]
        edges["greatest_rise"] = float(np.quantile(rises, 1 - UNUSUAL_SHARE)) + RISE_BEYOND_DB
    if ended:
        edges["loudest_end"] = float(np.quantile(ended, 1 - UNUSUAL_SHARE)) + BEYOND_DB
    return Edges(**edges)
