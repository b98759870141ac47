"""Drawing codes: what the settings mean, and that a sound depends on its seed alone."""

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import model_example
from distill.errors import DistillError, UsageError
from distill.generation.autoregressive import FREE, draw
from distill.generation.sampler import SamplingConfig, choose
from distill.generation.sampling import draw_codes, sample_codes, sample_sequences
from distill.models.edges import LAST_COLUMNS, ColumnLevels, Course, Edges
from distill.models.incremental import ReadablePrior
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


def test_each_of_200_sounds_has_the_codes_of_the_one_made_alone() -> None:
    model, seeds = model_example.prior(), range(1000, 1200)
    config = SamplingConfig(temperature=(1.2, 0.9), top_p=0.98, min_p=0.01)
    together = sample_codes(model, columns=2, seeds=seeds, config=config)
    alone = [sample_codes(model, columns=2, seeds=[seed], config=config)[0] for seed in seeds]
    assert equal(together, alone)


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 30])
def test_the_asked_length_is_kept_within_and_beyond_the_window(columns: int) -> None:
    (grid,) = sample_codes(prior(end_bias=50.0), columns=columns, seeds=[3])
    assert grid.shape == (columns, BANDS, LEVELS)
    assert grid.dtype == np.int64
    assert 0 <= grid.min() <= grid.max() < SIZE


@pytest.mark.parametrize("end_bias", [0.0, 2.0, 4.0, 8.0])
def test_where_a_sound_ends_the_next_one_begins_as_if_drawn_one_after_the_other(end_bias: float) -> None:
    model = prior(end_bias=end_bias)
    sequences = sample_sequences(model, columns=40, seeds=range(12))
    for seed, sounds in enumerate(sequences):
        expected, left = list[np.ndarray](), 40
        while left:
            child = np.random.SeedSequence(seed, spawn_key=(len(expected),)).generate_state(1, np.uint64)
            own = int(child[0]) if expected else seed
            (drawn,) = draw(ReadablePrior(model), np.array([left]), np.array([left // 2]), [own], None)
            expected.append(drawn.grid)
            left -= len(drawn.grid)
        assert equal(sounds, expected)
        assert len({sound[0].tobytes() for sound in sounds}) == len(sounds)
        (alone,) = sample_codes(model, columns=40, seeds=[seed])
        assert np.array_equal(alone, np.concatenate(sounds))


def test_short_sounds_follow_each_other_while_there_is_room_for_another() -> None:
    model = prior(end_bias=50.0)
    model.shortest_columns.fill_(3)
    (sounds,) = sample_sequences(model, columns=14, seeds=[0])
    assert [len(sound) for sound in sounds] == [3, 3, 3, 5]
    given = np.zeros((4, BANDS, LEVELS), np.int64)
    (gone_on,) = sample_sequences(model, columns=14, seeds=[0], given=given)
    assert np.array_equal(gone_on[0][:4], given)
    assert [len(sound) for sound in gone_on] == [5, 3, 3, 3]


def test_short_sounds_that_follow_each_other_are_drawn_side_by_side() -> None:
    model = prior(end_bias=50.0)
    model.shortest_columns.fill_(2)
    columns = list[None]()
    (sounds,) = sample_sequences(model, columns=80, seeds=[0], step=lambda: columns.append(None))
    assert len(sounds) == 40
    # One after the other they would take more than their 80 columns.
    assert len(columns) < 40


def test_sounds_of_which_nothing_is_heard_are_passed_over() -> None:
    model, columns = prior(end_bias=50.0), 12
    (all_sounds,) = sample_sequences(model, columns=2 * columns, seeds=[4])
    unheard = {sound.tobytes() for sound in all_sounds[1:12:3]}
    assert len(unheard) == 4
    (sounds,) = sample_sequences(
        model, columns=columns, seeds=[4], is_audible=lambda grid: grid.tobytes() not in unheard
    )
    assert equal(sounds[:8], [sound for sound in all_sounds[:12] if sound.tobytes() not in unheard])
    assert sum(map(len, sounds)) == columns
    # What is given was heard already, and nothing but silence is no reason to go on forever.
    (silent,) = sample_codes(model, columns=columns, seeds=[4], given=all_sounds[1], is_audible=lambda grid: False)
    assert np.array_equal(silent[:1], all_sounds[1])
    assert len(silent) == columns


def test_of_nothing_but_silence_every_eighth_sound_is_taken() -> None:
    model = prior(end_bias=50.0)
    (all_sounds,) = sample_sequences(model, columns=64, seeds=[4])
    (sounds,) = sample_sequences(model, columns=4, seeds=[4], is_audible=lambda grid: False)
    assert equal(sounds, all_sounds[7:32:8])


def levels(grid: np.ndarray) -> ColumnLevels:
    """As if the first code of a column were its level, and the last one that of its end."""
    assert 1 <= len(grid) <= LAST_COLUMNS
    return ColumnLevels(np.repeat(grid[:, :1, 0], 4, axis=1).astype(float), grid[:, -1, -1].astype(float))


def limited(model: CodePrior, **edges: float) -> CodePrior:
    model.limits.copy_(torch.tensor(astuple(Edges(**edges))))
    return model


def test_sounds_begin_go_on_and_end_within_the_limits_that_the_prior_knows() -> None:
    seeds, natural = list(range(20)), {"columns": 14, "natural": True}
    model = prior(end_bias=2.0)
    before = sample_codes(model, seeds=seeds, **natural)
    after = sample_codes(
        limited(model, softest_start=6.0, greatest_rise=4.0, loudest_end=7.0), seeds=seeds, levels=levels, **natural
    )
    for grid in after:
        assert grid[0, 0, 0] >= 6
        assert Course().after(grid[:, 0, 0]).rise <= 4
        assert len(grid) == 14 or grid[-1, -1, -1] <= 7
    assert any(len(grid) < 14 for grid in after)
    assert not equal(before, after)
    # Each is the same alone.
    assert equal(after, [sample_codes(model, seeds=[seed], levels=levels, **natural)[0] for seed in seeds])


def test_who_keeps_the_limits_anyway_is_what_it_was() -> None:
    model, seeds = prior(), list(range(20))
    before = sample_codes(model, columns=9, seeds=seeds, natural=True)
    after = sample_codes(limited(model, softest_start=6.0), columns=9, seeds=seeds, levels=levels, natural=True)
    kept = [bool(grid[0, 0, 0] >= 6) for grid in before]
    assert 0 < sum(kept) < len(seeds)
    assert [np.array_equal(*each) for each in zip(before, after, strict=True)] == kept
    # So is whatever is not told its levels, and what is no single sound.
    assert equal(before, sample_codes(model, columns=9, seeds=seeds, natural=True))
    chains = (sample_codes(model, columns=9, seeds=seeds, levels=each) for each in (levels, None))
    assert equal(*chains)


def test_columns_keep_the_probabilities_that_they_have_among_those_that_fit() -> None:
    model, seeds = limited(prior(), softest_start=7.0), list(range(400))
    drawn = sample_codes(model, columns=1, seeds=seeds, config=SamplingConfig(top_p=1.0), levels=levels, natural=True)
    logits = model(torch.zeros(1, 0, dtype=torch.int64), torch.ones(1, dtype=torch.bool))[0, 0, :SIZE].detach()
    expected = logits.double()[7:].softmax(-1).numpy()
    counts = np.bincount([grid[0, 0, 0] - 7 for grid in drawn], minlength=len(expected))
    assert np.abs(counts / len(seeds) - expected).max() < 0.1


def test_a_prior_of_which_nothing_fits_is_not_asked_forever() -> None:
    model = limited(prior(), softest_start=99.0, greatest_rise=-1.0)
    (grid,) = sample_codes(model, columns=3, seeds=[1], levels=levels, natural=True)
    assert grid.shape[1:] == (BANDS, LEVELS)
    greedy = SamplingConfig(temperature=0.0)
    one = {"columns": 3, "seeds": [1], "natural": True}
    assert equal(*(sample_codes(model, config=greedy, levels=each, **one) for each in (levels, None)))
    # What is given has begun.
    given = np.zeros((1, BANDS, LEVELS), np.int64)
    assert equal(*(sample_codes(model, given=given, levels=each, **one) for each in (levels, None)))


def test_a_longer_sound_begins_like_the_shorter_one() -> None:
    model = prior()
    (short,), (long,) = (sample_codes(model, columns=columns, seeds=[5]) for columns in (11, 23))
    assert np.array_equal(short, long[:11])


@pytest.mark.parametrize(
    "config",
    [
        SamplingConfig(temperature=0.9, top_k=9, top_p=0.95, min_p=0.01),
        SamplingConfig(temperature=(0.5, 1.0, 0.0), top_k=(3, 0, 9), top_p=(1.0, 0.8, 0.95), min_p=(0.0, 0.1, 0.2)),
    ],
    ids=["one for all", "by level"],
)
def test_sampling_follows_the_whole_network_read_again_for_each_code(config: SamplingConfig) -> None:
    model = prior()
    (grid,) = sample_codes(model, columns=11, seeds=[7], config=config)
    uniform, codes = np.random.Generator(np.random.Philox(7)), list[int]()
    for place in range(11 * COLUMN):
        # 8 columns fill the window; then the newest 4 of them stay.
        first = 0 if place < 8 * COLUMN else 4 * COLUMN
        window = torch.tensor([codes[first:]], dtype=torch.int64)
        logits = model(window, torch.tensor([first == 0]))[:, -1, :SIZE].detach().double().numpy()
        level = place % LEVELS
        if place % COLUMN == 0:
            # The last number of a column is for its end.
            drawn = uniform.random(COLUMN + 1)
        number = drawn[place % COLUMN : place % COLUMN + 1]
        codes.append(int(choose(logits, number, config.of_levels(LEVELS)[level])[0]))
    assert grid.reshape(-1).tolist() == codes


def test_columns_that_training_never_reached_are_not_used() -> None:
    model = prior()
    model.trained_columns.fill_(4)
    grids = sample_codes(model, columns=12, seeds=[1, 2])
    with torch.no_grad():
        model.column.weight[4:] = torch.nan
    assert equal(grids, sample_codes(model, columns=12, seeds=[1, 2]))


def test_a_sound_ends_where_the_prior_ends_it_only_when_asked() -> None:
    model, seeds = prior(end_bias=3.0), list(range(12))
    natural = sample_codes(model, columns=30, seeds=seeds, natural=True)
    fixed = sample_codes(model, columns=30, seeds=seeds)
    lengths = {len(grid) for grid in natural}
    assert len(lengths) > 1
    assert min(lengths) >= 1
    assert all(len(grid) == 30 for grid in fixed)
    assert equal(natural, [grid[: len(end)] for grid, end in zip(fixed, natural, strict=True)])
    endless = sample_codes(prior(end_bias=-50.0), columns=12, seeds=seeds, natural=True)
    assert all(len(grid) == 12 for grid in endless)
    at_once = sample_codes(prior(end_bias=50.0), columns=12, seeds=seeds, natural=True)
    assert all(len(grid) == 1 for grid in at_once)


def test_no_sound_ends_before_the_shortest_of_the_training_unless_its_beginning_is_not_known() -> None:
    model = prior(end_bias=50.0)
    model.shortest_columns.fill_(7)
    (new,) = sample_codes(model, columns=12, seeds=[0], natural=True)
    assert len(new) == 7
    given = np.zeros((3, BANDS, LEVELS), np.int64)
    (gone_on,) = sample_codes(model, columns=12, seeds=[0], natural=True, given=given)
    assert len(gone_on) == 7
    (from_within,) = sample_codes(model, columns=12, seeds=[0], natural=True, given=given, from_start=False)
    assert len(from_within) == 4
    (cut,) = sample_codes(model, columns=5, seeds=[0], natural=True)
    assert len(cut) == 5


def test_a_sound_that_could_have_ended_goes_on_as_if_it_could_not() -> None:
    model = prior(end_bias=3.0)
    seeds, everything = list(range(200)), SamplingConfig(top_p=1.0)
    grids = sample_codes(model, columns=2, seeds=seeds, config=everything, natural=True)
    going_on = torch.from_numpy(np.stack([grid.reshape(-1) for grid in grids if len(grid) == 2]))
    assert 20 < len(going_on) < 180
    with torch.no_grad():
        logits = model(going_on[:, :COLUMN], torch.ones(len(going_on), dtype=torch.bool))[:, COLUMN, :SIZE]
    below = logits.double().softmax(-1).cumsum(-1).gather(1, going_on[:, COLUMN, None])
    # Where each code lies among the cumulated probabilities is uniform, and not only in the part that no end takes.
    assert 0.4 < float((below - 0.5 * logits.softmax(-1).gather(1, going_on[:, COLUMN, None])).mean()) < 0.6


def test_greedy_choice_knows_no_seed() -> None:
    model = prior()
    first, second = sample_codes(model, columns=6, seeds=[1, 2], config=SamplingConfig(temperature=0))
    assert np.array_equal(first, second)
    top_1 = sample_codes(model, columns=6, seeds=[9], config=SamplingConfig(temperature=1.3, top_k=1))
    assert np.array_equal(first, top_1[0])
    tiny = sample_codes(model, columns=6, seeds=[9], config=SamplingConfig(top_p=1e-9))
    assert np.array_equal(first, tiny[0])


def test_settings_are_for_the_levels_that_the_model_has() -> None:
    config = SamplingConfig(temperature=(0.5, 1.0, 2.0), top_k=4)
    assert [each.temperature for each in config.of_levels(3)] == [0.5, 1.0, 2.0]
    assert [each.top_k for each in config.of_levels(3)] == [4, 4, 4]
    words = "the temperature has 3 values, and the model has 2 levels: give one value for all of them, or 2"
    with pytest.raises(UsageError, match=words):
        config.of_levels(2)
    with pytest.raises(UsageError, match="top-p has 1 values"):
        sample_codes(prior(), columns=1, seeds=[0], config=SamplingConfig(top_p=(0.5,)))
    with pytest.raises(UsageError, match="min-p has no value"):
        SamplingConfig(min_p=())


def test_equal_settings_for_each_level_are_those_for_all() -> None:
    model, seeds = prior(), [3, 4]
    one = SamplingConfig(temperature=0.8, top_k=7, top_p=0.9, min_p=0.02)
    each = SamplingConfig((0.8,) * LEVELS, (7,) * LEVELS, (0.9,) * LEVELS, (0.02,) * LEVELS)
    assert equal(*(sample_codes(model, columns=9, seeds=seeds, config=config) for config in (one, each)))


def test_a_level_that_is_greedy_leaves_the_others_to_chance() -> None:
    model = prior()
    config = SamplingConfig(temperature=(0.0, 1.0, 1.0))
    grids = sample_codes(model, columns=1, seeds=list(range(8)), config=config)
    assert len({int(grid[0, 0, 0]) for grid in grids}) == 1
    assert len({int(grid[0, 0, 1]) for grid in grids}) > 1


def test_bad_requests_are_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="seed"):
        sample_codes(prior(), columns=1, seeds=[-1])
    with pytest.raises(UsageError, match="column"):
        sample_codes(prior(), columns=0, seeds=[1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights_are_named(value: float) -> None:
    model = prior()
    with torch.no_grad():
        model.blocks[1].feed.down.weight[0, 0] = value
    with pytest.raises(DistillError, match="not finite") as caught:
        sample_codes(model, columns=2, seeds=[1])
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), share=st.floats(0.0, 1.0))
def test_giving_codes_that_would_have_come_changes_nothing(seed: int, share: float) -> None:
    model = prior(end_bias=-50.0)
    (grid,) = sample_codes(model, columns=11, seeds=[seed])
    hidden = np.random.default_rng(seed).random(grid.shape) < share
    hidden[0, 0, 0] = True
    (again,) = sample_codes(model, columns=11, seeds=[seed], given=np.where(hidden, FREE, grid))
    assert np.array_equal(again, grid)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), columns=st.integers(1, 20), data=st.data())
def test_given_codes_stay_wherever_they_stand(seed: int, columns: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, columns))
    shape = (length, BANDS, LEVELS)
    numbers = np.random.default_rng(seed)
    wanted = np.where(numbers.random(shape) < 0.5, numbers.integers(0, SIZE, shape), FREE)
    for grid in sample_codes(prior(), columns=columns, seeds=[seed, seed + 1], given=wanted):
        assert grid.shape == (columns, BANDS, LEVELS)
        assert (grid >= 0).all()
        assert np.array_equal(grid[:length][wanted != FREE], wanted[wanted != FREE])


def test_a_natural_end_comes_only_after_what_is_given_and_something_new() -> None:
    wanted = np.zeros((5, BANDS, LEVELS), np.int64)
    (grid,) = sample_codes(prior(end_bias=50.0), columns=20, seeds=[3], given=wanted, natural=True)
    assert len(grid) == 6
    assert np.array_equal(grid[:5], wanted)


def test_the_probability_of_given_codes_is_the_one_the_network_sees_in_them() -> None:
    model = prior()
    numbers = np.random.default_rng(0)
    wanted = np.full((7, BANDS, LEVELS), FREE)
    wanted[:3] = numbers.integers(0, SIZE, (3, BANDS, LEVELS))
    wanted[4:, 1] = numbers.integers(0, SIZE, (3, LEVELS))
    (drawn,) = draw_codes(model, columns=7, seeds=[5], given=wanted)
    with torch.inference_mode():
        logits = model(torch.from_numpy(drawn.grid.reshape(1, -1)), torch.ones(1, dtype=torch.bool))[0, :-1, :SIZE]
    slots = np.flatnonzero(wanted.reshape(-1) != FREE)
    slots = slots[slots >= 3 * COLUMN]
    log_p = logits.log_softmax(-1)[slots, torch.from_numpy(drawn.grid.reshape(-1)[slots])]
    assert drawn.log_probability == pytest.approx(float(log_p.sum()), rel=1e-4)


@pytest.mark.parametrize("columns", [3, 20])
def test_a_grid_given_whole_comes_back(columns: int) -> None:
    wanted = np.random.default_rng(0).integers(0, SIZE, (columns, BANDS, LEVELS))
    (drawn,) = draw_codes(prior(), columns=columns, seeds=[5], given=wanted)
    assert np.array_equal(drawn.grid, wanted)
