"""How near a sound comes to one that lies beside it: distances between short windows of their spectrograms."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.audio.power import in_floors
from distill.configs import SpectrogramConfig
from distill.evenly import evenly

LogMel = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Frames = npt.NDArray[np.int64]

# Long enough to tell one stroke from another, short enough that each half of a spliced syllable holds several.
WINDOW_SECONDS = 0.085
# Quieter windows than this, below the loudest, are tails in which noise and silence look alike.
ACTIVE_DB = 20.0
# A sound is as near as the nearest quarter of its windows: a copied part gives a copy away.
NEAREST_SHARE = 0.25
# Windows of a sound that are looked up, evenly spread.
MOST_WINDOWS = 48
FARTHEST = 2.0**0.5
# Sounds lie beside each other to within so many frames.
REACH = 2

# Amplitudes are whole numbers, so that sums of products are exact and do not depend on the order of adding.
_STEPS = 4095


@dataclass(frozen=True)
class Nearness:
    """How near a sound comes to its nearest others.

    Attributes:
        distance: 0 for the same up to loudness, 1.41 for nothing in common; each window beside the nearest of any
            other sound.
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
class Windows:
    """Flattened windows `[n, size * bands]` of a sound, those half a frame later, and the frames where they begin."""

    exact: Floats
    between: Floats
    frames: Frames


def window_frames(config: SpectrogramConfig) -> int:
    """The length of a window."""
    return max(2, round(WINDOW_SECONDS * config.sample_rate / config.hop_length))


def active_windows(log_mel: LogMel, size: int) -> Windows:
    """The windows to look up of a log mel `[n_mels, frames]`: at most 20 dB below its loudest; none of silence.

    A window holds mel amplitudes, neighbouring mel bins joined, so that a small shift in pitch or phase matters less.
    """
    power = _power(log_mel)
    power = np.concatenate([power, np.zeros((max(0, size - len(power)) + 1, power.shape[1]))])
    energy = np.convolve(power.sum(1), np.ones(size), "valid")[:-1]
    if not energy.max() > 0.0:
        none = np.zeros((0, size * power.shape[1]))
        return Windows(none, none, np.zeros(0, np.int64))
    active = np.flatnonzero(energy >= energy.max() * 10.0 ** (-ACTIVE_DB / 10.0))
    active = active[evenly(len(active), MOST_WINDOWS)]
    top = power.max()
    between = _windows((power[1:] + power[:-1]) / 2.0, top, size)
    return Windows(_windows(power, top, size)[active], between[active], active)


def all_windows(log_mel: LogMel, size: int) -> Floats:
    """The windows at every frame of a log mel `[n_mels, frames]`, silence behind it: `[frames, size * bands]`."""
    power = np.pad(_power(log_mel), ((0, size - 1), (0, 0)))
    return _windows(power, power.max(), size)


def distances(windows: Windows, other: LogMel, size: int) -> Floats:
    """How far each window is from the nearest that begins at the same frame of another sound, or up to two beside it.

    The angle between windows leaves loudness out: the distance is that of vectors of length 1. Windows between two
    frames are tried as well, so that a shift in time costs a quarter of a frame at most.

    Args:
        windows: of a sound.
        other: log mel `[n_mels, frames]` of as many frames as the sound.
        size: frames of a window.
    """
    beside = all_windows(np.pad(other, ((0, 0), (REACH, REACH + 1))), size)
    lengths = np.square(beside).sum(1)
    cosine = np.zeros(len(windows.frames))
    for asked in (windows.exact, windows.between):
        own = np.square(asked).sum(1)
        for shift in range(2 * REACH + 1):
            places = windows.frames + shift
            product = np.einsum("ij,ij->i", asked, beside[places])
            cosine = np.maximum(cosine, product / np.sqrt(np.maximum(own * lengths[places], 1.0)))
    found: Floats = np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0))
    return found


def nearest_share(each: Floats) -> float:
    """The distance of a sound, from those of its windows: the lower quartile, or that of nothing in common."""
    return float(np.quantile(each, NEAREST_SHARE)) if len(each) else FARTHEST


def apart(log_mel: LogMel, other: LogMel, config: SpectrogramConfig) -> float:
    """How far a log mel `[n_mels, frames]` is from another that begins with it: the mean distance of its windows."""
    size = window_frames(config)
    windows = active_windows(log_mel, size)
    if not len(windows.frames):
        return FARTHEST
    frames = log_mel.shape[1]
    beside = np.pad(other[:, :frames], ((0, 0), (0, max(0, frames - other.shape[1]))))
    return float(distances(windows, beside, size).mean())


def _windows(power: Floats, top: float, size: int) -> Floats:
    """Windows of amplitudes `[n, size * bands]`, whole numbers stored as floats."""
    amplitude = np.rint(np.sqrt(power / max(top, 1e-30)) * _STEPS)
    view = np.lib.stride_tricks.sliding_window_view(amplitude, size, axis=0)
    return np.ascontiguousarray(view).reshape(len(view), -1)


def _power(log_mel: LogMel) -> Floats:
    """Power `[frames, n_mels / 2]` in units of the spectrogram's floor, two mel bins joined."""
    power = in_floors(np.asarray(log_mel, np.float64)).T
    return power.reshape(len(power), -1, 2).sum(axis=2)
