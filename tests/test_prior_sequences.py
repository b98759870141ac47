"""Windows of code grids and the batches made from them."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.models.prior import IGNORED, CodePrior, negative_log_likelihood
from distill.models.sequences import (
    Grid,
    Window,
    collate,
    random_first,
    window_at,
    window_counts,
    windows,
)

SIZE, LEVELS, BANDS = 1000, 2, 3
COLUMN = LEVELS * BANDS


def grid(columns: int, seed: int = 0) -> Grid:
    return np.random.default_rng(seed).integers(0, SIZE, (columns, BANDS, LEVELS))


def random_window(whole: Grid, context: int, rng: np.random.Generator, crop: float = 0.2) -> Window:
    return window_at(whole, random_first(len(whole), context, rng, crop=crop), context)


@given(columns=st.integers(1, 60), context=st.integers(2, 12))
def test_windows_count_each_code_and_the_end_once_and_in_order(columns: int, context: int) -> None:
    whole = grid(columns)
    counted: list[int] = []
    for index, window in enumerate(windows(whole, context)):
        assert len(window.grid) <= context
        assert window.at_start == (index == 0)
        batch = collate([window], codebook_size=SIZE)
        counted += batch.targets[batch.targets != IGNORED].tolist()
        if index:
            assert window.scored_from == (context // 2) * COLUMN + 1
    assert counted == [*whole.reshape(-1).tolist(), SIZE]
    assert window_counts(np.array([columns]), context).tolist() == [index + 1]


@given(columns=st.integers(1, 40), context=st.integers(2, 12), seed=st.integers(0, 1000))
def test_random_windows_are_pieces_with_true_neighbours(columns: int, context: int, seed: int) -> None:
    whole = grid(columns)
    window = random_window(whole, context, np.random.default_rng(seed))
    again = random_window(whole, context, np.random.default_rng(seed))
    assert np.array_equal(window.grid, again.grid)
    flat, piece = whole.reshape(-1).tolist(), window.grid.reshape(-1).tolist()
    first = next(at for at in range(0, len(flat), COLUMN) if flat[at : at + len(piece)] == piece)
    last = first + len(piece)
    assert window.at_start == (first == 0)
    assert window.scored_from == (0 if first == 0 else 1)
    assert window.following == (flat[last] if last < len(flat) else None)
    assert len(window.grid) == min(context, columns) or (columns <= context and first > 0)


def test_every_part_of_a_long_sound_comes_often() -> None:
    rng, whole = np.random.default_rng(0), grid(40)
    chosen = [random_window(whole, 10, rng) for _ in range(2000)]
    assert 0.1 < np.mean([window.at_start for window in chosen]) < 0.2
    assert 0.1 < np.mean([window.following is None for window in chosen]) < 0.2
    short = [random_window(grid(6), 10, rng) for _ in range(2000)]
    assert 0.15 < np.mean([not window.at_start for window in short]) < 0.25
    assert all(random_window(grid(6), 10, rng, crop=0).at_start for _ in range(50))


def test_collate_pads_behind_and_marks_what_counts() -> None:
    long, short = windows(grid(5, 1), 8)[0], random_window(grid(30, 2), 3, np.random.default_rng(3))
    assert not short.at_start
    batch = collate([long, short], codebook_size=SIZE)
    assert batch.tokens.shape == (2, 5 * COLUMN)
    assert batch.starts.tolist() == [True, False]
    assert batch.tokens[1].tolist() == [*short.grid.reshape(-1).tolist(), *[0] * (2 * COLUMN)]
    assert batch.targets[0].tolist() == [*long.grid.reshape(-1).tolist(), SIZE]
    codes = short.grid.reshape(-1).tolist()
    assert batch.targets[1].tolist() == [IGNORED, *codes[1:], short.following, *[IGNORED] * (2 * COLUMN)]


@settings(deadline=None, max_examples=10)
@given(shorter=st.integers(1, 5), longer=st.integers(6, 8))
def test_padding_changes_nothing(shorter: int, longer: int) -> None:
    torch.manual_seed(0)
    prior = CodePrior(32, 2, 4, codebook_size=SIZE, num_quantizers=LEVELS, bands=BANDS, context=8 * COLUMN).eval()
    first, second = windows(grid(shorter, 1), 8)[0], windows(grid(longer, 2), 8)[0]
    alone, both = (collate(each, codebook_size=SIZE) for each in ([first], [first, second]))
    slots = alone.targets.shape[1]
    single, double = (
        negative_log_likelihood(prior(batch.tokens, batch.starts), batch.targets) for batch in (alone, both)
    )
    torch.testing.assert_close(single[0], double[0, :slots], atol=1e-5, rtol=1e-5)
    assert not double[0, slots:].any()
