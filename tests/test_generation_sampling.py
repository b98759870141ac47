"""Drawing codes: what the settings mean, and that a sound depends on its seed alone."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import DistillError, UsageError
from distill.generation.sampling import SamplingConfig, choose, sample_codes
from distill.models.prior import CodePrior

SIZE, LEVELS, BANDS = 16, 3, 4
COLUMN = LEVELS * BANDS


def prior(*, end_bias: float = 0.0, **changes: Any) -> CodePrior:
    torch.manual_seed(0)
    values: dict[str, Any] = {"codebook_size": SIZE, "num_quantizers": LEVELS, "bands": BANDS, "context": 8 * COLUMN}
    model = CodePrior(32, 2, 4, 0.1, **{**values, **changes})
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
        model.head.bias[SIZE] += end_bias
    return model.eval()


def equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("natural", [False, True])
def test_a_sound_is_the_same_alone_and_among_others(natural: bool) -> None:
    model, seeds = prior(), list(range(40, 60))
    together = sample_codes(model, columns=12, seeds=seeds, natural=natural)
    alone = [sample_codes(model, columns=12, seeds=[seed], natural=natural)[0] for seed in seeds]
    backwards = sample_codes(model, columns=12, seeds=seeds[::-1], natural=natural)
    assert equal(together, alone)
    assert equal(together, backwards[::-1])
    assert len({grid.tobytes() for grid in together}) == len(seeds)


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 30])
def test_the_asked_length_is_kept_within_and_beyond_the_window(columns: int) -> None:
    (grid,) = sample_codes(prior(end_bias=50.0), columns=columns, seeds=[3])
    assert grid.shape == (columns, BANDS, LEVELS)
    assert grid.dtype == np.int64
    assert 0 <= grid.min() <= grid.max() < SIZE


def test_a_longer_sound_begins_like_the_shorter_one() -> None:
    model = prior()
    (short,), (long,) = (sample_codes(model, columns=columns, seeds=[5]) for columns in (11, 23))
    assert np.array_equal(short, long[:11])


def test_sampling_follows_the_whole_network_read_again_for_each_code() -> None:
    model, config = prior(), SamplingConfig(temperature=0.9, top_k=9, top_p=0.95)
    (grid,) = sample_codes(model, columns=11, seeds=[7], config=config)
    uniform, codes = np.random.Generator(np.random.Philox(7)), list[int]()
    for place in range(11 * COLUMN):
        # 8 columns fill the window; then the newest 4 of them stay.
        first = 0 if place < 8 * COLUMN else 4 * COLUMN
        window = torch.tensor([codes[first:]], dtype=torch.int64)
        logits = model(window, torch.tensor([first == 0]))[:, -1, :SIZE].detach().double().numpy()
        codes.append(int(choose(logits, np.array([uniform.random()]), config)[0]))
    assert grid.reshape(-1).tolist() == codes


def test_columns_that_training_never_reached_are_not_used() -> None:
    model = prior()
    model.trained_columns.fill_(4)
    grids = sample_codes(model, columns=12, seeds=[1, 2])
    with torch.no_grad():
        model.column.weight[4:] = torch.nan
    assert equal(grids, sample_codes(model, columns=12, seeds=[1, 2]))


def test_a_sound_ends_where_the_prior_ends_it_only_when_asked() -> None:
    model, seeds = prior(end_bias=2.0), list(range(12))
    natural = sample_codes(model, columns=30, seeds=seeds, natural=True)
    fixed = sample_codes(model, columns=30, seeds=seeds)
    lengths = {len(grid) for grid in natural}
    assert len(lengths) > 1
    assert min(lengths) >= 1
    assert all(len(grid) == 30 for grid in fixed)
    endless = sample_codes(prior(end_bias=-50.0), columns=12, seeds=seeds, natural=True)
    assert all(len(grid) == 12 for grid in endless)
    at_once = sample_codes(prior(end_bias=50.0), columns=12, seeds=seeds, natural=True)
    assert all(len(grid) == 1 for grid in at_once)


def test_greedy_choice_knows_no_seed() -> None:
    model = prior()
    first, second = sample_codes(model, columns=6, seeds=[1, 2], config=SamplingConfig(temperature=0))
    assert np.array_equal(first, second)
    top_1 = sample_codes(model, columns=6, seeds=[9], config=SamplingConfig(temperature=1.3, top_k=1))
    assert np.array_equal(first, top_1[0])
    tiny = sample_codes(model, columns=6, seeds=[9], config=SamplingConfig(top_p=1e-9))
    assert np.array_equal(first, tiny[0])


ROWS = st.lists(st.lists(st.floats(-20, 20, width=32), min_size=9, max_size=9), min_size=1, max_size=4).map(np.array)


@settings(deadline=None)
@given(logits=ROWS, u=st.floats(0, 1, exclude_max=True), temperature=st.floats(0.05, 5), k=st.integers(0, 12))
def test_choice_stays_within_top_k(logits: np.ndarray, u: float, temperature: float, k: int) -> None:
    chosen = choose(logits, np.full(len(logits), u), SamplingConfig(temperature=temperature, top_k=k))
    assert chosen.shape == (len(logits),)
    for row, code in zip(logits, chosen, strict=True):
        # Differences that the exponential rounds away do not count.
        assert np.sum(row > row[code] + 1e-9) < (k or 9)


@settings(deadline=None)
@given(logits=ROWS, u=st.floats(0, 1, exclude_max=True), share=st.floats(0.01, 0.99))
def test_choice_stays_within_top_p(logits: np.ndarray, u: float, share: float) -> None:
    chosen = choose(logits, np.full(len(logits), u), SamplingConfig(top_p=share))
    for row, code in zip(logits, chosen, strict=True):
        p = np.exp(row - row.max())
        p /= p.sum()
        # What is likelier than the chosen code does not reach the share by itself.
        assert p[p > p[code]].sum() < share + 1e-9


def test_choice_has_the_probabilities_and_never_what_cannot_come() -> None:
    logits = np.log(np.array([0.5, 0.2, 0.3]))
    logits = np.tile(np.append(np.append(-np.inf, logits), -np.inf), (20_000, 1))
    uniform = np.random.default_rng(0).random(20_000)
    uniform[:2] = 0.0, np.nextafter(1.0, 0.0)
    for config, wanted in (
        (SamplingConfig(), [0, 0.5, 0.2, 0.3, 0]),
        (SamplingConfig(temperature=0.5), [0, 25 / 38, 4 / 38, 9 / 38, 0]),
        (SamplingConfig(top_k=2), [0, 5 / 8, 0, 3 / 8, 0]),
        (SamplingConfig(top_k=999), [0, 0.5, 0.2, 0.3, 0]),
        (SamplingConfig(top_p=0.6), [0, 5 / 8, 0, 3 / 8, 0]),
    ):
        share = np.bincount(choose(logits, uniform, config), minlength=5) / len(logits)
        assert share == pytest.approx(np.array(wanted), abs=0.01)
        assert share[0] == share[4] == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temperature": -0.1}, "temperature must be 0 or more, not -0.1"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": -1}, "top-k"),
        ({"top_p": 0.0}, "top-p"),
        ({"top_p": 1.01}, "top-p must be above 0 and at most 1, not 1.01"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SamplingConfig(**values)


def test_bad_requests_are_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="seed"):
        sample_codes(prior(), columns=1, seeds=[-1])
    with pytest.raises(UsageError, match="column"):
        sample_codes(prior(), columns=0, seeds=[1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights_are_named(value: float) -> None:
    model = prior()
    with torch.no_grad():
        model.blocks[1].down.weight[0, 0] = value
    with pytest.raises(DistillError, match="not finite") as caught:
        sample_codes(model, columns=2, seeds=[1])
    assert "\n" not in str(caught.value)
