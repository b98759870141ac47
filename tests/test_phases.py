"""Phases to begin with: sines go on, noise is random, silence does no harm."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.audio.phases import first_angles

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
    angles = first_angles(magnitude_of(sine), HOP / N_FFT)
    turned = angles[1:, round(cycles)] - angles[:-1, round(cycles)]
    assert around_a_circle(turned - 2 * torch.pi * cycles * HOP / N_FFT).abs().max() < 0.15


def test_each_of_two_sines_has_the_bins_around_it() -> None:
    time = torch.arange(20 * HOP, dtype=torch.float64)
    both = sum(torch.sin(2 * torch.pi * cycles / N_FFT * time) for cycles in (60.3, 200.7))
    assert isinstance(both, torch.Tensor)
    steps = first_angles(magnitude_of(both.float()), HOP / N_FFT).diff(dim=0)
    for cycles, bins in ((60.3, slice(58, 63)), (200.7, slice(199, 204))):
        assert around_a_circle(steps[:, bins] - 2 * torch.pi * cycles * HOP / N_FFT).abs().max() < 0.15


def test_what_has_no_peak_is_spread_over_the_window() -> None:
    flat = torch.ones(16, N_FFT // 2 + 1)
    made = torch.fft.irfft(torch.polar(flat, first_angles(flat, HOP / N_FFT))).square()
    quarters = made.view(16, 4, -1).sum(2) / made.sum(1, keepdim=True)
    assert quarters.min() > 0.1


def test_a_wide_peak_sounds_only_as_far_as_the_window_spreads_a_sine() -> None:
    bins = torch.arange(N_FFT // 2 + 1)
    wide = 1 / (1 + ((bins - 250).abs() / 20)).expand(64, -1)
    turns = first_angles(wide, HOP / N_FFT).diff(dim=0) / (2 * torch.pi) - 250 * HOP / N_FFT
    together = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns).mean(0).abs()
    assert together[248:253].min() > 0.99
    assert torch.cat([together[230:248], together[253:270]]).max() < 0.5


def test_what_is_random_follows_from_the_number_of_a_frame_in_its_sound() -> None:
    flat = torch.ones(9, N_FFT // 2 + 1)
    whole, noise = first_angles(flat, HOP / N_FFT), slice(3, None)
    assert torch.equal(first_angles(flat[4:7], HOP / N_FFT, 4)[:, noise], whole[4:7, noise])
    assert (whole[1:, noise] != whole[:-1, noise]).any(1).all()


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_silent_and_flat_frames_have_finite_angles_and_change_no_others(frames: int) -> None:
    generator = torch.Generator().manual_seed(0)
    loud = torch.rand(frames, N_FFT // 2 + 1, generator=generator)
    silent = torch.zeros_like(loud)
    for quiet in (silent, silent + 1):
        assert torch.isfinite(first_angles(quiet, HOP / N_FFT)).all()
        together = first_angles(torch.cat([loud, quiet]), HOP / N_FFT)
        assert torch.isfinite(together).all()
        assert torch.equal(together[:frames], first_angles(loud, HOP / N_FFT))
