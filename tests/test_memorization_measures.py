"""What the check measures: shared codes, places beside which sounds lie, distances, silence, and how much is read."""

import math
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import memorization_util as util
import model_example
from distill.audio.nearness import (
    FARTHEST,
    Nearness,
    active_windows,
    distances,
    nearest_share,
    window_frames,
)
from distill.codec.codec import Codec
from distill.errors import Interrupted
from distill.memorization import search
from distill.memorization.code_runs import NGRAM, SharedCodes
from distill.memorization.compare import MOST_PLACES, compare
from distill.memorization.search import Part, Search, places_beside
from distill.memorization.sounds import CheckedSound, Grid, Silence
from sounds_util import noise, tone

SIZE = window_frames(util.CONFIG)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return model_example.codec()


# Shared codes

CELLS = 4


def small_sounds(count: int) -> st.SearchStrategy[list[CheckedSound]]:
    def sound(codes: list[int], sounding: list[bool]) -> CheckedSound:
        columns = len(codes) // CELLS
        return CheckedSound(
            "",
            np.zeros((1, 0), np.float32),
            np.array(codes[: CELLS * columns], np.int64).reshape(columns, 2, 2),
            np.array(sounding[: 2 * columns], bool).reshape(columns, 2),
        )

    codes = st.lists(st.integers(0, 1), min_size=CELLS, max_size=6 * CELLS)
    cells = st.lists(st.booleans(), min_size=12, max_size=12)
    return st.lists(st.builds(sound, codes, cells), min_size=count, max_size=count)


def counted_codes(sound: CheckedSound) -> np.ndarray:
    return np.repeat(sound.sounding, 2, axis=1)


def plain_longest_run(sound: CheckedSound, others: list[Grid]) -> int:
    """At every lie of the columns beside each other: what agrees around whole columns that agree and sound."""
    counted, best = counted_codes(sound), 0
    mine = sound.grid.reshape(-1, CELLS)
    for other in others:
        theirs = other.reshape(-1, CELLS)
        for lie in range(-len(mine), len(theirs)):
            same = {
                column: mine[column] == theirs[column + lie]
                for column in range(len(mine))
                if 0 <= column + lie < len(theirs)
            }
            whole = {column for column, equal in same.items() if equal.all() and counted[column].any()}
            for first in whole:
                if first - 1 in whole:
                    continue
                last = first
                while last + 1 in whole:
                    last += 1
                codes = sum(int(counted[column].sum()) for column in range(first, last + 1))
                for column, way in ((first - 1, -1), (last + 1, 1)):
                    if column in same:
                        agrees = np.logical_and.accumulate(same[column][::way])
                        codes += int(counted[column][::way][agrees].sum())
                best = max(best, codes)
    return best


@given(small_sounds(4))
@settings(max_examples=150, deadline=None)
def test_the_longest_shared_run_is_that_of_a_plain_search(sounds: list[CheckedSound]) -> None:
    sound, others = sounds[0], [each.grid for each in sounds[1:]]
    searched = SharedCodes([*sounds[:1], *sounds[:1]], [None, 6])
    for source, grid in enumerate(others):
        searched.add(source, grid, 5 + source)
    run = searched.run(0)
    assert run.codes == plain_longest_run(sound, others)
    if run.codes:
        begins = sound.grid[run.column].ravel(), others[run.source][run.source_frame // 16].ravel()
        assert (begins[0] == begins[1]).any()
        assert run.share == pytest.approx(run.codes / counted_codes(sound).sum())
    assert searched.run(1).codes == plain_longest_run(sound, [others[0], others[2]])


def test_a_run_is_found_wherever_it_lies_in_a_long_grid() -> None:
    rng = np.random.default_rng(0)
    long = rng.integers(0, 50, (3000, 2, 2))
    for begin in (0, 1019, 1020, 1024, 2990):
        sound = CheckedSound("", np.zeros((1, 0), np.float32), long[begin : begin + 10], np.ones((10, 2), bool))
        searched = SharedCodes([sound], [None])
        searched.add(4, long, 0)
        run = searched.run(0)
        assert (run.codes, run.source, run.column, run.source_frame) == (40, 4, 0, 16 * begin)


@given(small_sounds(3))
@settings(max_examples=100, deadline=None)
def test_the_overlap_counts_short_sequences_at_their_place(sounds: list[CheckedSound]) -> None:
    def sequences(codes: np.ndarray) -> list[tuple[int, ...]]:
        flat = codes.ravel().tolist()
        return [(index % CELLS, *flat[index : index + NGRAM]) for index in range(len(flat) - NGRAM + 1)]

    sound, *others = sounds
    heard = counted_codes(sound).ravel()
    mine = [each for index, each in enumerate(sequences(sound.grid)) if heard[index : index + NGRAM].any()]
    searched = SharedCodes([sound] * 4, [None, 0, 1, 7])
    for source, other in enumerate(others):
        searched.add(source, other.grid, source)
    for number, left_out in enumerate([(), (0,), (1,), (7,)]):
        known = {
            each for source, other in enumerate(others) if source not in left_out for each in sequences(other.grid)
        }
        expected = sum(each in known for each in mine) / len(mine) if mine else 0.0
        assert searched.overlap(number) == pytest.approx(expected)


# Distances


def distance(sound: np.ndarray, other: np.ndarray) -> float:
    """Of two sounds that begin together."""
    mine, theirs = util.log_mel_of(sound), util.log_mel_of(other)
    beside = np.zeros_like(mine)
    beside[:, : theirs.shape[1]] = theirs[:, : mine.shape[1]]
    return nearest_share(distances(active_windows(mine, SIZE), beside, SIZE))


def clicks(offset: int = 0) -> np.ndarray:
    """Short noises, each of its own kind, all moved by so many samples."""
    samples = np.zeros(util.RATE // 2, np.float32)
    for index in range(8):
        burst = noise(0.004, index, util.RATE)
        begin = 1000 + 2900 * index + offset
        samples[begin : begin + len(burst)] = burst
    return samples


def test_a_distance_leaves_out_loudness_and_little_shifts() -> None:
    sound = tone(0.5, 317, util.RATE)
    assert distance(sound, sound) == distance(util.softer(sound), sound) == 0.0
    assert distance(util.shifted(sound, 0.012), sound) < 0.05
    assert distance(noise(0.5, 1, util.RATE), sound) > 0.5
    assert distance(sound, np.zeros(100, np.float32)) == pytest.approx(FARTHEST)
    assert (
        nearest_share(distances(active_windows(np.zeros((128, 20), np.float32), SIZE), np.zeros((128, 20)), SIZE))
        == FARTHEST
    )


def test_a_shift_by_half_a_frame_is_made_up_for() -> None:
    half, quarter = (util.CONFIG.hop_length // part for part in (2, 4))
    exact = [distance(clicks(offset), clicks()) for offset in (quarter, half)]
    # What is in between is not much farther than what is a quarter of a frame away.
    assert exact[1] < 1.3 * exact[0]


# Places


@pytest.mark.parametrize("begin", [-40, 0, 7, 300, 1500])
def test_a_sound_is_found_where_it_lies(begin: int) -> None:
    rng = np.random.default_rng(0)
    long = np.repeat(rng.uniform(0, 6, (128, 512)), 4, axis=1).astype(np.float32)
    sound = np.zeros((128, 60), np.float32)
    first = max(0, begin)
    sound[:, first - begin :] = long[:, first : begin + 60]
    searched = Search([sound, np.zeros_like(sound)], [None, None], SIZE)
    for part in range(0, 2048, search.PART_FRAMES):
        searched.add(Part(0, part), long[:, part : part + search.PART_FRAMES], 0)
        searched.add(Part(1, part), rng.uniform(0, 6, (128, search.PART_FRAMES)).astype(np.float32), 1)
    assert Part(0, first // search.PART_FRAMES * search.PART_FRAMES) in searched.found(0)
    assert searched.found(1) == []
    assert places_beside(sound, long)[0].first == begin


def test_the_parts_of_a_splice_are_found_and_own_files_are_left_out() -> None:
    rng = np.random.default_rng(0)
    known = [rng.uniform(0, 6, (128, 80)).astype(np.float32) for _ in range(30)]
    splice = np.concatenate([known[index][:, 10 * index : 10 * index + 20] for index in (1, 3, 5)], axis=1)
    searched = Search([splice, splice], [None, 3], SIZE)
    for index, log_mel in enumerate(known):
        searched.add(Part(index, 0), log_mel, index)
    assert {1, 3, 5} <= {part.source for part in searched.found(0)}
    assert 3 not in {part.source for part in searched.found(1)}


def plain_windows(log_mel: np.ndarray, frames: Iterable[int], size: int) -> np.ndarray:
    """The rough windows at frames: amplitudes, joined to 16 bands by 4 times, in whole numbers at a length of 4000."""
    amplitude, step = np.sqrt(np.expm1(log_mel.astype(float))), max(1, size // 4)
    vectors = []
    for frame in frames:
        window = amplitude[:, frame : frame + size]
        times = [window[:, time : time + step].reshape(16, -1).sum(1) for time in range(0, size - step + 1, step)]
        vectors.append(np.rint(np.concatenate(times) * 4000 / np.linalg.norm(times)))
    return np.array(vectors)


def plain_found(sound: np.ndarray, known: dict[int, np.ndarray], size: int, most: int) -> list[int]:
    """The parts that come nearest to a quarter of the windows, and those that are the nearest of most windows."""
    windows = plain_windows(sound, active_windows(sound, size).frames, size)
    near = {
        number: (plain_windows(part, range(part.shape[1]), size) @ windows.T).max(0) for number, part in known.items()
    }
    quarter = {number: np.sort(each)[-math.ceil(len(windows) / 4)] for number, each in near.items()}
    nearest = sorted(near, key=lambda number: -quarter[number])[:most]
    votes = Counter(max(near, key=lambda number: near[number][window]) for window in range(len(windows)))
    return list(dict.fromkeys(nearest + [number for number, _ in votes.most_common(3)]))


@pytest.mark.parametrize("size", [2, 5, 8, 13])
def test_the_parts_that_are_found_are_those_of_a_plain_search(size: int) -> None:
    rng = np.random.default_rng(size)
    long, short, *known = (
        (rng.uniform(0, 6, (128, frames)) * rng.uniform(0, 1, (128, 1))).astype(np.float32)
        for frames in (60, 9, *rng.integers(1, 40, 20))
    )
    searched = Search([long, np.zeros_like(long), short, long], [None, None, None, 4], size, 6)
    for number, part in enumerate(known):
        searched.add(Part(number, 0), part, number)
    parts = dict(enumerate(known))
    found = [[part.source for part in searched.found(sound)] for sound in range(4)]
    assert found[:3] == [plain_found(long, parts, size, 6), [], plain_found(short, parts, size, 6)]
    del parts[4]
    assert found[3] == plain_found(long, parts, size, 6)


def test_neither_silence_nor_a_sound_of_the_own_file_is_found() -> None:
    sound = np.random.default_rng(0).uniform(0, 6, (128, 20)).astype(np.float32)
    searched = Search([sound], [7], SIZE)
    for source, (log_mel, file) in enumerate([(sound, 7), (np.zeros_like(sound), 8)]):
        searched.add(Part(source, 0), log_mel, file)
        assert searched.found(0) == []
    searched.add(Part(5, 0), sound, 9)
    assert searched.found(0) == [Part(5, 0)]


def test_nothing_is_found_for_no_sounds() -> None:
    searched = Search([], [], SIZE)
    searched.add(Part(0, 0), np.ones((128, 20), np.float32), 0)
    assert [searched.found(sound) for sound in range(len(searched.own))] == []


@pytest.mark.parametrize(("frames", "length"), [(1, 1), (1, 9), (9, 1), (7, 30), (30, 7), (16, 16)])
def test_places_are_those_of_a_plain_search(frames: int, length: int) -> None:
    rng = np.random.default_rng(frames)
    sound, other = (rng.uniform(0, 6, (32, n)) * rng.uniform(0, 1, n) ** 4 for n in (frames, length))
    around = np.pad(other, ((0, 0), (frames - 1, frames - 1)))
    energy, scores = np.square(sound).sum(), {}
    for first in range(1 - frames, length):
        beside = around[:, first + frames - 1 :][:, :frames]
        covered = max(np.square(beside).sum(), 0.01 * energy)
        scores[first] = (sound * beside).sum() / np.sqrt(energy * covered)
    found = places_beside(sound.astype(np.float32), other.astype(np.float32))
    assert [place.first for place in found] == sorted(scores, key=lambda first: -scores[first])[:3]
    assert [place.score for place in found] == pytest.approx([scores[place.first] for place in found], rel=1e-4)


# All together


def nearnesses(codec: Codec, samples: list[np.ndarray], known: list[np.ndarray]) -> list[Nearness]:
    sounds = [util.recorded(codec, str(index), each) for index, each in enumerate(samples)]
    training = util.Recorded(codec, {f"{index}": util.log_mel_of(each) for index, each in enumerate(known)})
    found = compare(
        sounds,
        training,
        util.Recorded(codec, {}),
        Silence(codec),
        spectrogram=util.CONFIG,
        most_frames=util.MOST_FRAMES,
    )
    return [each.near for each in found.generated]


LATE = {"30 ms late": lambda samples: util.shifted(samples, 0.03)}


@pytest.mark.parametrize(("name", "change"), [*util.CHANGES.items(), *LATE.items()])
def test_a_copy_is_near_wherever_it_lies(codec: Codec, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    training = [tone(0.6, frequency, util.RATE) for frequency in (200, 317, 455)]
    (near,) = nearnesses(codec, [change(training[1])], training)
    assert near.source == 1
    assert near.distance < 0.1
    assert near.distance == 0.0 or "exact" not in name
    late = {"shifted by 40 ms": 0.04, "30 ms late": 0.03}.get(name, 0.0)
    assert (near.frame - near.source_frame) * util.CONFIG.hop_length / util.RATE == pytest.approx(late, abs=0.022)


def test_other_sounds_are_far_and_nothing_is_farthest(codec: Codec) -> None:
    training = [tone(0.6, 200, util.RATE), tone(0.6, 317, util.RATE)]
    other, short, nothing = nearnesses(codec, [noise(0.5), tone(0.02), np.zeros(9000, np.float32)], training)
    assert other.distance > 0.5
    assert 0.0 <= short.distance <= FARTHEST
    assert (nothing.distance, nothing.source) == (FARTHEST, None)


def test_what_is_found_does_not_depend_on_company(codec: Codec) -> None:
    sounds = [tone(0.5, 150 + 31 * index, util.RATE) + noise(0.5, index, util.RATE) for index in range(6)]
    together = nearnesses(codec, sounds[:3], sounds[3:])
    assert together == [nearnesses(codec, [sound], sounds[3:])[0] for sound in sounds[:3]]


@pytest.mark.parametrize("columns", [1, 2, 5, 40])
def test_the_codes_of_silence_are_those_at_any_depth(codec: Codec, columns: int) -> None:
    silence = np.zeros((128, 16 * columns), np.float32)
    around = np.concatenate([util.log_mel_of(tone(0.5, 300, util.RATE))[:, :32], silence], axis=1)
    grid = codec.encode_log_mel(np.concatenate([around, around], axis=1))
    codes = Silence(codec).codes
    # The column beside a sound sees it.
    for column in range(3, 2 + columns - 1):
        assert np.array_equal(grid[column], codes)
    sounding = Silence(codec).sounding(np.concatenate([around, around], axis=1), grid)
    assert not sounding[2 : 2 + columns].any()
    assert sounding[:2].any()


def test_what_is_read_and_computed_is_linear_in_the_training_sounds(codec: Codec) -> None:
    figures = []
    for count in (10, 20):
        log_mels = {str(index): util.log_mel_of(noise(0.3, index, util.RATE)) for index in range(count)}
        training = util.Recorded(codec, log_mels, files=[0] * count)
        asked = [util.recorded(codec, "x", tone(0.3, 300, util.RATE))]
        empty = util.Recorded(codec, {})
        compare(asked, training, empty, Silence(codec), spectrogram=util.CONFIG, most_frames=util.MOST_FRAMES)
        figures.append((training.read, training.passed))
    frames = sum(log_mel.shape[1] for log_mel in log_mels.values()) // 2
    # Each sound is searched once; then as many places as ever are looked at.
    assert figures[1][0] - figures[0][0] <= frames
    assert figures[1][1] <= 2 * MOST_PLACES + 2


def test_a_comparison_tells_of_every_sound_and_can_be_ended_at_any(codec: Codec) -> None:
    log_mels = {str(index): util.log_mel_of(noise(0.2, index, util.RATE)) for index in range(3)}
    training, asked = util.Recorded(codec, log_mels), [util.recorded(codec, "x", tone(0.2, 300, util.RATE))]
    told: list[tuple[int, int]] = []

    def end_after(most: int) -> None:
        told.clear()

        def tell(done: int, count: int) -> None:
            told.append((done, count))
            if len(told) == most:
                raise Interrupted("interrupted")

        compare(
            asked,
            training,
            training,
            Silence(codec),
            spectrogram=util.CONFIG,
            most_frames=util.MOST_FRAMES,
            tell=tell,
        )

    end_after(-1)
    # All but the generated sound are made ready, the training is searched, and all are held against it.
    assert told == [(done, 17) for done in range(2, 18)]
    for most in (1, 7, 16):
        with pytest.raises(Interrupted):
            end_after(most)
        assert len(told) == most
