"""Going on from sounds and renewing parts of them: what is given stays, what is new joins it."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sounds_util
from distill.audio.sound import Sound
from distill.errors import DataError, UsageError
from distill.generation.autoregressive import heard_columns
from distill.generation.continuation import _join, continue_sound, fill_sound
from distill.generation.generator import Generator
from distill.generation.inpainting import Region, inpaint
from distill.generation.sampling import sample_codes
from model_example import BANDS, LEVELS, SIZE, codec, prior

RATES = [48_000, 44_100, 96_000]


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator(codec(), prior())


def as_sound(samples: np.ndarray, rate: int = 48_000) -> Sound:
    return Sound(samples.astype(np.float32), rate, "FLOAT", "WAV")


def sound(seconds: float = 0.9, rate: int = 48_000, channels: int = 1, level: float = 0.5) -> Sound:
    parts = [sounds_util.tone(seconds, 200.0 * (each + 1), rate, level) for each in range(channels)]
    return as_sound(np.stack(parts), rate)


def grid(columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, SIZE, (columns, BANDS, LEVELS))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_continued_sound_begins_with_the_given_one_untouched(generator: Generator, rate: int, channels: int) -> None:
    given_sound = sound(rate=rate, channels=channels)
    out = continue_sound(generator, given_sound, seconds=0.4, seed=3)
    length = given_sound.samples.shape[1]
    assert out.sample_rate == rate
    assert np.array_equal(out.samples[:, :length], given_sound.samples)
    assert len(out.samples) == channels
    assert out.samples.shape[1] - length == pytest.approx(0.4 * rate, abs=2)
    assert np.isfinite(out.samples).all()
    assert np.abs(out.samples).max() <= 1


def test_what_leads_from_the_given_sound_to_the_new_one_does_not_clip() -> None:
    given_sound, new = sound(0.9, level=0.5), np.full((1, 2000), 0.9, np.float32)
    # Where a new sound begins far below its neighbour, all that follows is lifted for a moment.
    new[:, 0] = -0.9
    joined = _join(new, given_sound, np.array([0.5], np.float32))
    assert joined[0, 0] == 0.5
    assert np.abs(joined).max() <= 1
    assert np.array_equal(joined[:, 1900:].round(6), new[:, 1900:].round(6))


def test_what_is_new_begins_where_the_given_sound_ends(generator: Generator) -> None:
    given_sound = sound(channels=2)
    out = continue_sound(generator, given_sound, seconds=0.4, seed=3).samples
    last = given_sound.samples.shape[1]
    step = np.abs(out[:, last] - out[:, last - 1]).max()
    assert step <= np.abs(np.diff(out, axis=1)).max(initial=0.0, where=np.arange(out.shape[1] - 1) != last - 1)


def test_a_continuation_follows_from_the_seed_and_from_what_was_heard(generator: Generator) -> None:
    first, again, other = (continue_sound(generator, sound(), seconds=0.4, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)
    low = as_sound(sounds_util.tone(0.9, 90.0, 48_000, 0.5)[None])
    assert not np.array_equal(first.grid[-2:], continue_sound(generator, low, seconds=0.4, seed=3).grid[-2:])


def test_a_continuation_hears_all_that_the_window_holds(generator: Generator) -> None:
    heard = heard_columns(generator.prior)
    before = grid(heard + 2)

    def goes_on(column: int) -> bool:
        """Whether sounds go on as before, where the codes of a column are others."""
        changed = before.copy()
        changed[column] = (changed[column] + 1) % SIZE
        new = (
            [
                each[len(before)]
                for each in sample_codes(generator.prior, columns=len(before) + 1, seeds=range(8), given=codes)
            ]
            for codes in (before, changed)
        )
        return np.array_equal(*new)

    assert [goes_on(column) for column in (0, 1, 2)] == [True, True, False]
    long = sound(seconds=(heard + 2.5) * generator.codec.column_samples / 48_000)
    assert len(continue_sound(generator, long, seconds=0.1, seed=1).grid) == heard + 1


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_the_shortest_continuation_has_a_sample(generator: Generator, rate: int) -> None:
    given_sound = sound(rate=rate)
    out = continue_sound(generator, given_sound, seconds=2e-5, seed=1)
    assert 0 < out.samples.shape[1] - given_sound.samples.shape[1] <= 2


def ending(generator: Generator, bias: float) -> Generator:
    """One whose prior ends sounds more often."""
    prior = deepcopy(generator.prior)
    with torch.no_grad():
        prior.head.bias[prior.end] += bias
    return replace(generator, prior=prior)


def test_a_natural_continuation_ends_by_itself_at_most_after_the_asked_time(generator: Generator) -> None:
    lengths = {
        continue_sound(ending(generator, 3.0), sound(), seconds=2.0, seed=seed, natural=True).samples.shape[1]
        for seed in range(8)
    }
    assert len(lengths) > 1
    assert max(lengths) <= round(2.9 * 48_000)


def test_a_sound_that_the_prior_would_end_at_once_goes_on_for_a_column(generator: Generator) -> None:
    out = continue_sound(ending(generator, 50.0), sound(), seconds=2.0, seed=1, natural=True)
    assert out.samples.shape[1] == sound().samples.shape[1] + generator.codec.column_samples


@settings(deadline=None, max_examples=15)
@given(
    first=st.integers(0, 8),
    length=st.integers(1, 9),
    seed=st.integers(0, 99),
    levels=st.sampled_from([None, (0,), (1,)]),
)
def test_inpainting_changes_nothing_outside_its_region(
    first: int, length: int, seed: int, levels: tuple[int, ...] | None
) -> None:
    before = grid(9)
    region = Region(first, min(9, first + length), levels)
    after = inpaint(prior(), before, region, seed=seed, candidates=4)
    outside = ~region.mask(before)
    assert np.array_equal(after[outside], before[outside])
    assert after.min() >= 0
    assert after.max() < SIZE
    assert np.array_equal(after, inpaint(prior(), before, region, seed=seed, candidates=4))


def test_more_candidates_go_better_with_what_follows() -> None:
    model, region = prior(), Region(2, 4)

    def surprise(candidates: int) -> float:
        """Mean negative logarithm of the probability of what stands after the region."""
        found = []
        for seed in range(8):
            (before,) = sample_codes(model, columns=8, seeds=[seed])
            tokens = torch.from_numpy(inpaint(model, before, region, seed=seed, candidates=candidates)).reshape(1, -1)
            with torch.inference_mode():
                logits = model(tokens, torch.ones(1, dtype=torch.bool))[0, :-1, :SIZE]
            log_p = logits.log_softmax(-1).gather(1, tokens[0, :, None])
            found.append(-float(log_p[region.last * BANDS * LEVELS :].sum()))
        return float(np.mean(found))

    assert surprise(16) < surprise(1)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("start", "end"), [(0.3, 0.5), (0.0, 0.2), (0.6, 0.9), (0.0, 0.9)])
def test_a_filled_sound_differs_only_in_the_columns_of_its_part(
    generator: Generator, rate: int, start: float, end: float
) -> None:
    given_sound = sound(rate=rate, channels=2)
    out = fill_sound(generator, given_sound, start=start, end=end, seed=1)
    assert out.samples.shape == given_sound.samples.shape
    changed = np.flatnonzero((out.samples != given_sound.samples).any(axis=0)) / rate
    column = generator.codec.column_samples / 48_000
    assert len(changed)
    assert changed[0] >= start - column
    assert changed[-1] <= end + column
    assert np.abs(out.samples).max() <= 1


def test_filling_some_levels_keeps_the_codes_of_the_others(generator: Generator) -> None:
    given_sound = sound()
    before = generator.codec.encode(given_sound.samples[0] / np.abs(given_sound.samples).max())
    after = fill_sound(generator, given_sound, start=0.2, end=0.6, seed=1, levels=(1,)).grid
    assert np.array_equal(after[..., 0], before[..., 0])
    assert not np.array_equal(after[..., 1], before[..., 1])


@pytest.mark.parametrize(
    ("start", "end", "levels", "words"),
    [
        (0.5, 0.5, None, "the end must be after the start"),
        (0.5, 0.4, None, "the end must be after the start"),
        (-0.1, 0.4, None, "is not within a sound"),
        (0.5, 1.5, None, "is not within a sound"),
        (float("nan"), 0.5, None, "is not within a sound"),
        (0.1, 0.4, (2,), "are not among the model's levels"),
        (0.1, 0.4, (), "are not among the model's levels"),
    ],
)
def test_parts_and_levels_that_are_not_there_are_refused(
    generator: Generator, start: float, end: float, levels: tuple[int, ...] | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        fill_sound(generator, sound(), start=start, end=end, seed=1, levels=levels)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (as_sound(np.zeros((1, 48_000))), "silent"),
        (sound(seconds=0.05), "too short"),
    ],
)
def test_sounds_that_cannot_be_heard_are_refused(generator: Generator, bad: Sound, words: str) -> None:
    with pytest.raises(DataError, match=words):
        continue_sound(generator, bad, seconds=0.4, seed=1)
    with pytest.raises(DataError, match=words):
        fill_sound(generator, bad, start=0.0, end=0.04, seed=1)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_continuation_has_a_duration(generator: Generator, seconds: float) -> None:
    with pytest.raises(UsageError, match="duration"):
        continue_sound(generator, sound(), seconds=seconds, seed=1)
