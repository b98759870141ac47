"""Loudness as ears weigh it, against the reference values of ITU-R BS.1770."""

import numpy as np
import pytest

from distill.audio.loudness import SILENCE_LUFS, loudest_lufs


def sine(hertz: float, seconds: float = 1.0, rate: int = 48_000) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_a_full_scale_sine_of_1_khz_has_minus_3_lufs(rate: int) -> None:
    assert loudest_lufs([sine(997.0, rate=rate)], rate) == pytest.approx(-3.01, abs=0.1)


def test_lows_count_less_and_highs_more() -> None:
    low, middle, high = (loudest_lufs([sine(hertz)], 48_000) for hertz in (25.0, 997.0, 8000.0))
    assert low < middle - 6
    assert high == pytest.approx(middle + 3.3, abs=0.5)


def test_a_gain_moves_it_by_itself_and_blocks_do_not_matter() -> None:
    sound = sine(440.0) * np.linspace(0, 1, 48_000, dtype=np.float32)
    whole = loudest_lufs([sound], 48_000)
    assert loudest_lufs([sound / 2], 48_000) == pytest.approx(whole - 6.02, abs=0.01)
    assert loudest_lufs(np.array_split(sound[:, None], 17), 48_000) == pytest.approx(whole, abs=1e-6)


def test_silence_around_a_sound_changes_nothing_and_silence_alone_has_a_number() -> None:
    short = sine(997.0, 0.1)
    padded = np.concatenate([np.zeros(96_000, np.float32), short, np.zeros(96_000, np.float32)])
    assert loudest_lufs([padded], 48_000) == pytest.approx(loudest_lufs([short], 48_000), abs=0.1)
    assert loudest_lufs([np.zeros(1000, np.float32)], 48_000) == loudest_lufs([], 48_000) == SILENCE_LUFS
