"""The check for copies: its measures, copies that must fail, held-out sounds that must pass, and what it says."""

import doctest
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memorization_util as util
import model_example
from distill.adaptive import validation_fraction
from distill.configs import SpectrogramConfig
from distill.memorization import statistics
from distill.memorization.compare import CheckedSound, compare
from distill.memorization.nearness import FARTHEST, nearest
from distill.memorization.of_model import silence_of
from distill.memorization.page import MOST_PAIRS, write_page
from distill.memorization.runs import NGRAM, Grid, Grids
from distill.memorization.verdict import Verdict, judge
from sounds_util import noise, tone

BUNDLED = Path(__file__).parents[1] / "sounds"
CONFIG = SpectrogramConfig()


# Shared codes


def small_grids(count: int) -> st.SearchStrategy[list[Grid]]:
    grid = st.integers(1, 5).flatmap(
        lambda columns: st.lists(st.integers(0, 2), min_size=4 * columns, max_size=4 * columns).map(
            lambda codes: np.array(codes, np.int64).reshape(columns, 2, 2)
        )
    )
    return st.lists(grid, min_size=count, max_size=count)


def plain_longest_run(grid: Grid, others: list[Grid], silence: Grid) -> int:
    """Every pair of begins at the same place of a column, followed as far as the codes agree."""
    cells, quiet, best = grid[0].size, np.tile(silence.ravel(), len(grid)), 0
    for other in others:
        mine, theirs = grid.ravel(), other.ravel()
        for begin in range(len(mine)):
            for there in range(begin % cells, len(theirs), cells):
                length = 0
                while (
                    begin + length < len(mine)
                    and there + length < len(theirs)
                    and mine[begin + length] == theirs[there + length]
                ):
                    length += 1
                best = max(best, int((mine != quiet)[begin : begin + length].sum()))
    return best


@given(small_grids(4))
@settings(max_examples=60)
def test_the_longest_shared_run_is_that_of_a_plain_search(grids: list[Grid]) -> None:
    silence = np.array([[0, 0], [1, 2]])
    grid, *others = grids
    run = Grids(others, silence).longest_run(grid)
    assert run.codes == plain_longest_run(grid, others, silence)
    if run.codes:
        source = others[run.source]
        assert (grid[run.column] == source[run.source_column]).any()
    without = Grids(others, silence, files=[5, 6, 7]).longest_run(grid, without=[5, 7])
    assert without.codes == plain_longest_run(grid, [others[1]], silence)


@given(small_grids(3))
@settings(max_examples=60)
def test_the_overlap_counts_short_sequences_at_their_place(grids: list[Grid]) -> None:
    silence = np.array([[0, 0], [0, 0]])
    grid, *others = grids

    def sequences(codes: Grid) -> list[tuple[int, ...]]:
        flat = codes.ravel().tolist()
        found = [(index % 4, *flat[index : index + NGRAM]) for index in range(len(flat) - NGRAM + 1)]
        return [each for each in found if any(each[1:])]

    mine, known = sequences(grid), {each for other in others for each in sequences(other)}
    expected = sum(each in known for each in mine) / len(mine) if mine else 0.0
    searched = Grids(others, silence)
    assert searched.overlap(grid) == pytest.approx(expected)
    assert searched.overlap(grid, without=[0, 1]) == 0.0
    assert Grids([grid], silence).overlap(grid) == (1.0 if mine else 0.0)


# Nearness of spectrograms


def log_mels(*sounds: np.ndarray) -> list[np.ndarray]:
    return [util.log_mel_of(sound, CONFIG) for sound in sounds]


@pytest.mark.parametrize("change", [*util.CHANGES, "30 ms late"])
def test_a_copy_is_near_wherever_it_lies_and_however_loud_it_is(change: str) -> None:
    training = [tone(0.6, frequency, util.RATE) for frequency in (200, 317, 455)]
    copy = util.shifted(training[1], 0.03) if change == "30 ms late" else util.CHANGES[change](training[1])
    (near,) = nearest(log_mels(copy), log_mels(*training), CONFIG)
    assert near.source == 1
    assert near.distance < 0.1
    assert near.distance == 0.0 or change in ("shifted by 40 ms", "noise at 30 dB", "30 ms late")
    late = {"shifted by 40 ms": 0.04, "30 ms late": 0.03}.get(change, 0.0)
    assert (near.frame - near.source_frame) * CONFIG.hop_length / util.RATE == pytest.approx(late, abs=0.022)


def test_other_sounds_are_far_and_nothing_is_farthest() -> None:
    training = log_mels(tone(0.6, 200, util.RATE), tone(0.6, 317, util.RATE))
    silent = np.zeros((CONFIG.n_mels, 20), np.float32)
    other, short, nothing = nearest([*log_mels(noise(0.5), tone(0.02)), silent], training, CONFIG)
    assert other.distance > 0.5
    assert 0.0 <= short.distance <= FARTHEST
    assert (nothing.distance, nothing.source) == (FARTHEST, None)
    assert nearest(training, [silent], CONFIG)[0].distance == pytest.approx(FARTHEST)
    own = nearest(training, training, CONFIG, files=[0, 1], own_files=[0, 1])
    assert [near.source for near in own] == [1, 0]


def test_a_distance_does_not_depend_on_company_or_threads() -> None:
    sounds = log_mels(*(tone(0.5, 150 + 31 * index, util.RATE) + noise(0.5, index, util.RATE) for index in range(6)))
    alone = [nearest([sound], sounds[3:], CONFIG)[0] for sound in sounds[:3]]
    assert nearest(sounds[:3], sounds[3:], CONFIG) == alone
    torch.set_num_threads(2)
    assert nearest(sounds[:3], sounds[3:], CONFIG) == alone


# Statistics


def test_the_examples_of_the_statistics_hold() -> None:
    assert doctest.testmod(statistics).failed == 0


def test_too_few_sounds_have_no_statistics() -> None:
    assert statistics.rank_statistic([0.1] * 7, [0.2] * 20) is None
    assert statistics.rank_statistic([0.1] * 20, [0.2] * 7) is None
    assert statistics.authenticity([0.1] * 7, [0.1] * 7) is None


@given(st.integers(1, 12), st.integers(0, 20), st.integers(0, 20))
def test_a_chance_is_a_probability_that_falls_with_the_count(among: int, known: int, more: int) -> None:
    chances = [statistics.chance_of(count, among, known, known + more) for count in range(among + 1)]
    assert chances[0] == pytest.approx(1.0)
    assert all(0.0 < after <= before for before, after in pairwise(chances))


# Copies fail, held-out sounds pass


@pytest.fixture(scope="module")
def bundled() -> util.Sounds:
    return util.Sounds(BUNDLED)


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_the_bundled_sounds_fail_and_held_out_ones_pass(bundled: util.Sounds, seed: int) -> None:
    parts, found = util.verdicts_of_seed(bundled, 16, seed)
    assert not parts.too_few
    assert {name: each.verdict for name, each in found.items()} == {
        name: "pass" if name == "replay" else "fail" for name in found
    }
    (first, *_) = [reason for reason in found["exact"].reasons if "comes as near" in reason]
    assert ".flac at 0." in first


# 16 of 20, so that both halves of the held-out files are large enough.
HELD_OUT = {"kit": 0.8, "mixed": None, "digits": None}


@pytest.mark.slow
@pytest.mark.skipif("DISTILL_TEST_AUDIO" not in os.environ, reason="needs DISTILL_TEST_AUDIO")
@pytest.mark.parametrize("folder", HELD_OUT)
def test_copies_of_recorded_sounds_fail_and_held_out_ones_pass(folder: str) -> None:
    sounds = util.Sounds(Path(os.environ["DISTILL_TEST_AUDIO"]) / folder)
    for share in {validation_fraction(len(sounds)), HELD_OUT[folder] or validation_fraction(len(sounds))}:
        for seed in range(5):
            parts, found = util.verdicts_of_seed(sounds, round(share * len(sounds)), seed)
            if parts.too_few:
                assert all(any("too few" in reason for reason in each.reasons) for each in found.values())
                continue
            wrong = {
                name: each.reasons
                for name, each in found.items()
                if each.verdict != ("pass" if name == "replay" else "fail")
            }
            assert not wrong, f"{folder}, seed {seed}"


# What the verdict says


def toned(codec: util.Codec, frequency: float, file: int = -1) -> CheckedSound:
    return util.checked_sound(codec, f"tone {frequency:.0f}", tone(0.5, frequency, util.RATE), file)


def verdict_on(frequencies: list[float], *, held_out: int = 8, training: int = 12, **known: object) -> Verdict:
    """Generated tones judged beside training tones at 200, 260, 320, ... Hz and held-out ones between them."""
    codec = model_example.codec()
    found = compare(
        [toned(codec, frequency) for frequency in frequencies],
        [toned(codec, 200.0 + 60 * index, index) for index in range(training)],
        [toned(codec, 226.0 + 60 * index, 100 + index) for index in range(held_out)],
        spectrogram=codec.spectrogram,
        silence=silence_of(codec),
    )
    return judge(found, file_count=training + held_out, **known)  # type: ignore[arg-type]


NEW = [215.0, 273.0, 337.0, 394.0, 453.0, 512.0, 575.0, 631.0]


def test_a_low_perplexity_alone_is_not_memorization() -> None:
    low = {"train": 1.01, "validation": 1.02, "per_level": {"level_0": {"train": 1.0, "validation": 1.0}}}
    found = verdict_on(NEW, perplexity=low)
    assert found.verdict == "pass"
    assert found.evidence["perplexity"] == low


def test_a_warning_of_the_training_is_passed_on() -> None:
    found = verdict_on(NEW, memorization_warnings=["the prior begins to memorize"])
    assert (found.verdict, found.reasons) == ("warn", ("the prior begins to memorize",))


def test_one_copy_warns_and_names_the_sound_and_the_place() -> None:
    found = verdict_on([*NEW[:7], 320.0])
    assert (found.verdict, found.flagged) == ("warn", (7,))
    assert "tone 320 at 0.00 s comes as near as a copy to training sound tone 320 at 0.00 s" in found.reasons[1]
    assert found.evidence["generated"][7]["training_sound"] == "tone 320"


def test_many_copies_fail_and_not_all_are_listed() -> None:
    found = verdict_on([200.0, 260.0, 320.0, 380.0, 440.0, 500.0, 560.0])
    assert found.verdict == "fail"
    assert "and 2 more sounds" in found.reasons


def test_too_few_held_out_sounds_are_said_and_copies_still_found() -> None:
    for held_out in (0, 3):
        found = verdict_on([200.0, 260.0, 320.0], held_out=held_out)
        assert found.verdict == "fail"
        assert found.evidence["rank_test"]["c_t"] is None
        assert any(f"only {held_out} held-out sounds, too few" in reason for reason in found.reasons)


def test_where_nothing_can_be_compared_nothing_is_claimed() -> None:
    found = verdict_on([300.0], held_out=0, training=0)
    assert found.verdict == "pass"
    assert found.evidence["distances"]["ratio"] is None


def test_the_page_holds_everything_itself_and_escapes_names(tmp_path: Path) -> None:
    codec = model_example.codec()
    training = [replace(toned(codec, 200.0 + 60 * index, index), name=f"<b>{index}</b>.wav") for index in range(3)]
    generated = [toned(codec, 200.0 + 10 * index) for index in range(MOST_PAIRS + 1)]
    generated[1] = replace(generated[1], log_mel=np.zeros((128, 20), np.float32))
    found = compare(generated, training, [], spectrogram=codec.spectrogram, silence=silence_of(codec))
    for name in ("one.html", "two.html"):
        write_page(tmp_path / name, found, judge(found, file_count=3), title="a & b")
    text = (tmp_path / "one.html").read_text()
    assert text == (tmp_path / "two.html").read_text()
    assert text.count("<audio") == text.count("<img") == 2 * MOST_PAIRS
    assert "1 more sounds" in text
    assert "a &amp; b" in text
    assert "<b>" not in text
    assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")
