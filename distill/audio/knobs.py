"""Six properties of a sound that people ask for, measured on its log mel.

They can be measured on a sound as it was recorded, on a copy that was changed to learn from, and on what codes decode
to before it has become a waveform. A frame is seen through a window of 2048 samples (43 ms at 48 kHz), so an attack
that is shorter counts as one of about that length; only the order of sounds follows from such figures.
"""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from distill.audio.power import in_floors
from distill.configs import SpectrogramConfig
from distill.mel_scale import hertz_to_mel, mel_to_hertz

# By name what each is measured in: length and attack in s; bright and pitch in Hz; noisy from 0, a tone, to 1, noise of
# equal density; low as the share of the power below 150 Hz, in dB.
UNITS = {"length": "s", "attack": "s", "bright": "Hz", "noisy": "", "low": "dB", "pitch": "Hz"}
KNOBS = tuple(UNITS)
# A sound is over where it stays so far below its loudest frame, in dB.
OVER_DB = 40.0
LOW_HZ, LOWEST_LOW_DB = 150.0, -60.0
# The pitch is that of the strongest partial below this, which stands out from its surroundings by so much.
HIGHEST_PITCH_HZ, PARTIAL_DB = 2000.0, 6.0

Values = npt.NDArray[np.float32]


def knobs_of(log_mel: npt.NDArray[np.float32], config: SpectrogramConfig) -> Values:
    """The properties of a log mel `[n_mels, frames]`, `[6]` in the order of KNOBS; NaN for one that it has not."""
    power = power_of(log_mel, config)
    frames, bands = power.sum(0), power.sum(1)
    if not frames.size or frames.max() <= 0.0:
        return np.full(len(KNOBS), np.nan, np.float32)
    seconds = config.hop_length / config.sample_rate
    found = {
        "length": seconds * (1 + int(np.flatnonzero(frames >= frames.max() * 10 ** (-OVER_DB / 10))[-1])),
        "attack": seconds * _attack(frames),
        "bright": _from_erb(float(bands @ _erb(_centres(config)) / bands.sum())),
        "noisy": _flatness(power, config),
        "low": max(LOWEST_LOW_DB, _decibels(bands[_centres(config) < LOW_HZ].sum() / bands.sum())),
        "pitch": _pitch(bands, config),
    }
    return np.array([found[name] for name in KNOBS], np.float32)


def power_of(log_mel: npt.NDArray[np.float32], config: SpectrogramConfig) -> npt.NDArray[np.float64]:
    """Mel power of a log mel, any shape, as `MelTransform.to_power`, in double precision."""
    return in_floors(log_mel.astype(np.float64)) * 10.0 ** (config.floor_db / 10.0)


def _attack(frames: npt.NDArray[np.float64]) -> float:
    """Frames in which the amplitude rises from 10 to 90 % of its peak; at least one."""
    amplitude = np.sqrt(frames / frames.max())
    last = int(np.argmax(amplitude >= 0.9))
    below = np.flatnonzero(amplitude[:last] < 0.1)
    first = int(below[-1]) if len(below) else 0
    return float(max(1, last - first))


def _flatness(power: npt.NDArray[np.float64], config: SpectrogramConfig) -> float:
    """Spectral flatness: geometric over arithmetic mean of the power density, mean over frames weighted by power.

    After Johnston, "Transform coding of audio signals using perceptual noise criteria", 1988.
    """
    density = power / _widths(config)[:, None] + 1e-12
    flatness = np.exp(np.log(density).mean(0)) / density.mean(0)
    weights = power.sum(0)
    return float(flatness @ weights / weights.sum())


def _pitch(bands: npt.NDArray[np.float64], config: SpectrogramConfig) -> float:
    """Frequency in Hz of the strongest partial; NaN where none stands out."""
    level = 10.0 * np.log10(bands / _widths(config) + 1e-12)
    centres = _centres(config)
    inside = int(np.searchsorted(centres, HIGHEST_PITCH_HZ))
    peak = int(np.argmax(level[:inside])) if inside else 0
    around = level[max(0, peak - 8) : peak + 9]
    if not 0 < peak < inside - 1 or level[peak] - float(np.median(around)) < PARTIAL_DB:
        return math.nan
    before, at, after = level[peak - 1 : peak + 2]
    shift = 0.5 * (before - after) / (before - 2 * at + after)
    return float(np.interp(peak + shift, np.arange(len(centres)), centres))


@lru_cache(maxsize=8)
def _widths(config: SpectrogramConfig) -> npt.NDArray[np.float64]:
    """The width of each band, in bins of the Fourier transform."""
    from distill.audio.mel import mel_filters

    return np.maximum(mel_filters(config).numpy().sum(0).astype(np.float64), 1e-9)


@lru_cache(maxsize=8)
def _centres(config: SpectrogramConfig) -> npt.NDArray[np.float64]:
    """The frequency of each band's centre, in Hz, on the HTK mel scale."""
    return mel_to_hertz(np.linspace(0.0, hertz_to_mel(config.sample_rate / 2), config.n_mels + 2)[1:-1])


def _erb(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Numbers of equivalent rectangular bandwidths below a frequency (Glasberg and Moore, 1990)."""
    return 21.4 * np.log10(1.0 + 0.00437 * hertz)


def _from_erb(number: float) -> float:
    return float((10.0 ** (number / 21.4) - 1.0) / 0.00437)


def _decibels(ratio: float) -> float:
    return 10.0 * math.log10(max(ratio, 1e-12))
