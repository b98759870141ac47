"""Decoded sounds as models take them: one channel, or two that differ, at another sample rate."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from distill.audio.downmix import Downmix, mean_of, turned_over
from distill.audio.sound import BLOCK_FRAMES, Sound


def to_mono(sound: Sound, sample_rate: int) -> np.ndarray:
    """A mono mix (see `downmix`) at another sample rate (in Hz), float32 `[n]`."""
    return resample(downmix(sound.samples), sound.sample_rate, sample_rate)


def downmix(samples: np.ndarray) -> np.ndarray:
    """Mono float32 `[n]` of samples `[channels, n]`, a copy.

    The mean of the channels. Where two cancel each other the softer is turned over before; of more that do the loudest
    is taken.
    """
    mix, mono = mixed(samples)
    if mix.turned is not None:
        return mean_of(turned_over(samples.T, mix.turned))
    loudest = mix.loudest_of_cancelling
    return mono if loudest is None else samples[loudest].astype(np.float32)


def mixed(samples: np.ndarray) -> tuple[Downmix, np.ndarray]:
    """The mean of the channels of samples `[channels, n]`, float32 `[n]`, and what is known of it."""
    mix = Downmix(len(samples))
    mono = np.empty(samples.shape[1], np.float32)
    for start in range(0, samples.shape[1], BLOCK_FRAMES):
        mono[start : start + BLOCK_FRAMES] = mix.add(samples[:, start : start + BLOCK_FRAMES].T)
    return mix, mono


def two_channels(sound: Sound, sample_rate: int) -> np.ndarray | None:
    """The channels of a stereo sound at another sample rate, float32 `[2, n]`, whose mean is what `to_mono` gives.

    None where both are the same, or there are not two.
    """
    mix, _ = mixed(sound.samples)
    if mix.side_db is None:
        return None
    samples = turned_over(sound.samples.T, mix.turned).T
    return np.stack([resample(np.ascontiguousarray(each), sound.sample_rate, sample_rate) for each in samples])


def resample(samples: np.ndarray, source_rate: float, target_rate: float) -> np.ndarray:
    """Resample float32 `[n]`; rates in Hz, of which only the ratio counts and which need not be whole."""
    if source_rate == target_rate:
        return samples
    return soxr.resample(samples, source_rate, target_rate, quality="HQ")


def resampled_blocks(
    blocks: Iterable[np.ndarray], samples: int, source_rate: float, target_rate: float
) -> Iterator[np.ndarray]:
    """What `resample` gives of so many samples, which come and go in blocks float32 `[n]`."""
    if source_rate == target_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="HQ")
    left = samples
    for block in blocks:
        left -= len(block)
        yield stream.resample_chunk(block, last=not left)
