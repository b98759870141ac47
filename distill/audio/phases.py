"""Phases to begin with, where magnitudes alone are known."""

import torch
from torch import Tensor
from torch.nn import functional

_TINY = 1e-12


def steady_angles(magnitude: Tensor, hop: float) -> Tensor:
    """Angles of sines that go on from frame to frame.

    After Beauregard, Harish and Wyse, "Single pass spectrogram inversion" (2015).
    Each bin belongs to the nearest peak of its frame, and turns as a sine at the top of the parabola through the
    logarithms of the peak and its neighbours would. A frame without a peak belongs to its lowest bin.

    Args:
        magnitude: `[frames, bins]`.
        hop: from one frame to the next, as a share of the window.

    Returns:
        `[frames, bins]`, in radians, for windows that are counted from their first sample.
    """
    frames, bins = magnitude.shape
    lower, middle, upper = magnitude[:, :-2], magnitude[:, 1:-1], magnitude[:, 2:]
    is_peak = functional.pad((middle >= lower) & (middle > upper), (1, 1))
    is_peak[:, 0] = ~is_peak.any(1)
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
    return steps.cumsum_(0).add_(middle_of_window).mul_(2 * torch.pi)
