"""The sounds that are nearest to some others, without a codec between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from distill.audio.nearness import LogMel, active_windows, distances, nearest_share, window_frames
from distill.configs import SpectrogramConfig
from distill.memorization.search import PART_FRAMES, Part, Search, places_beside
from distill.memorization.sounds import Recorded

# Parts that are looked at for each sound that is wanted: a long one has several.
_PARTS = 3


@dataclass(frozen=True)
class Near:
    """A sound near another one.

    Attributes:
        source: its number.
        distance: 0 for the same up to loudness, 1.41 for nothing in common; of the nearest quarter of windows.
        frame: where in it the nearest window lies.
    """

    source: int
    distance: float
    frame: int


def nearest(
    log_mels: Sequence[LogMel],
    known: Recorded,
    spectrogram: SpectrogramConfig,
    *,
    count: int = 1,
    step: Callable[[], None] = lambda: None,
) -> list[list[Near]]:
    """For each log mel `[n_mels, frames]` the known sounds that are nearest to it, the nearest first, at most `count`.

    `step` is called after each known sound; it may raise to end the search.
    """
    size = window_frames(spectrogram)
    search = Search(log_mels, [None] * len(log_mels), size, _PARTS * count)
    for index in range(len(known.files)):
        search.add_sound(known, index)
        step()
    return [_ranked(log_mel, search.found(index), known, size, count) for index, log_mel in enumerate(log_mels)]


def _ranked(log_mel: LogMel, parts: Sequence[Part], known: Recorded, size: int, count: int) -> list[Near]:
    windows, frames = active_windows(log_mel, size), log_mel.shape[1]
    best: dict[int, Near] = {}
    for part in parts if len(windows.frames) else ():
        begin = part.first - frames
        end = min(part.first + PART_FRAMES, known.frames[part.source]) + frames
        around = known.log_mel(part.source, begin, end)
        for place in places_beside(log_mel, around):
            beside = known.log_mel(part.source, begin + place.first, begin + place.first + frames)
            each = distances(windows, beside, size)
            frame = max(0, begin + place.first + int(windows.frames[int(np.argmin(each))]))
            near = Near(part.source, nearest_share(each), frame)
            if part.source not in best or near.distance < best[part.source].distance:
                best[part.source] = near
    return sorted(best.values(), key=lambda near: (near.distance, near.source))[:count]
