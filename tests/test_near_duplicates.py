"""Near duplicates are found, and different sounds are none."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from distill.audio.knobs import knobs_of
from distill.audio.mel import MelTransform
from distill.audio.timbre import timbre_of
from distill.dataset.excerpts import CONFIG, MOST_FRAMES, measured
from distill.dataset.scan import scan
from distill.memorization.near_duplicates import ALIKE, CANDIDATES, alike, candidates, distance
from sounds_util import RATE, folder_of_tones, noise, save, tone

RNG = np.random.default_rng(0)


def log_mel(samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    samples = soxr.resample(samples, rate, CONFIG.sample_rate).astype(np.float32)
    return MelTransform(CONFIG).log_mel(torch.from_numpy(samples / np.abs(samples).max())).numpy()


def stroke(seed: int) -> np.ndarray:
    """A stroke with a little noise that differs from those of other seeds."""
    generator = np.random.default_rng(seed)
    frequency, level, decay = (float(generator.uniform(*reach)) for reach in ((150, 1500), (0.001, 0.01), (2, 20)))
    wave = tone(0.5, frequency) + noise(0.5, seed, level=level)
    wave *= np.exp(-np.arange(len(wave)) / RATE * decay)
    # A sound that begins at once is not quite the same behind silence: its spectrogram begins with its reflection.
    return np.pad(wave, (RATE // 10, 0)).astype(np.float32)


def as_mp3(samples: np.ndarray) -> np.ndarray:
    stream = BytesIO()
    soundfile.write(stream, samples, RATE, format="MP3")
    stream.seek(0)
    return soundfile.read(stream, dtype="float32")[0]


def test_a_sound_is_no_distance_from_itself_and_the_order_does_not_count() -> None:
    one, other = (log_mel(stroke(seed)) for seed in (0, 1))
    assert distance(one, one, CONFIG) < 1e-6
    assert distance(one, other, CONFIG) == distance(other, one, CONFIG) > ALIKE


@pytest.mark.parametrize(
    "change",
    [
        as_mp3,
        lambda wave: wave / 8,
        lambda wave: np.round(100 * wave) / 100,
        lambda wave: np.concatenate([np.zeros(RATE // 2, np.float32), wave]),
        lambda wave: np.concatenate([wave, np.zeros(RATE, np.float32)]),
    ],
    ids=["mp3", "softer", "few bits", "later", "silence behind"],
)
def test_copies_are_near(change) -> None:  # type: ignore[no-untyped-def]
    near = [distance(log_mel(stroke(seed)), log_mel(change(stroke(seed))), CONFIG) for seed in range(4)]
    assert max(near) < ALIKE


def test_a_sound_that_holds_another_and_goes_on_is_not_near() -> None:
    first, second = stroke(0), stroke(1)
    assert distance(log_mel(first), log_mel(np.concatenate([first, second])), CONFIG) > ALIKE


def test_pairs_are_those_of_all_pairs_and_sorted() -> None:
    waves = [stroke(seed) for seed in range(20)]
    waves[7], waves[11], waves[15] = as_mp3(waves[2]), waves[5] / 4, as_mp3(waves[5])
    mels = [log_mel(wave) for wave in waves]
    found = alike([timbre_of(mel, CONFIG) for mel in mels], mels.__getitem__, CONFIG)
    every = {
        (one, other) for other in range(20) for one in range(other) if distance(mels[one], mels[other], CONFIG) < ALIKE
    }
    assert {(pair.first, pair.second) for pair in found} == every == {(2, 7), (5, 11), (5, 15), (11, 15)}
    assert [pair.distance for pair in found] == sorted(pair.distance for pair in found)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 600])
def test_as_many_pairs_are_looked_at_as_there_are_sounds(count: int) -> None:
    timbres = RNG.normal(-15, 10, (count, 23))
    pairs = candidates(list(timbres))
    assert all(one < other < count for one, other in pairs)
    assert len(set(pairs)) == len(pairs) <= CANDIDATES * count
    assert {place for pair in pairs for place in pair} == (set(range(count)) if count > 1 else set())


def test_only_the_beginning_of_a_long_sound_is_measured(tmp_path: Path) -> None:
    save(tmp_path / "long.wav", noise(40.0, rate=16_000), 16_000)
    save(tmp_path / "short.wav", noise(1.0, seed=1))
    long, short = measured(tmp_path, scan(tmp_path))
    assert long.log_mel.shape == (CONFIG.n_mels, MOST_FRAMES)
    assert short.log_mel.shape == (CONFIG.n_mels, 94)


def test_the_log_mel_of_a_file_is_that_of_its_samples(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", tone(), subtype="FLOAT")
    [found] = measured(tmp_path, scan(tmp_path))
    assert found.log_mel.astype(np.float32) == pytest.approx(log_mel(tone()), abs=0.01)
    assert np.isfinite(knobs_of(found.log_mel.astype(np.float32), CONFIG)).all()


def test_few_sounds_of_many_are_spread_over_the_folder(tmp_path: Path) -> None:
    reports = scan(folder_of_tones(tmp_path, 7))
    assert [each.name for each in measured(tmp_path, reports, 3)] == ["tone000.wav", "tone003.wav", "tone006.wav"]


@pytest.mark.skipif("DISTILL_TEST_AUDIO" not in os.environ, reason="DISTILL_TEST_AUDIO is not set")
@pytest.mark.parametrize(("folder", "pairs"), [("kit", 1), ("drums", 2)])
def test_near_duplicates_of_recorded_sounds(folder: str, pairs: int) -> None:
    source = Path(os.environ["DISTILL_TEST_AUDIO"]) / folder
    mels = [each.log_mel.astype(np.float32) for each in measured(source, scan(source))]
    assert len(alike([timbre_of(mel, CONFIG) for mel in mels], mels.__getitem__, CONFIG)) == pairs
