"""Magnitudes from mel power: how the power of each band is spread over its Fourier bins."""

from functools import lru_cache

import torch
from torch import Tensor

from distill.audio.mel import mel_filters
from distill.configs import SpectrogramConfig

_STEPS = 2
# A filter bank is multiplied in so many parts, each with the rows that it reaches.
_BANDED_PARTS = 4
_TINY = 1e-12


def linear_power(mel_power: Tensor, config: SpectrogramConfig) -> Tensor:
    """Power per Fourier bin `[frames, n_fft // 2 + 1]` whose mel power is near the given `[frames, n_mels]`.

    With mel power m, power p and the filter bank F `[bins, bands]` p F should be m, and p positive. From the positive
    part of m F⁺ a few multiplicative steps p ← p · (m Fᵀ) / (p F Fᵀ) lessen the squared error (Lee and Seung,
    "Algorithms for non-negative matrix factorization", 2001, with the filter bank fixed).
    """
    bank = _bank(config, mel_power.device)
    power = torch.maximum(mel_power @ bank.inverse, 0.05 * bank.spread(mel_power))
    target = bank.to_bins(mel_power)
    for _ in range(_STEPS):
        power *= target / bank.to_bins(bank.to_bands(power)).add_(_TINY)
    return power


def scale_to_mel(power: Tensor, mel_power: Tensor, config: SpectrogramConfig) -> Tensor:
    """Scale power `[frames, bins]`, in place, so that its mel power comes near `[frames, n_mels]`; the same tensor.

    A bin b is scaled by the mean over bands k of m_k / (p F)_k, weighted by its part F_bk in each.
    """
    bank = _bank(config, power.device)
    return power.mul_(bank.to_weighted(mel_power / bank.to_bands(power).add_(_TINY)))


class _Banded:
    """Multiplies `[frames, rows]` by a matrix `[rows, columns]` whose non-zero elements lie near its diagonal."""

    def __init__(self, matrix: Tensor) -> None:
        self.parts: list[tuple[slice, Tensor]] = []
        for part in matrix.tensor_split(_BANDED_PARTS, dim=1):
            rows = part.any(1).nonzero()[:, 0].tolist() or [0]
            reached = slice(rows[0], rows[-1] + 1)
            self.parts.append((reached, part[reached].contiguous()))

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, rows] @ part for rows, part in self.parts], dim=1)


class _Bank:
    """The mel filter bank, as it is needed to invert it."""

    def __init__(self, config: SpectrogramConfig, device: torch.device) -> None:
        filters = mel_filters(config).to(device)
        self.inverse = torch.linalg.pinv(filters)
        self.to_bands, self.to_bins = _Banded(filters), _Banded(filters.T)
        # Each band spread evenly over its bins, and the weight of each band in a bin.
        self.spread = _Banded((filters / filters.sum(0, keepdim=True).square().clamp_min(_TINY)).T)
        self.to_weighted = _Banded((filters / filters.sum(1, keepdim=True).clamp_min(_TINY)).T)


_bank = lru_cache(maxsize=8)(_Bank)
