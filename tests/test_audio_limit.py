"""Peaks are held, and the rest of a sound stays what it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.audio.limit import limited

RATE, LIMIT = 48_000, 0.9


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 4.0), st.integers(1, 3000))
def test_nothing_is_beyond_the_limit_nor_louder_than_it_was(seed: int, level: float, count: int) -> None:
    samples = np.random.default_rng(seed).normal(0, level, count).astype(np.float32)
    held = limited(samples, LIMIT, RATE)
    assert held.dtype == np.float32
    assert held.shape == samples.shape
    assert np.abs(held).max() <= np.float32(LIMIT)
    assert (np.abs(held) <= np.abs(samples) + 1e-6).all()


def test_what_lies_apart_from_peaks_stays() -> None:
    samples = np.sin(np.arange(RATE // 10) / 7, dtype=np.float32) * np.float32(0.8)
    assert limited(samples, LIMIT, RATE) is samples
    peak = len(samples) // 2
    samples[peak] = 1.4
    held = limited(samples, LIMIT, RATE)
    apart = np.abs(np.arange(len(samples)) - peak) > 0.0016 * RATE
    assert np.array_equal(held[apart], samples[apart])
    assert held[peak] == pytest.approx(LIMIT, rel=1e-3)
    # The gain has no steps: it goes down and up within a millisecond and a half.
    gain = held / np.where(np.abs(samples) > 0.01, samples, np.inf)
    gain = gain[gain > 0]
    assert np.abs(np.diff(gain)).max() < 0.03
    assert np.square(held).sum() / np.square(samples).sum() > 0.97


def test_edges_and_silence_are_no_exceptions() -> None:
    assert len(limited(np.zeros(0, np.float32), LIMIT, RATE)) == 0
    assert not limited(np.zeros(9, np.float32), LIMIT, RATE).any()
    for samples in ([2.0], [2.0, 0.1, 0.1], [0.1] * 500 + [-3.0]):
        assert np.abs(limited(np.array(samples, np.float32), LIMIT, RATE)).max() == pytest.approx(LIMIT, rel=1e-5)
