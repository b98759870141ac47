"""Sounds of one dataset that are nearly the same although their samples differ: takes, copies, other encodings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.audio.nearness import FARTHEST, LogMel, apart
from distill.audio.timbre import Timbre
from distill.configs import SpectrogramConfig
from distill.memorization.search import places_beside

# The distance below which two sounds count. docs/reference/datasets.md: figures of `benchmarks/near_duplicates.py`.
ALIKE = 0.1
# A sound is laid beside so many others, those of the nearest timbre.
CANDIDATES = 6
# Encodings and sample rates differ in bands that are softer than this, in dB below the whole sound.
_FLOOR_DB = -30.0
# Timbres that are compared at once with all others.
_ROWS = 256


@dataclass(frozen=True)
class Alike:
    """Two sounds by their numbers, and their distance: 0 for the same up to loudness, 1.41 for nothing in common."""

    first: int
    second: int
    distance: float


def alike(
    timbres: Sequence[Timbre],
    log_mel: Callable[[int], LogMel],
    config: SpectrogramConfig,
    limit: float = ALIKE,
) -> list[Alike]:
    """The pairs of sounds that are nearer to each other than a limit, the nearest first.

    A sound is laid beside the `CANDIDATES` of nearest timbre alone, so time grows with the number of sounds, but for
    the few operations that tell two timbres apart.

    Args:
        timbres: of all sounds, each `[n]` as `timbre_of` gives it.
        log_mel: reads the log mel `[n_mels, frames]` of a sound by its number.
        config: of the log mels.
        limit: the distance.
    """
    found = [
        Alike(one, other, distance(log_mel(one), log_mel(other), config, limit)) for one, other in candidates(timbres)
    ]
    return sorted((each for each in found if each.distance < limit), key=lambda each: (each.distance, each.first))


def candidates(timbres: Sequence[Timbre]) -> list[tuple[int, int]]:
    """The pairs of sounds, by their numbers, of which one is among those of the nearest timbres to the other."""
    if len(timbres) < 2:
        return []
    levels = np.maximum(np.stack(list(timbres)), _FLOOR_DB)
    squares = np.square(levels).sum(1)
    pairs: set[tuple[int, int]] = set()
    for begin in range(0, len(levels), _ROWS):
        rows = levels[begin : begin + _ROWS]
        apart_by: npt.NDArray[np.float64] = squares - 2.0 * rows @ levels.T
        apart_by[np.arange(len(rows)), np.arange(begin, begin + len(rows))] = np.inf
        nearest = np.argsort(apart_by, axis=1, kind="stable")[:, : min(CANDIDATES, len(levels) - 1)]
        pairs |= {
            (min(begin + row, other), max(begin + row, other))
            for row, others in enumerate(nearest.tolist())
            for other in others
        }
    return sorted(pairs)


def distance(one: LogMel, other: LogMel, config: SpectrogramConfig, limit: float = FARTHEST) -> float:
    """How far two sounds are apart, by their log mels `[n_mels, frames]`, where they fit best beside each other.

    It is the larger of the distances of the one's windows from the other and of the other's from the one: a sound that
    holds another and goes on is no near duplicate of it. Beyond a limit only one of them is looked at.
    """
    short, long = (one, other) if one.shape[1] <= other.shape[1] else (other, one)

    def beside(first: int) -> float:
        length = max(first + short.shape[1], long.shape[1]) - min(first, 0)
        laid = [np.zeros((len(short), length), np.float32) for _ in range(2)]
        for each, place, sound in zip(laid, (max(first, 0), max(-first, 0)), (short, long), strict=True):
            each[:, place : place + sound.shape[1]] = sound
        of_short = apart(laid[0], laid[1], config)
        return of_short if of_short >= limit else max(of_short, apart(laid[1], laid[0], config))

    return min(beside(place.first) for place in places_beside(short, long))
