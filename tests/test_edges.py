"""How sounds begin, go on and end: levels of columns, and limits that all but unusual sounds keep."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.audio.mel import MelTransform
from distill.configs import STRIDE, SpectrogramConfig
from distill.models.edges import BEYOND_DB, RISE_BEYOND_DB, UNUSUAL_SHARE, Course, Edges, column_levels, edges_of


def test_levels_are_the_greatest_power_of_a_column_and_of_its_end() -> None:
    transform = MelTransform(SpectrogramConfig())
    power = torch.full((128, 3 * STRIDE), 1e-9)
    power[5, 2], power[90, STRIDE + 14], power[0, STRIDE + 4] = 1000.0, 10.0, 100.0
    levels = column_levels(transform.from_power(power), transform)
    np.testing.assert_allclose(levels.parts[0, 0], 30.0, atol=1e-2)
    np.testing.assert_allclose(levels.parts[1, [1, 3]], [20.0, 10.0], atol=1e-2)
    np.testing.assert_allclose(levels.ends[1], 10.0, atol=1e-2)
    quiet = [*levels.parts[0, 1:], *levels.parts[1, [0, 2]], *levels.parts[2], levels.ends[0], levels.ends[2]]
    assert max(quiet) <= -20.0


@pytest.mark.parametrize(
    ("parts", "rise"),
    [
        ([10.0, 30.0, 40.0, 20.0, 5.0], 0.0),
        ([40.0, 12.0, 20.0, 25.0, 24.0], 13.0),
        ([40.0, 12.0, 50.0, 45.0], 28.0),
        ([40.0, -20.0, -5.0, -20.0], 0.0),
        ([40.0, -20.0, 6.0], 6.0),
    ],
    ids=["only once", "softer", "louder", "in silence", "from silence"],
)
def test_a_rise_is_what_a_sound_comes_back_by(parts: list[float], rise: float) -> None:
    assert Course().after(parts).rise == rise
    course = Course()
    for part in parts:
        course = course.after([part])
    assert course.rise == rise


def test_limits_let_most_sounds_be_what_they_are() -> None:
    falling = [np.array([[40.0, 30.0, 20.0, 10.0], [9.0, 8.0, 7.0, 0.0]]) + number for number in range(10)]
    strange = np.array([[-20.0, -20.0, -20.0, -20.0], [30.0, 10.0, 30.0, 0.0]])
    edges = edges_of([*falling, strange], [-18.0] * 10 + [40.0])
    assert edges.softest_start == pytest.approx(40.0 - BEYOND_DB)
    assert edges.greatest_rise == pytest.approx(RISE_BEYOND_DB)
    assert edges.loudest_end == pytest.approx(-18.0 + BEYOND_DB)
    assert edges_of([], []) == Edges()


@given(st.lists(st.lists(st.floats(-20, 60), min_size=4, max_size=4), min_size=1, max_size=30))
def test_a_tenth_of_the_sounds_at_most_keeps_not_each_limit(sounds: list[list[float]]) -> None:
    begun = [np.array([parts]) for parts in sounds]
    edges = edges_of(begun, [parts[-1] for parts in sounds])
    for kept in (
        [max(parts) >= edges.softest_start for parts in sounds],
        [Course().after(parts).rise <= edges.greatest_rise for parts in sounds],
        [parts[-1] <= edges.loudest_end for parts in sounds],
    ):
        assert len(kept) - sum(kept) <= np.ceil(UNUSUAL_SHARE * (len(kept) - 1))
