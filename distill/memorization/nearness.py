"""How near a sound comes to others: distances between short windows of their spectrograms, at any shift in time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from distill.configs import SpectrogramConfig

LogMel = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

# Long enough to tell one stroke from another, short enough that each half of a spliced syllable holds several.
WINDOW_SECONDS = 0.085
# Quieter windows than this, below the loudest, are tails in which noise and silence look alike.
ACTIVE_DB = 20.0
# A sound is as near as the nearest quarter of its windows: a copied part gives a copy away.
NEAREST_SHARE = 0.25
# Windows of a sound that are looked up, evenly spread; all places of the other sounds are searched.
MOST_WINDOWS = 48
FARTHEST = 2.0**0.5

_BATCH = 32
# Amplitudes are whole numbers, so that sums of products are exact and do not depend on the order of adding.
_STEPS = 4095


@dataclass(frozen=True)
class Nearness:
    """How near a sound comes to its nearest others.

    Attributes:
        distance: 0 for the same up to loudness, 1.41 for nothing in common; each window beside the nearest window of
            any other sound.
        source: index of the single nearest sound, None where there is none.
        source_distance: the same as `distance` with that sound alone.
        frame: where the nearest window begins in the sound.
        source_frame: where it begins in the nearest sound.
    """

    distance: float
    source: int | None
    source_distance: float
    frame: int
    source_frame: int


@dataclass(frozen=True)
class _Windows:
    """Flattened windows `[n, size]` and the frames where they begin."""

    values: Floats
    frames: npt.NDArray[np.int64]


def nearest(
    sounds: Sequence[LogMel],
    others: Sequence[LogMel],
    config: SpectrogramConfig,
    *,
    files: Sequence[int] | None = None,
    own_files: Sequence[int] | None = None,
) -> list[Nearness]:
    """The nearness of each sound to the others.

    Windows of mel amplitude (neighbouring mel bins joined, so that a small shift in pitch or phase matters less) are
    compared by the angle between them, which leaves loudness out: the distance is that of vectors of length 1. Windows
    between two frames are tried as well, so a shift in time costs a quarter of a frame at most. The distance of a
    sound is the lower quartile over its windows that are not much quieter than the loudest.

    Args:
        sounds: log mels `[n_mels, frames]`.
        others: log mels to search in, of any lengths.
        config: the spectrogram of all of them.
        files: the file of each of the others, by default each has its own.
        own_files: the file of each sound, whose parts and variants among the others are left out.
    """
    size = max(2, round(WINDOW_SECONDS * config.sample_rate / config.hop_length))
    owners = np.arange(len(others)) if files is None else np.asarray(files)
    found: list[Nearness] = []
    for first in range(0, len(sounds), _BATCH):
        batch = [_looked_up(log_mel, size) for log_mel in sounds[first : first + _BATCH]]
        similarity, places = _similarities(batch, others, size)
        row = 0
        for index, windows in enumerate(batch, start=first):
            rows = slice(row, row + len(windows.frames))
            row = rows.stop
            usable = owners >= 0 if own_files is None else owners != own_files[index]
            found.append(_nearness(similarity[rows], places[rows], windows.frames, usable))
    return found


def _nearness(
    similarity: Floats, places: npt.NDArray[np.int64], frames: npt.NDArray[np.int64], usable: npt.NDArray[np.bool_]
) -> Nearness:
    columns = np.flatnonzero(usable)
    if not len(frames) or not len(columns):
        return Nearness(FARTHEST, None, FARTHEST, 0, 0)
    distances = np.sqrt(np.maximum(2.0 - 2.0 * similarity[:, columns], 0.0))
    each = np.quantile(distances, NEAREST_SHARE, axis=0)
    column = int(each.argmin())
    window = int(distances[:, column].argmin())
    return Nearness(
        distance=float(np.quantile(distances.min(axis=1), NEAREST_SHARE)),
        source=int(columns[column]),
        source_distance=float(each[column]),
        frame=int(frames[window]),
        source_frame=int(places[window, columns[column]]),
    )


def _similarities(
    batch: Sequence[_Windows], others: Sequence[LogMel], size: int
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """For each window and each other sound the largest cosine and where it is; both `[windows, others]`."""
    exact = torch.from_numpy(np.concatenate([windows.values[0::2] for windows in batch]))
    between = torch.from_numpy(np.concatenate([windows.values[1::2] for windows in batch]))
    similarity = np.zeros((len(exact), len(others)))
    places = np.zeros((len(exact), len(others)), np.int64)
    for index, other in enumerate(others):
        searched = torch.from_numpy(_searched(other, size))
        length = searched.square().sum(1).sqrt().clamp_min(1.0)
        best = torch.zeros(len(exact), dtype=torch.float64)
        place = torch.zeros(len(exact), dtype=torch.int64)
        for asked in (exact, between):
            cosines = asked @ searched.T
            cosines /= asked.square().sum(1, keepdim=True).sqrt().clamp_min(1.0)
            cosines /= length
            highest, where = cosines.max(1)
            place = torch.where(highest > best, where, place)
            best = torch.maximum(best, highest)
        similarity[:, index] = best.numpy()
        # Half a window of silence stands in front.
        places[:, index] = np.maximum(place.numpy() - size // 2, 0)
    return similarity, places


def _looked_up(log_mel: LogMel, size: int) -> _Windows:
    """The windows of a sound to look up, each followed by the one half a frame later."""
    power = _power(log_mel)
    power = np.concatenate([power, np.zeros((max(0, size - len(power)) + 1, power.shape[1]))])
    energy = np.convolve(power.sum(1), np.ones(size), "valid")[:-1]
    if not energy.max() > 0.0:
        return _Windows(np.zeros((0, size * power.shape[1])), np.zeros(0, np.int64))
    active = np.flatnonzero(energy >= energy.max() * 10.0 ** (-ACTIVE_DB / 10.0))
    if len(active) > MOST_WINDOWS:
        active = active[np.linspace(0, len(active) - 1, MOST_WINDOWS).round().astype(np.int64)]
    top = power.max()
    exact, between = _windows(power, top, size), _windows((power[1:] + power[:-1]) / 2.0, top, size)
    values = np.stack([exact[active], between[active]], axis=1).reshape(2 * len(active), -1)
    return _Windows(values, active)


def _searched(log_mel: LogMel, size: int) -> Floats:
    """All windows of a sound, also those that hang over its ends by half."""
    power = np.pad(_power(log_mel), ((size // 2, size - size // 2), (0, 0)))
    return _windows(power, power.max(), size)


def _windows(power: Floats, top: float, size: int) -> Floats:
    """Windows of amplitudes `[n, size * bands]`, whole numbers stored as floats."""
    amplitude = np.rint(np.sqrt(power / max(top, 1e-30)) * _STEPS)
    view = np.lib.stride_tricks.sliding_window_view(amplitude, size, axis=0)
    return np.ascontiguousarray(view).reshape(len(view), -1)


def _power(log_mel: LogMel) -> Floats:
    """Power `[frames, n_mels / 2]` in units of the spectrogram's floor, two mel bins joined."""
    power = np.expm1(np.clip(np.asarray(log_mel, np.float64), 0.0, 40.0)).T
    return power.reshape(len(power), -1, 2).sum(axis=2)
