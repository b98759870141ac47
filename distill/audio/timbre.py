"""What a sound is like as a whole: its spectrum and its course, as numbers that kinds of sounds differ in."""

import numpy as np
import numpy.typing as npt

from distill.audio.knobs import power_of
from distill.configs import STRIDE, SpectrogramConfig

# What is softer than this below the whole sound, or its loudest frame, counts as silent, in dB.
FLOOR_DB = 60.0
# The course is looked at so long after the first loud frame, in s.
TIMES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
BEGUN_DB = 10.0

Timbre = npt.NDArray[np.float64]


def timbre_of(log_mel: npt.NDArray[np.float32], config: SpectrogramConfig) -> Timbre:
    """Levels of a log mel `[n_mels, frames]` in dB: groups of 8 bins against the whole, times against the peak."""
    power = power_of(log_mel, config)
    groups = power.sum(1).reshape(-1, STRIDE // 2).sum(1)
    frames = power.sum(0)
    begun = int(np.argmax(frames >= frames.max() * 10 ** (-BEGUN_DB / 10)))
    at = begun + np.round(np.array(TIMES) * config.sample_rate / config.hop_length).astype(int)
    course = np.append(frames, 0.0)[np.minimum(at, len(frames))]
    return np.concatenate([_levels(groups, groups.sum()), _levels(course, frames.max())])


def count_of(config: SpectrogramConfig) -> int:
    """How many numbers a timbre has."""
    return config.n_mels // (STRIDE // 2) + len(TIMES)


def _levels(power: npt.NDArray[np.float64], whole: float) -> Timbre:
    ratio = power / max(whole, 1e-12)
    levels: Timbre = 10.0 * np.log10(np.maximum(ratio, 10 ** (-FLOOR_DB / 10)))
    return levels
