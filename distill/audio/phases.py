"""Phases to begin with, where magnitudes alone are known."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# A Hann window spreads a sine over so many bins to each side of the nearest.
_LOBE_BINS = 2
# Random numbers that a step of the generator gives.
_DRAWN_AT_ONCE = 8
_TINY = 1e-12


def first_angles(magnitude: Tensor, hop: float, first: int = 0) -> Tensor:
    """Angles of sines that go on from frame to frame, where there are peaks, and of noise elsewhere.

    Sines are those of Beauregard, Harish and Wyse, "Single pass spectrogram inversion" (2015): each bin belongs to the
    nearest peak of its frame, and turns as a sine at the top of the parabola through the logarithms of the peak and its
    neighbours would. A frame without a peak belongs to its lowest bin. Only what the window spreads of a sine is in
    phase with it. All else is random: with the phases of the nearest sine the bins of a wide peak, as bands of a mel
    spectrogram leave in noise, would together be a pulse in the middle of each window, which buzzes at the hop rate.

    Args:
        magnitude: `[frames, bins]`.
        hop: from one frame to the next, as a share of the window.
        first: number of the first frame in its sound, from which what is random follows.

    Returns:
        `[frames, bins]`, in radians, for windows that are counted from their first sample.
    """
    frames, bins = magnitude.shape
    lower, middle, upper = magnitude[:, :-2], magnitude[:, 1:-1], magnitude[:, 2:]
    is_peak = functional.pad((middle >= lower) & (middle > upper), (1, 1))
    is_peak[:, 0] = ~is_peak.any(1)
    turned = _sines(magnitude, is_peak, hop)
    in_lobe = is_peak.clone()
    for away in range(1, _LOBE_BINS + 1):
        in_lobe[:, away:] |= is_peak[:, :-away]
        in_lobe[:, :-away] |= is_peak[:, away:]
    noise = torch.from_numpy(_random_turns(first, frames, bins)).to(magnitude.device)
    return torch.where(in_lobe, turned, noise).mul_(2 * torch.pi)


def _sines(magnitude: Tensor, is_peak: Tensor, hop: float) -> Tensor:
    """Turns `[frames, bins]` of the sines at the peaks of frames that have at least one each."""
    frames, bins = magnitude.shape
    peaks = is_peak.view(-1).nonzero()[:, 0]
    frame = peaks // bins
    flat = magnitude.reshape(-1)
    below, at, above = (flat[(peaks + step).clamp(0, len(flat) - 1)].clamp_min(_TINY).log() for step in (-1, 0, 1))
    beside = (0.5 * (below - above) / (below - 2 * at + above)).nan_to_num(0.0, 0.0, 0.0).clamp(-0.5, 0.5)
    turns = (peaks - frame * bins + beside) * hop
    # Halfway between two peaks of a frame the next begins, and where a frame begins its first.
    halfway = torch.where(frame[1:] == frame[:-1], (peaks[1:] + peaks[:-1]) // 2 + 1, frame[1:] * bins)
    edges = torch.cat((halfway.new_zeros(1), halfway, halfway.new_full((1,), frames * bins)))
    steps = torch.repeat_interleave(turns - turns.round(), edges.diff()).view(frames, bins)
    # What is in the middle of a window turns by half a circle from bin to bin.
    middle_of_window = 0.5 * torch.arange(bins, device=magnitude.device)
    return steps.cumsum_(0).add_(middle_of_window)


def _random_turns(first: int, frames: int, bins: int) -> np.ndarray:
    """Random numbers from 0 to 1, `[frames, bins]`, of frames from number `first` on: always the same for a frame."""
    steps = -(-bins // _DRAWN_AT_ONCE)
    generator = np.random.Generator(np.random.Philox(key=0).advance(first * steps))
    return generator.random((frames, steps * _DRAWN_AT_ONCE), dtype=np.float32)[:, :bins]
