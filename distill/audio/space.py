"""Where a sound lies between two channels: level difference and coherence by band, measured and made again.

A sound keeps one phase, that of its mono mix: the side signal is made of the mix and of a decorrelated copy of it, so
that the two channels always add up to twice the mix. After Breebaart, van de Par, Kohlrausch and Schuijers, "Parametric
coding of stereo audio", 2005, with mid and side in place of the downmix and its rotation.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from distill.audio.mel import MelTransform, mel_filters
from distill.audio.spool import Spool
from distill.configs import SpectrogramConfig

# Mel bins in a band.
BAND_MELS = 8
# What lies still farther to one side is hard left or right; what is still less coherent cancels in mono.
MOST_DB, LEAST_COHERENCE = 24.0, -0.8
# A band at a frame: the left channel's level above the right one's, in dB, and the channels' coherence.
MONO = (0.0, 1.0)
# Frames over which powers are added up: fewer say more of chance than of the sound.
_FRAMES = 5
# So many frames of a long sound at a time.
_BLOCK_FRAMES = 4096
# A long sound is placed in pieces of so many frames, each seen with what lies around it.
_PIECE_FRAMES = 512
# The decorrelated copy: noise of so many s, most of it at its beginning, and the time in which it sinks by 60 dB.
_COPY_SECONDS, _COPY_DECAY_SECONDS = 0.02, 0.03
# Impulses of the noise a second, and its seed.
_IMPULSES, _SEED = 2000, 1
# What the copy has at least, in power, that the mid has not.
_LEAST_FREE = 0.01
_TINY = 1e-12

Samples = npt.NDArray[np.float32]
Values = npt.NDArray[np.float32]


def bands_of(config: SpectrogramConfig) -> int:
    """Bands in which a sound's place is known."""
    return config.n_mels // BAND_MELS


def band_powers(mel_power: Tensor) -> Values:
    """Power of each band, float32 `[frames, bands]`, of mel power `[frames, n_mels]`."""
    found: Values = mel_power.unflatten(1, (-1, BAND_MELS)).sum(2).numpy()
    return found


def space_of(mid: Values, left: Values, right: Values, whole: Values, floor: float) -> Values:
    """Level differences in dB and coherences, float32 `[frames, bands, 2]`.

    Where next to nothing sounds, they are those of the whole sound in that band, and where that is silent, of all its
    bands.

    Args:
        mid: power of the mono mix, `[frames, bands]`.
        left: of the left channel.
        right: of the right one.
        whole: sums of the three over the whole sound, `[3, bands]`.
        floor: the spectrogram's floor for one mel bin, as a power.
    """
    least = BAND_MELS * floor
    overall = whole + whole.sum(1, keepdims=True) * (least / max(float(whole[1:].sum()), _TINY))
    overall = least * overall / np.maximum(overall[1:].sum(0), _TINY)
    mid, left, right = (
        _smoothed(each) + usual for each, usual in zip((mid, left, right), overall.astype(np.float32), strict=True)
    )
    total = left + right + np.float32(_TINY)
    # A channel in which nothing sounds has no coherence: what is heard is at one place.
    bound = 1e-3 * total
    coherence = (0.5 * (4.0 * mid - left - right) + bound) / (np.sqrt(left * right) + bound)
    level = 10.0 * np.log10((left + 1e-3 * bound) / (right + 1e-3 * bound))
    return np.stack(
        [np.clip(level, -MOST_DB, MOST_DB), np.clip(coherence, LEAST_COHERENCE, 1.0)], axis=2, dtype=np.float32
    )


def space_blocks(powers: Sequence[Spool], floor: float) -> Iterator[Values]:
    """The same of a whole sound whose powers of mid, left and right wait in spools: blocks `[frames, bands, 2]`."""
    whole = np.stack([sum(block.sum(0, dtype=np.float64) for block in spool.blocks()) for spool in powers])
    frames, around = len(powers[0]), _FRAMES // 2
    for first in range(0, frames, _BLOCK_FRAMES):
        last = min(first + _BLOCK_FRAMES, frames)
        begin, end = max(0, first - around), min(frames, last + around)
        mid, left, right = (np.concatenate(list(spool.blocks(begin, end))) for spool in powers)
        yield space_of(mid, left, right, whole, floor)[first - begin : last - begin]


def space_of_sound(channels: Samples, transform: MelTransform) -> Values:
    """The same of samples `[2, n]` at the transform's sample rate."""
    waves = torch.from_numpy(np.ascontiguousarray(channels))
    powers = [
        band_powers(transform.power_frames(each)).astype(np.float64) for each in (waves.mean(0), waves[0], waves[1])
    ]
    mid, left, right = (each.astype(np.float32) for each in powers)
    return space_of(mid, left, right, np.stack([each.sum(0) for each in powers]), transform.floor)


def side_blocks(mids: Iterable[Samples], space: Values, config: SpectrogramConfig) -> Iterator[tuple[Samples, Samples]]:
    """A mono sound, and the side signal that gives it its place, in blocks `[n]` each: the channels are mid +- side.

    Args:
        mids: blocks `[n]` at the spectrogram's sample rate.
        space: level differences and coherences, `[frames, bands, 2]`; the last ones go on.
        config: the spectrogram whose frames these are.
    """
    hop = config.hop_length
    # Windows, the copy, and the frames that powers are added up over.
    around = -(-(config.n_fft // 2 + round(_COPY_SECONDS * config.sample_rate)) // hop) + _FRAMES
    piece, margin = _PIECE_FRAMES * hop, around * hop
    waiting, lead, at = np.zeros(0, np.float32), 0, 0

    def placed(samples: Samples, length: int) -> tuple[Samples, Samples]:
        first = min((at - lead) // hop, len(space) - 1)
        side = _side_of(samples, space[first : first + len(samples) // hop + 2], config)
        return samples[lead : lead + length], side[lead : lead + length]

    for block in mids:
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= lead + piece + margin:
            yield placed(waiting[: lead + piece + margin], piece)
            waiting, lead, at = waiting[lead + piece - margin :], margin, at + piece
    if len(waiting) > lead:
        yield placed(waiting, len(waiting) - lead)


def side_of(mid: Samples, space: Values, config: SpectrogramConfig) -> Samples:
    """The side signal `[n]` of a mono sound `[n]`; see `side_blocks`."""
    return np.concatenate([np.zeros(0, np.float32), *(side for _, side in side_blocks([mid], space, config))])


def in_two(mid: Samples, side: Samples) -> Samples:
    """The channels `[2, n]` of mid and side `[n]`, left first."""
    return np.stack([mid + side, mid - side])


def channel_factors(space: Values) -> Values:
    """The power of the left and the right channel over that of the mix, `[2, frames, bands]`."""
    left, right, both = _powers(space)
    return (np.stack([left, right]) / (0.25 * (1.0 + 2.0 * both))).astype(np.float32)


def _side_of(mid: Samples, space: Values, config: SpectrogramConfig) -> Samples:
    """The side of a stretch of a sound.

    In each band it is the share of the mid that the level difference takes, and as much of the copy, without what that
    has to do with the mid and as loud as it, as is missing to the coherence.
    """
    straight, scattered = _shares(space)
    if not straight.any() and not scattered.any():
        return np.zeros_like(mid)
    hop, window = config.hop_length, torch.hann_window(config.n_fft)
    wave = torch.from_numpy(np.ascontiguousarray(mid))[None]
    # Whole frames, and more than half a window behind the last.
    both = functional.pad(torch.cat([wave, _copy(wave, config.sample_rate)]), (0, -len(mid) % hop + config.n_fft))
    first, second = torch.stft(both, config.n_fft, hop, window=window, pad_mode="constant", return_complex=True)
    bands = _to_bands(config)

    def shared(one: Tensor, other: Tensor) -> Tensor:
        product = bands @ (one * other.conj()).real
        return functional.avg_pool1d(product[None], _FRAMES, 1, _FRAMES // 2)[0]

    of_mid, of_copy, of_both = shared(first, first), shared(second, second), shared(first, second)
    common = of_both / (of_mid + _TINY)
    free = (of_copy - of_both * common).clamp(min=0.0)
    wanted, missing = (_as_long(each, first.shape[1]) for each in (straight, scattered))
    missing = missing * (of_mid / (free + _LEAST_FREE * of_mid + _TINY)).sqrt()
    to_bins = _to_bins(config)
    spectrum = first * (to_bins @ (wanted - missing * common)) + second * (to_bins @ missing)
    side: Samples = torch.istft(spectrum, config.n_fft, hop, window=window, length=both.shape[1])[: len(mid)].numpy()
    return side


def _as_long(shares: Values, frames: int) -> Tensor:
    """Shares `[n, bands]` as `[bands, frames]`; the last ones go on."""
    found = torch.from_numpy(shares).T[None]
    return functional.pad(found, (0, max(0, frames - len(shares))), mode="replicate")[0, :, :frames]


def _shares(space: Values) -> tuple[Values, Values]:
    """How much of the mid and of its decorrelated copy the side holds, `[frames, bands]` each."""
    left, right, both = _powers(space)
    mid, side, cross = (1.0 + 2.0 * both) / 4.0, (1.0 - 2.0 * both) / 4.0, (left - right) / 4.0
    straight = cross / mid
    scattered = np.sqrt(np.maximum(side / mid - straight**2, 0.0))
    return straight.astype(np.float32), scattered.astype(np.float32)


def _powers(space: Values) -> tuple[Values, Values, Values]:
    """Powers of the channels, which add up to 1, and what both have in common, `[frames, bands]` each."""
    ratio = 10.0 ** (space[..., 0] / np.float32(10.0))
    left: Values = ratio / (np.float32(1.0) + ratio)
    both: Values = space[..., 1] * np.sqrt(left * (1.0 - left))
    return left, 1.0 - left, both


def _smoothed(power: Values) -> Values:
    padded = np.pad(power, ((_FRAMES // 2, _FRAMES // 2), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, _FRAMES, axis=0).mean(2, dtype=np.float32)


def _copy(wave: Tensor, sample_rate: int) -> Tensor:
    """A copy `[1, n]` that has next to nothing to do with a sound `[1, n]`, but for its spectrum."""
    noise = _velvet(sample_rate)
    size = wave.shape[1] + len(noise) - 1
    spectrum = torch.fft.rfft(wave, size) * torch.fft.rfft(noise, size)
    return torch.fft.irfft(spectrum, size)[:, : wave.shape[1]]


@lru_cache(maxsize=8)
def _velvet(sample_rate: int) -> Tensor:
    """Velvet noise that dies away, of unit energy.

    After Alary, Politis and Välimäki, "Velvet-noise decorrelator", 2017.
    """
    generator = np.random.default_rng(_SEED)
    length, step = round(_COPY_SECONDS * sample_rate), sample_rate / _IMPULSES
    noise = np.zeros(length)
    for number in range(round(_COPY_SECONDS * _IMPULSES)):
        at = min(length - 1, int(number * step + generator.random() * (step - 1)))
        noise[at] = generator.choice([-1.0, 1.0]) * 10.0 ** (-3.0 * at / (sample_rate * _COPY_DECAY_SECONDS))
    return torch.from_numpy((noise / np.sqrt(np.sum(noise**2))).astype(np.float32))


@lru_cache(maxsize=8)
def _to_bands(config: SpectrogramConfig) -> Tensor:
    """What adds the bins of a spectrum up to bands, `[bands, bins]`."""
    return mel_filters(config).T.unflatten(0, (-1, BAND_MELS)).sum(1)


@lru_cache(maxsize=8)
def _to_bins(config: SpectrogramConfig) -> Tensor:
    """What gives each bin of a spectrum its share of the two nearest bands, `[bins, bands]`."""
    filters = _to_bands(config)
    bins = torch.arange(filters.shape[1], dtype=torch.float32)
    centres = (filters * bins).sum(1) / filters.sum(1)
    shares = [np.interp(bins, centres, each).astype(np.float32) for each in np.eye(len(centres))]
    return torch.from_numpy(np.stack(shares, axis=1))
