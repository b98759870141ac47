"""The verdict on generated sounds: its statistics, its rules, what it says, and its page."""

import html
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import memorization_util as util
import model_example
from distill.audio.nearness import Nearness
from distill.configs import DataConfig
from distill.dataset.prepare import prepare
from distill.dataset.store import PreparedDataset
from distill.errors import ArtifactError
from distill.generation.generator import Generator
from distill.memorization import of_model, statistics
from distill.memorization.code_runs import SharedRun
from distill.memorization.compare import Comparison, Findings, compare
from distill.memorization.page import MOST_PAIRS, write_page
from distill.memorization.pairs import read_pairs
from distill.memorization.plain_words import in_plain_words
from distill.memorization.sounds import CheckedSound, Silence
from distill.memorization.verdict import Verdict, judge
from sounds_util import save, tone

# Statistics


def test_too_few_sounds_have_no_rank() -> None:
    assert statistics.rank_statistic([0.1] * 7, [0.2] * 20) is None
    assert statistics.rank_statistic([0.1] * 20, [0.2] * 7) is None


def test_a_rank_counts_ties_by_half_and_begins_at_eight_sounds() -> None:
    few = [float(number) for number in range(statistics.LEAST_SOUNDS)]
    assert statistics.rank_statistic(few, few) == 0.0
    # Of 72 pairs 9 have the larger distance first and 7 are ties; by chance half of them do, with a variance of 108.
    assert statistics.rank_statistic([0.0] * 7 + [1.0], [0.0] + [0.5] * 8) == pytest.approx((3.5 + 9 - 36) / 108**0.5)


@given(st.integers(1, 12), st.integers(0, 20), st.integers(0, 20))
def test_a_chance_is_a_probability_that_falls_with_the_count(among: int, known: int, more: int) -> None:
    chances = [statistics.chance_of(count, among, known, known + more) for count in range(among + 1)]
    assert chances[0] == pytest.approx(1.0)
    assert all(0.0 < after <= before for before, after in pairwise(chances))


# Rules, on figures


def compared(distance: float = 0.5, codes: int = 0, share: float = 0.1) -> Comparison:
    sound = CheckedSound(
        "a sound", np.zeros((128, 32), np.float32), np.zeros((2, 8, 3), np.int64), np.ones((2, 8), bool)
    )
    return Comparison(sound, SharedRun(codes, share, 0, 2, 160), 0.0, Nearness(distance, 0, distance, 0, 0))


def verdict_of(generated: list[Comparison], held_out: list[Comparison]) -> Verdict:
    training = util.Recorded(model_example.codec(), {"one.wav": np.zeros((128, 32), np.float32)})
    found = Findings(tuple(generated), tuple(held_out), (), training, 24, util.CONFIG)
    return judge(found, file_count=20)


@pytest.mark.parametrize(
    ("usual", "codes", "share", "flagged"),
    [
        # Half a column's worth of codes is the least.
        (0, 12, 0.5, False),
        (0, 13, 0.5, True),
        (0, 12, 0.8, True),
        (0, 11, 1.0, False),
        # Half as many again as most held-out sounds share.
        (40, 60, 0.5, False),
        (40, 61, 0.5, True),
        (40, 60, 0.8, True),
    ],
)
def test_a_long_run_of_codes_is_a_copy_however_far_the_rest_is(
    usual: int, codes: int, share: float, flagged: bool
) -> None:
    known = [compared(codes=usual) for _ in range(10)]
    found = verdict_of([compared(codes=codes, share=share) for _ in range(8)], known)
    assert found.verdict == ("fail" if flagged else "pass")
    assert found.flagged == (tuple(range(8)) if flagged else ())
    said = f"a sound at 0.34 s repeats {codes} codes ({share:.0%} of it) of training sound one.wav at 1.71 s"
    assert any(reason.startswith(said) for reason in found.reasons) == flagged


def test_a_near_sound_is_a_copy_whatever_its_codes_are() -> None:
    known = [compared(distance=0.25) for _ in range(10)]
    # 0.3 of the usual distance for so few files.
    assert verdict_of([compared(distance=0.074) for _ in range(8)], known).verdict == "fail"
    assert verdict_of([compared(distance=0.076) for _ in range(8)], known).flagged == ()
    # However far other sounds are, no copy is farther than 0.1.
    far = [compared(distance=0.9) for _ in range(10)]
    assert verdict_of([compared(distance=each) for each in (0.099, 0.1)], far).flagged == (0,)


@pytest.mark.parametrize(
    ("near", "others", "verdict"),
    [(0.24, [], "warn"), (0.26, [], "pass"), (0.2, [0.6], "pass")],
)
def test_sounds_that_are_nearer_as_a_set_by_rank_and_by_half_the_distance_are_worth_a_warning(
    near: float, others: list[float], verdict: str
) -> None:
    known = [compared(distance=0.5) for _ in range(8)]
    found = verdict_of([compared(distance=each) for each in [near] * (8 - len(others)) + others], known)
    assert (found.verdict, found.flagged) == (verdict, ())
    assert any(reason.startswith("as a set") for reason in found.reasons) == (verdict == "warn")


@pytest.mark.parametrize(
    ("flagged", "sounds", "alike", "known", "verdict"),
    [
        # A chance below 1 % fails, if more than one is flagged.
        (4, 8, 1, 22, "fail"),
        (6, 9, 3, 19, "warn"),
        (1, 1, 0, 120, "warn"),
        # Where some of the known sounds are alike, one below 5 % is worth a warning; where none are, one below 30 %.
        (5, 9, 1, 9, "warn"),
        (5, 7, 1, 6, "pass"),
        (1, 2, 0, 4, "warn"),
        (1, 4, 0, 8, "pass"),
    ],
)
def test_the_verdict_follows_from_the_chance_that_so_many_are_flagged(
    flagged: int, sounds: int, alike: int, known: int, verdict: str
) -> None:
    copy, other = compared(codes=24, share=1.0), compared()
    found = verdict_of([copy] * flagged + [other] * (sounds - flagged), [copy] * alike + [other] * (known - alike))
    assert (found.verdict, found.flagged) == (verdict, tuple(range(flagged)))
    assert found.evidence["near_duplicates"] == {"flagged": alike, "sounds": known}


def test_copies_are_told_by_label_and_the_rank_is_that_of_sounds_of_which_nothing_was_asked() -> None:
    known = [compared(distance=0.25) for _ in range(10)]
    free, copies, others = ([compared(distance=each) for _ in range(8)] for each in (0.25, 0.01, 0.25))
    training = util.Recorded(model_example.codec(), {"one.wav": np.zeros((128, 32), np.float32)})
    labels = (*[None] * 8, *["kick"] * 8, *["hat"] * 8)
    found = Findings((*free, *copies, *others), tuple(known), (), training, 24, util.CONFIG, labels)
    verdict = judge(found, file_count=20)
    assert verdict.verdict != "pass"
    assert verdict.evidence["labels"] == {"kick": {"sounds": 8, "flagged": 8}, "hat": {"sounds": 8, "flagged": 0}}
    assert "8 of 8 sounds asked for as kick may be copies" in verdict.reasons
    assert not any("hat" in reason for reason in verdict.reasons)
    assert verdict.evidence["rank_test"]["sounds"]["generated"] == 8


# What it says of sounds


FADE = 2400


@dataclass(frozen=True)
class Pause:
    """Seconds of silence before and behind a sound."""

    before: float = 0.0
    behind: float = 0.0

    def around(self, samples: np.ndarray) -> np.ndarray:
        return np.pad(samples, (round(self.before * util.RATE), round(self.behind * util.RATE)))


def verdict_on(
    frequencies: list[float],
    *,
    held_out: int = 8,
    training: int = 12,
    pauses: dict[str, Pause] | None = None,
    **known: object,
) -> Verdict:
    """Generated tones judged beside training tones at 200, 260, 320, ... Hz and held-out ones between them."""
    found = found_on(frequencies, held_out, training, pauses or {})
    return judge(found, file_count=training + held_out, **known)  # type: ignore[arg-type]


def found_on(frequencies: list[float], held_out: int, training: int, pauses: dict[str, Pause]) -> Findings:
    codec = model_example.codec()

    def sound(frequency: float, part: str) -> np.ndarray:
        samples = tone(0.5, frequency, util.RATE)
        # What is cut off ends with a click, which is alike in all of them.
        samples[-FADE:] *= np.linspace(1, 0, FADE, dtype=np.float32)
        return pauses.get(part, Pause()).around(samples)

    def tones(first: float, count: int, part: str) -> util.Recorded:
        each = [first + 60 * index for index in range(count)]
        return util.Recorded(codec, {f"tone {at:.0f}": util.log_mel_of(sound(at, part)) for at in each})

    return compare(
        [util.recorded(codec, f"tone {each:.0f}", sound(each, "generated")) for each in frequencies],
        tones(200.0, training, "training"),
        tones(226.0, held_out, "held out"),
        Silence(codec),
        spectrogram=codec.spectrogram,
        most_frames=util.MOST_FRAMES,
    )


NEW = [215.0, 273.0, 337.0, 394.0, 453.0, 531.0, 575.0, 631.0]


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
    five = verdict_of([compared(codes=24, share=1.0)] * 5, [compared()] * 10)
    assert len(five.reasons) == 1 + 5


def test_too_few_held_out_sounds_are_said_and_copies_still_found() -> None:
    for held_out in (0, 3):
        found = verdict_on([200.0, 260.0, 320.0], held_out=held_out)
        assert found.verdict == "fail"
        assert found.evidence["rank_test"]["c_t"] is None
        assert any(f"only {held_out} held-out sounds, too few" in reason for reason in found.reasons)


def test_copies_of_an_only_sound_too_short_to_split_do_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = save(tmp_path / "only.wav", tone(0.4))
    prepare(sound, tmp_path / "out", DataConfig(speed_semitones=()), util.CONFIG, 0)
    dataset, codec = PreparedDataset(tmp_path / "out"), model_example.codec()
    assert not dataset.held_out
    grid = codec.encode_log_mel(dataset.segment(0))
    monkeypatch.setattr(of_model, "sample_grids", lambda _generator, seeds, *_, **__: ((seed, grid) for seed in seeds))
    settings = of_model.CheckSettings(sounds=8, seconds=0.5, temperature=1.0, seed=0)
    found = judge(of_model.findings_of(Generator(codec, model_example.prior()), dataset, settings), file_count=1)
    assert (found.verdict, found.flagged) == ("warn", tuple(range(8)))
    assert found.evidence["near_duplicates"] == {"flagged": 0, "sounds": 0}


def test_without_a_sound_that_was_not_trained_on_one_copy_warns_and_nothing_is_said_to_be_usual() -> None:
    found = verdict_of([compared(distance=0.01), *[compared()] * 7], [])
    assert (found.verdict, found.flagged) == ("warn", (0,))
    assert found.evidence["distances"]["usual"] is None
    assert "every sound was trained on: nothing says how near other sounds come to one by chance" in found.reasons
    assert not any("0 of 0" in reason or "usual" in reason or "held-out" in reason for reason in found.reasons)
    assert verdict_of([compared()] * 8, []).verdict == "pass"


def test_where_nothing_can_be_compared_nothing_is_claimed() -> None:
    found = verdict_on([300.0], held_out=0, training=0)
    assert found.verdict == "pass"
    assert found.evidence["distances"]["ratio"] is None


def test_where_held_out_sounds_are_copies_themselves_there_is_no_ratio() -> None:
    found = verdict_of([compared()] * 8, [compared(distance=0.0)] * 8)
    assert found.evidence["distances"]["ratio"] is None


@pytest.mark.parametrize(
    "pauses",
    [
        {"generated": Pause(behind=0.7), "training": Pause(behind=1.0)},
        {"generated": Pause(before=0.31)},
        {"training": Pause(before=0.123, behind=4.0)},
        {"held out": Pause(before=3.3, behind=0.2), "generated": Pause(before=0.05, behind=2.0)},
    ],
)
def test_silence_around_sounds_changes_no_verdict(pauses: dict[str, Pause]) -> None:
    found = verdict_on([*NEW[:4], 200.0, 320.0, 440.0, 560.0], training=8, pauses=pauses)
    assert (found.verdict, found.flagged) == ("fail", (4, 5, 6, 7))


def test_the_page_holds_everything_itself_and_escapes_names(tmp_path: Path) -> None:
    codec = model_example.codec()
    log_mels = {f"<b>{index}</b>.wav": util.log_mel_of(tone(0.5, 200.0 + 60 * index, util.RATE)) for index in range(3)}
    generated = [
        util.recorded(codec, "a tone", tone(0.5, 200.0 + 10 * index, util.RATE)) for index in range(MOST_PAIRS)
    ]
    generated.insert(1, util.recorded(codec, "nothing", np.zeros(9000, np.float32)))
    found = compare(
        generated,
        util.Recorded(codec, log_mels),
        util.Recorded(codec, {}),
        Silence(codec),
        spectrogram=codec.spectrogram,
        most_frames=util.MOST_FRAMES,
    )
    steps: list[int] = []
    for name in ("one.html", "two.html"):
        write_page(
            tmp_path / name, found, judge(found, file_count=3), title="a & b", step=lambda: steps.append(len(steps))
        )
    assert len(steps) == 2 * MOST_PAIRS
    text = (tmp_path / "one.html").read_text()
    assert text == (tmp_path / "two.html").read_text()
    assert text.count("<audio") == text.count("<img") == 2 * MOST_PAIRS
    assert "1 more sounds" in text
    assert "a &amp; b" in text
    assert "<b>" not in text
    assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")
    # What was written is read back: the sounds that both sides let hear.
    pairs = read_pairs(tmp_path / "one.html")
    assert len(pairs) == MOST_PAIRS
    assert [pair.flagged for pair in pairs] == sorted((pair.flagged for pair in pairs), reverse=True)
    for side in (pairs[0].generated, pairs[0].training):
        assert side.name in html.unescape(text)
        assert soundfile.info(BytesIO(side.flac)).samplerate == util.RATE
    for damaged in (b"\xff", b"<section><figure><audio src='data:audio/flac;base64,?'></audio></figure></section>"):
        (tmp_path / "damaged.html").write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"damaged\.html is not the page of a check"):
            read_pairs(tmp_path / "damaged.html")


@pytest.mark.parametrize(
    ("verdict", "flagged", "words"),
    [
        ("pass", 0, "Nothing was copied: none of 8 new sounds is close to one of yours."),
        ("pass", 1, "Nothing was copied: 1 of 8 new sounds is close to one of yours, which may be chance."),
        ("warn", 3, "Listen before you share it: 3 of 8 new sounds are close to yours."),
        ("fail", 8, "It copies your sounds: 8 of 8 new sounds are close to yours."),
    ],
)
def test_a_verdict_is_said_in_plain_words(verdict: str, flagged: int, words: str) -> None:
    assert in_plain_words(verdict, {"flagged": list(range(flagged)), "generated": [{}] * 8}) == words


def test_the_page_shows_the_end_of_a_sound_whose_silence_is_what_is_nearest(tmp_path: Path) -> None:
    codec = model_example.codec()
    training = util.Recorded(codec, {"short.wav": util.log_mel_of(tone(0.1, 200.0, util.RATE))})
    generated = [util.recorded(codec, "a long tone", tone(2.0, 200.0, util.RATE))]
    found = compare(
        generated,
        training,
        util.Recorded(codec, {}),
        Silence(codec),
        spectrogram=codec.spectrogram,
        most_frames=util.MOST_FRAMES,
    )
    (only,) = found.generated
    behind = replace(only.near, source=0, frame=150, source_frame=training.frames[0] + 100)
    moved = replace(found, generated=[replace(only, near=behind)])
    write_page(tmp_path / "page.html", moved, judge(found, file_count=1), title="short")
    text = (tmp_path / "page.html").read_text()
    assert "a long tone" in text
    assert "short.wav" in text
    assert (tmp_path / "page.html").read_text().count("<audio") == 2
