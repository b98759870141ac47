"""How loud a sound is where it is loudest: its peak, and as ears weigh it, ITU-R BS.1770-4."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

# A loudness is that of so many seconds, begun anew after each step.
BLOCK_SECONDS, STEPS = 0.4, 4
SILENCE_LUFS = -120.0
# From mean square to loudness, so that a full-scale sine of 1 kHz has -3 LUFS.
_OFFSET = -0.691
# The two filters that the recommendation weighs with, by their analog prototypes: a shelf for the head, a high pass.
_SHELF_HZ, _SHELF_DB = 1681.974450955533, 3.999843853973347
_SHELF_Q, _SHELF_BAND = 0.7071752369554196, 0.4996667741545416
_HIGH_PASS_HZ, _HIGH_PASS_Q = 38.13547087602444, 0.5003270373238773

Samples = npt.NDArray[np.float32]


def loudest_lufs(blocks: Iterable[Samples], sample_rate: int) -> float:
    """The highest loudness of 400 ms in a sound, in LUFS; a shorter sound has silence around it.

    Args:
        blocks: float32 `[n]` or `[n, channels]`, in turn; of a long sound only 400 ms are kept.
        sample_rate: in Hz.

    Returns:
        SILENCE_LUFS at least.
    """
    step = max(1, round(BLOCK_SECONDS * sample_rate / STEPS))
    powers = [0.0] * (STEPS - 1)
    loudest = 0.0
    for part in _steps(blocks, step):
        powers.append(_power(part, sample_rate))
        loudest = max(loudest, sum(powers[-STEPS:]) / (STEPS * step))
        del powers[: -STEPS + 1]
    return max(SILENCE_LUFS, _OFFSET + 10 * float(np.log10(loudest))) if loudest > 0 else SILENCE_LUFS


def peak_db(samples: Samples) -> float:
    """The highest absolute sample, any shape, in dB; -180 in silence."""
    return 20.0 * float(np.log10(max(float(np.max(np.abs(samples), initial=0.0)), 1e-9)))


def _steps(blocks: Iterable[Samples], step: int) -> Iterator[Samples]:
    """The same samples in stretches of `[step, channels]`, the last one perhaps shorter."""
    left: Samples | None = None
    for block in blocks:
        block = block.reshape(len(block), -1)
        left = block if left is None else np.concatenate([left, block])
        while len(left) >= step:
            yield left[:step]
            left = left[step:]
    if left is not None and len(left):
        yield left


def _power(part: Samples, sample_rate: int) -> float:
    """The sum of the weighted squares over all channels, by Parseval's theorem."""
    length = 2 * len(part)
    spectrum = np.fft.rfft(part.astype(np.float64), length, axis=0)
    weighted = np.abs(spectrum) ** 2 * _weights(length, sample_rate)[:, None]
    return float(2 * weighted.sum() - weighted[0].sum() - weighted[-1].sum()) / length


@lru_cache(maxsize=64)
def _weights(length: int, sample_rate: int) -> npt.NDArray[np.float64]:
    """The weight of the power of each frequency of a real spectrum of `length` samples."""
    s = 1j * np.fft.rfftfreq(length, 1 / sample_rate)
    high, low = s / _SHELF_HZ, s / _HIGH_PASS_HZ
    gain = 10 ** (_SHELF_DB / 20)
    shelf = (gain * high**2 + gain**_SHELF_BAND / _SHELF_Q * high + 1) / (high**2 + high / _SHELF_Q + 1)
    passed = low**2 / (low**2 + low / _HIGH_PASS_Q + 1)
    return np.asarray(np.abs(shelf * passed) ** 2, np.float64)
