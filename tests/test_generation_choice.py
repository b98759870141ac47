"""Choosing codes and ends: what each setting lets through, and with which probability."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import UsageError
from distill.generation.sampler import END_SHARPNESS, HOTTEST, LevelSettings, SamplingConfig, choose, ends


@given(st.floats(-5, 5), st.floats(0.1, 2))
def test_odds_of_an_end_are_sharpened_and_follow_the_temperature(log_odds: float, temperature: float) -> None:
    codes = np.log(np.full(9, 1 / 9))
    logits = np.tile(np.append(codes, log_odds), (1000, 1))
    share = ends(logits, np.arange(1000) / 1000, LevelSettings(temperature)).mean()
    assert share == pytest.approx(1 / (1 + np.exp(-END_SHARPNESS * log_odds / temperature)), abs=2e-3)
    for greedy in (LevelSettings(0), LevelSettings(top_k=1)):
        assert ends(logits[:1], np.array([0.5]), greedy)[0] == (log_odds > 0) or abs(log_odds) < 1e-9


ROWS = st.lists(st.lists(st.floats(-20, 20, width=32), min_size=9, max_size=9), min_size=1, max_size=4).map(np.array)


@settings(deadline=None)
@given(logits=ROWS, u=st.floats(0, 1, exclude_max=True), temperature=st.floats(0.05, 5), k=st.integers(0, 12))
def test_choice_stays_within_top_k(logits: np.ndarray, u: float, temperature: float, k: int) -> None:
    chosen = choose(logits, np.full(len(logits), u), LevelSettings(temperature=temperature, top_k=k))
    assert chosen.shape == (len(logits),)
    for row, code in zip(logits, chosen, strict=True):
        # Differences that the exponential rounds away do not count.
        assert np.sum(row > row[code] + 1e-9) < (k or 9)


@settings(deadline=None)
@given(logits=ROWS, u=st.floats(0, 1, exclude_max=True), share=st.floats(0.01, 0.99))
def test_choice_stays_within_top_p(logits: np.ndarray, u: float, share: float) -> None:
    chosen = choose(logits, np.full(len(logits), u), LevelSettings(top_p=share))
    for row, code in zip(logits, chosen, strict=True):
        p = np.exp(row - row.max())
        p /= p.sum()
        # What is likelier than the chosen code does not reach the share by itself.
        assert p[p > p[code]].sum() < share + 1e-9


@settings(deadline=None)
@given(
    shares=st.lists(st.lists(st.integers(0, 4), min_size=9, max_size=9), min_size=1, max_size=4),
    u=st.floats(0, 1, exclude_max=True),
    k=st.integers(0, 12),
    share=st.sampled_from([0.3, 0.6, 0.9, 1.0]),
    least=st.sampled_from([0.0, 0.3, 0.6]),
)
def test_choice_is_that_of_a_plain_search_also_among_equal_codes(
    shares: list[list[int]], u: float, k: int, share: float, least: float
) -> None:
    weights = np.array(shares, dtype=np.float64)
    weights[:, 4] = 5
    with np.errstate(divide="ignore"):
        chosen = choose(np.log(weights), np.full(len(weights), u), LevelSettings(top_k=k, top_p=share, min_p=least))
    for row, code in zip(weights / 5, chosen, strict=True):
        ranked = sorted(row, reverse=True)[: k or 9]
        kept, before = [], 0.0
        for weight in ranked:
            if before < share * sum(ranked) + 1e-9 and weight >= least - 1e-9:
                kept.append(weight)
            before += weight
        # What is as likely as the last that is kept is kept as well.
        assert row[code] >= min(kept)
        assert row[code] > 0


def test_choice_has_the_probabilities_and_never_what_cannot_come() -> None:
    logits = np.log(np.array([0.5, 0.2, 0.3]))
    logits = np.tile(np.append(np.append(-np.inf, logits), -np.inf), (20_000, 1))
    uniform = np.random.default_rng(0).random(20_000)
    uniform[:2] = 0.0, np.nextafter(1.0, 0.0)
    for config, wanted in (
        (LevelSettings(), [0, 0.5, 0.2, 0.3, 0]),
        (LevelSettings(temperature=0.5), [0, 25 / 38, 4 / 38, 9 / 38, 0]),
        (LevelSettings(top_k=2), [0, 5 / 8, 0, 3 / 8, 0]),
        (LevelSettings(top_k=999), [0, 0.5, 0.2, 0.3, 0]),
        (LevelSettings(top_p=0.6), [0, 5 / 8, 0, 3 / 8, 0]),
        (LevelSettings(min_p=0.5), [0, 5 / 8, 0, 3 / 8, 0]),
        (LevelSettings(min_p=0.3), [0, 0.5, 0.2, 0.3, 0]),
        (LevelSettings(temperature=0.5, min_p=0.3), [0, 25 / 34, 0, 9 / 34, 0]),
        (LevelSettings(min_p=1), [0, 1, 0, 0, 0]),
    ):
        share = np.bincount(choose(logits, uniform, config), minlength=5) / len(logits)
        assert share == pytest.approx(np.array(wanted), abs=0.01)
        assert share[0] == share[4] == 0


@pytest.mark.parametrize("temperature", [1e-320, 1e-9, HOTTEST])
def test_extreme_temperatures_are_computed_without_a_warning(temperature: float) -> None:
    logits = np.array([[0.0, 3.0, -np.inf, 2.9]])
    chosen = choose(logits, np.array([0.5]), LevelSettings(temperature=temperature))
    assert chosen[0] in ({1} if temperature < 1 else {0, 1, 3})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temperature": -0.1}, "temperature must lie between 0 and 10, not -0.1"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": -1}, "top-k"),
        ({"top_p": 0.0}, "top-p"),
        ({"top_p": 1.01}, "top-p must be above 0 and at most 1, not 1.01"),
        ({"top_p": float("nan")}, "top-p"),
        ({"min_p": -0.01}, "min-p must lie between 0 .* and 1, not -0.01"),
        ({"min_p": 1.5}, "min-p"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, Any], words: str) -> None:
    ((name, value),) = values.items()
    for setting in (value, (value,), (SamplingConfig().of_levels(1)[0].__dict__[name], value), [value]):
        with pytest.raises(UsageError, match=words):
            SamplingConfig(**{name: setting})


def test_levels_have_the_settings_that_are_given_or_the_usual_ones() -> None:
    assert SamplingConfig().of_levels(2) == (LevelSettings(),) * 2
    assert SamplingConfig(1.5, (2, 3), 1, 1).of_levels(2) == (LevelSettings(1.5, 2, 1, 1), LevelSettings(1.5, 3, 1, 1))
    assert SamplingConfig(temperature=HOTTEST, min_p=0.0).greedy is False
    assert SamplingConfig(top_k=(1, 1)).greedy
    assert not SamplingConfig(top_k=(1, 2)).greedy
    with pytest.raises(UsageError, match=r"top-k has 2 values, and the model has 3 levels"):
        SamplingConfig(top_k=(1, 2)).of_levels(3)
    with pytest.raises(UsageError, match=r"the temperature has no value"):
        SamplingConfig(temperature=())
