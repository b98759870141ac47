"""Phases to begin with: sines go on, clicks stay in the middle, silence does no harm."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.audio.phases import steady_angles

N_FFT, HOP = 1024, 256


def magnitude_of(samples: torch.Tensor) -> torch.Tensor:
    windows = samples.unfold(0, N_FFT, HOP) * torch.hann_window(N_FFT)
    return torch.fft.rfft(windows).abs()


def around_a_circle(angles: torch.Tensor) -> torch.Tensor:
    return torch.remainder(angles + torch.pi, 2 * torch.pi) - torch.pi


@settings(deadline=None, max_examples=25)
@given(cycles=st.floats(20, 480))
def test_a_sine_turns_as_far_from_frame_to_frame_as_it_does(cycles: float) -> None:
    sine = torch.sin(2 * torch.pi * cycles / N_FFT * torch.arange(20 * HOP, dtype=torch.float64)).float()
    angles = steady_angles(magnitude_of(sine), HOP / N_FFT)
    turned = angles[1:, round(cycles)] - angles[:-1, round(cycles)]
    assert around_a_circle(turned - 2 * torch.pi * cycles * HOP / N_FFT).abs().max() < 0.15


def test_each_of_two_sines_has_the_bins_around_it() -> None:
    time = torch.arange(20 * HOP, dtype=torch.float64)
    both = sum(torch.sin(2 * torch.pi * cycles / N_FFT * time) for cycles in (60.3, 200.7))
    assert isinstance(both, torch.Tensor)
    steps = steady_angles(magnitude_of(both.float()), HOP / N_FFT).diff(dim=0)
    for cycles, bins in ((60.3, slice(58, 63)), (200.7, slice(199, 204))):
        assert around_a_circle(steps[:, bins] - 2 * torch.pi * cycles * HOP / N_FFT).abs().max() < 0.15


def test_angles_of_one_frame_put_what_sounds_into_the_middle_of_the_window() -> None:
    flat = torch.ones(1, N_FFT // 2 + 1)
    click = torch.fft.irfft(torch.polar(flat, steady_angles(flat, HOP / N_FFT)))
    assert int(click[0].abs().argmax()) == N_FFT // 2


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_silent_and_flat_frames_have_finite_angles_and_change_no_others(frames: int) -> None:
    generator = torch.Generator().manual_seed(0)
    loud = torch.rand(frames, N_FFT // 2 + 1, generator=generator)
    silent = torch.zeros_like(loud)
    for quiet in (silent, silent + 1):
        assert torch.isfinite(steady_angles(quiet, HOP / N_FFT)).all()
        together = steady_angles(torch.cat([loud, quiet]), HOP / N_FFT)
        assert torch.isfinite(together).all()
        assert torch.equal(together[:frames], steady_angles(loud, HOP / N_FFT))
