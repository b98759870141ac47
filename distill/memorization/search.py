"""Where among known sounds something like a sound may lie: a rough search through all, then the place beside each.

The rough search holds 16 bands by 4 times of each window against every window of every known sound, part by part:
products of matrices whose one side is fixed, so that time grows with the known sounds alone and memory does not.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from distill.audio.nearness import MOST_WINDOWS, NEAREST_SHARE, LogMel, active_windows
from distill.audio.power import in_floors
from distill.memorization.sounds import Recorded

# Frames of known sounds that are searched at once.
PART_FRAMES = 1024
# Parts of known sounds that a sound is held against: those nearest by a quarter of its windows, and those that are
# nearest to most of its windows, as the sources of a splice are.
NEAREST_PARTS, VOTED_PARTS = 6, 3

# Places in a part beside which a sound is laid.
PLACES_OF_PART = 3
# The share of a sound's energy that another one must have beside it to be compared at its own level.
LEAST_COVERED = 0.01

_BANDS, _TIMES = 16, 4
# Vectors of this length in whole numbers: sums of products stay below 2 ** 24, so that they are exact in float32.
_LENGTH = 4000.0

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """A part of a known sound: its number, and the frame where the part begins."""

    source: int
    first: int


@dataclass(frozen=True)
class Place:
    """A frame of another sound, maybe before its first, beside which a sound begins, and how well it fits, 0 to 1."""

    score: float
    first: int


class Search:
    """The rough search for sounds.

    Args:
        log_mels: of the sounds, `[n_mels, frames]`.
        own_files: for each the file whose sounds are left out, None where all are searched.
        size: frames of a window.
        parts: so many parts are found that are nearest by a quarter of a sound's windows.
    """

    def __init__(
        self, log_mels: Sequence[LogMel], own_files: Sequence[int | None], size: int, parts: int = NEAREST_PARTS
    ) -> None:
        self.size, self._most = size, parts
        self.own = np.array([-1 if file is None else file for file in own_files], np.int64)
        each = [_rough(log_mel, size)[active_windows(log_mel, size).frames] for log_mel in log_mels]
        counts = np.array([len(windows) for windows in each], np.int64)
        self._sound = np.repeat(np.arange(len(each)), counts)
        self._place = np.concatenate([np.zeros(0, np.int64), *(np.arange(count) for count in counts)])
        self._rank = np.maximum(np.ceil(NEAREST_SHARE * counts).astype(np.int64), 1) - 1
        self._asked = torch.from_numpy(np.concatenate(each).T.copy()) if each else torch.zeros(0, 0)
        self._best = np.zeros(len(self._sound), np.float32)
        self._voted = np.full(len(self._sound), -1)
        self._scores = np.zeros((len(each), parts), np.float32)
        self._nearest = np.full((len(each), parts), -1)
        self._parts: list[Part] = []

    def add(self, part: Part, log_mel: LogMel, file: int) -> None:
        """Search in a part of a known sound, `[n_mels, frames]`, that is from a file."""
        if not len(self._sound):
            return
        best = (torch.from_numpy(_rough(log_mel, self.size)) @ self._asked).amax(0).numpy()
        best[self.own[self._sound] == file] = 0.0
        by_sound = np.zeros((len(self.own), MOST_WINDOWS), np.float32)
        by_sound[self._sound, self._place] = best
        score = np.sort(by_sound, axis=1)[:, ::-1][np.arange(len(self.own)), self._rank]
        number = len(self._parts)
        scores = np.concatenate([self._scores, score[:, None]], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self._most]
        wanted = best > self._best
        if wanted.any() or (order == self._most).any():
            self._parts.append(part)
            numbers = np.concatenate([self._nearest, np.full((len(scores), 1), number)], axis=1)
            self._scores, self._nearest = (np.take_along_axis(each, order, 1) for each in (scores, numbers))
            self._voted[wanted] = number
            self._best[wanted] = best[wanted]

    def add_sound(self, known: Recorded, index: int) -> None:
        """Search in a known sound, part by part."""
        for first in range(0, known.frames[index], PART_FRAMES):
            last = min(first + PART_FRAMES, known.frames[index]) + self.size - 1
            self.add(Part(index, first), known.log_mel(index, first, last), known.files[index])

    def found(self, sound: int) -> list[Part]:
        """The parts where something like a sound may lie."""
        voted = Counter(int(number) for number in self._voted[self._sound == sound] if number >= 0)
        numbers = [int(number) for number in self._nearest[sound] if number >= 0]
        numbers += [number for number, _ in voted.most_common(VOTED_PARTS)]
        return [self._parts[number] for number in dict.fromkeys(numbers)]


def places_beside(log_mel: LogMel, other: LogMel) -> list[Place]:
    """The places of another sound, best first, at which a sound lies best beside it, by their log mels.

    Log mels follow attacks and levels, which windows of equal loudness do not. Neighbouring frames are often right as
    well: what the codec gives back may be a frame beside the sound.

    Args:
        log_mel: `[n_mels, frames]` of the sound.
        other: `[n_mels, n]`; silence is taken to lie around it.
    """
    frames, length = log_mel.shape[1], log_mel.shape[1] + other.shape[1]
    size = 1 << (length - 1).bit_length()
    products = np.conj(np.fft.rfft(log_mel, size)) * np.fft.rfft(other, size)
    product = np.fft.irfft(products.sum(0), size)
    firsts = np.arange(1 - frames, other.shape[1])
    sums = np.concatenate([[0.0], np.cumsum(np.square(other, dtype=np.float64).sum(0))])
    covered = sums[np.clip(firsts + frames, 0, len(sums) - 1)] - sums[np.clip(firsts, 0, len(sums) - 1)]
    own = float(np.square(log_mel, dtype=np.float64).sum())
    # What lies beside next to nothing of the other sound is no place.
    score = product[firsts % size] / np.sqrt(np.maximum(covered, LEAST_COVERED * own) * max(own, 1e-9))
    best = np.argsort(-score, kind="stable")[:PLACES_OF_PART]
    return [Place(float(score[index]), int(firsts[index])) for index in best]


def _rough(log_mel: LogMel, size: int) -> Floats:
    """A window at every frame, `[frames, times * bands]`, as a vector of whole numbers."""
    amplitude = np.sqrt(in_floors(np.asarray(log_mel, np.float32)))
    bands = amplitude.reshape(_BANDS, -1, amplitude.shape[1]).sum(1).T
    step = max(1, size // _TIMES)
    padded = np.pad(bands, ((0, size - 1), (0, 0)))
    sums = np.lib.stride_tricks.sliding_window_view(padded, step, axis=0).sum(-1)
    starts = range(0, size - step + 1, step)
    return _unit(np.concatenate([sums[start : start + len(bands)] for start in starts], axis=1))


def _unit(windows: npt.NDArray[Any]) -> Floats:
    """Vectors `[n, size]` at a length of `_LENGTH`, in whole numbers."""
    length = np.sqrt(np.square(windows, dtype=np.float64).sum(1, keepdims=True))
    unit: Floats = np.rint(windows * (_LENGTH / np.maximum(length, 1e-30))).astype(np.float32)
    return unit
