"""How sounds begin, go on and end: levels of columns, and limits that all but unusual sounds keep."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.audio.mel import MelTransform
from distill.configs import STRIDE, SpectrogramConfig
from distill.models.edges import BEYOND_DB, UNUSUAL_SHARE, Edges, column_levels, edges_of, rise


def test_levels_are_the_greatest_power_of_a_column_and_of_its_end() -> None:
    transform = MelTransform(SpectrogramConfig())
    power = torch.full((128, 3 * STRIDE), 1e-9)
    power[5, 2], power[90, STRIDE + 14], power[0, STRIDE + 3] = 1000.0, 10.0, 100.0
    levels = column_levels(transform.from_power(power), transform)
    np.testing.assert_allclose(levels.peaks[:2], [30.0, 20.0], atol=1e-2)
    np.testing.assert_allclose(levels.ends[1], 10.0, atol=1e-2)
    assert max(levels.peaks[2], levels.ends[0], levels.ends[2]) <= -20.0


def test_a_rise_is_above_the_softest_column_before() -> None:
    assert rise(np.array([30.0, 12.0, 20.0, 25.0])) == 13.0
    assert rise(np.array([30.0, 12.0, 10.0])) == -2.0
    assert rise(np.array([30.0])) < -100.0


def test_limits_let_most_sounds_be_what_they_are() -> None:
    falling = [np.array([40.0, 20.0, 0.0]) + number for number in range(10)]
    strange = np.array([-20.0, -20.0, 30.0])
    edges = edges_of([*falling, strange], [-18.0] * 10 + [40.0])
    assert edges.softest_start == pytest.approx(40.0 - BEYOND_DB)
    assert edges.greatest_rise == pytest.approx(BEYOND_DB)
    assert edges.loudest_end == pytest.approx(-18.0 + BEYOND_DB)
    assert edges_of([], []) == Edges()


@given(st.lists(st.lists(st.floats(-20, 60), min_size=1, max_size=6), min_size=1, max_size=30))
def test_a_tenth_of_the_sounds_at_most_keeps_not_each_limit(sounds: list[list[float]]) -> None:
    begun = [np.array(peaks) for peaks in sounds]
    edges = edges_of(begun, [peaks[-1] for peaks in sounds])
    rises = [max((rise(peaks[:last]) for last in range(2, len(peaks) + 1)), default=0.0) for peaks in begun]
    for kept in (
        [peaks[0] >= edges.softest_start for peaks in begun],
        [each <= edges.greatest_rise for each in rises],
        [peaks[-1] <= edges.loudest_end for peaks in begun],
    ):
        assert len(kept) - sum(kept) <= np.ceil(UNUSUAL_SHARE * (len(kept) - 1))
