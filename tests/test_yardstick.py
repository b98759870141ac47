"""The measures of the benchmarks hear what they are for."""

import numpy as np
import pytest
from sound import mp3
from texture import column_excess, column_steps, partials_kept, regularity, texture_error
from waves import Samples, modulation

from distill.configs import SpectrogramConfig

RATE, HOP = 48_000, 512


def noise(seconds: float = 1.0, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32) * 0.1


def swelling(frequency: float, depth: float, seconds: float = 1.0) -> Samples:
    time = np.arange(round(seconds * RATE)) / RATE
    return (1 + depth * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def chord(*frequencies: float) -> Samples:
    time = np.arange(RATE) / RATE
    return (sum(np.sin(2 * np.pi * each * time) for each in frequencies) * np.exp(-3 * time)).astype(np.float32)


def test_noise_that_swells_at_the_hop_rate_buzzes_and_is_regular() -> None:
    plain, buzzing = noise(), noise() * swelling(RATE / HOP, 0.5)
    assert modulation(plain, RATE, RATE / HOP) < 0.1 < 0.6 < modulation(buzzing, RATE, RATE / HOP)
    assert regularity(buzzing, RATE) > regularity(plain, RATE) + 6


def test_other_noise_has_the_same_texture_and_swelling_noise_another() -> None:
    plain = noise()
    assert texture_error(plain, plain, RATE) == 0
    same = texture_error(noise(seed=1), plain, RATE)
    assert same < 1.5
    for frequency in (6.0, 24.0, 90.0):
        assert texture_error(plain * swelling(frequency, 0.9), plain, RATE) > same + 0.5


def test_a_texture_that_has_lost_its_highs_is_another() -> None:
    plain = noise()
    spectrum = np.fft.rfft(plain)
    spectrum[len(spectrum) // 3 :] = 0
    assert texture_error(np.fft.irfft(spectrum).astype(np.float32), plain, RATE) > 2


def test_partials_are_kept_where_they_are_and_not_a_quarter_tone_away() -> None:
    original = chord(220, 447, 1205, 3600)
    assert partials_kept(original, original, RATE) == (4, 4)
    assert partials_kept(chord(220, 447, 1205, 3600 * 2 ** (50 / 1200)), original, RATE) == (3, 4)
    kept, of = partials_kept(noise(), original, RATE)
    assert (kept, of) == (0, 4)


def test_what_changes_where_columns_meet_is_an_excess() -> None:
    columns = np.repeat(np.random.default_rng(0).uniform(0.3, 1, 24), 16 * HOP).astype(np.float32)
    sounds = [noise(24 * 16 * HOP / RATE, seed) for seed in range(3)]
    plain = column_excess([column_steps(each, RATE, HOP, 16) for each in sounds])
    stepped = column_excess([column_steps(each * columns, RATE, HOP, 16) for each in sounds])
    assert abs(plain) < 1 < plain + 2 < stepped
    assert np.isnan(column_excess([column_steps(noise(0.1), RATE, HOP, 16)]))


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_an_mp3_lies_where_the_sound_does(seconds: float) -> None:
    samples = np.pad(chord(440.0)[: round(seconds * RATE)], (2000, 0))
    made = mp3(SpectrogramConfig())(samples)
    assert made.shape == samples.shape
    assert np.corrcoef(made, samples)[0, 1] > 0.9
