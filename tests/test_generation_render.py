"""New sounds from a model file: duration, level, repeatability, files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.audio.sound import read_sound
from distill.errors import ArtifactError, StorageError, UsageError
from distill.generation.render import GeneratedSound, Generator, _at_peak, generate, write_sounds
from distill.generation.sampling import SamplingConfig
from model_example import codec, prior, write_example


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator(codec(), prior())


@pytest.mark.parametrize("seconds", [1e-6, 0.1, 0.3331, 0.512, 2.5])
def test_a_sound_has_exactly_the_asked_duration_and_level(generator: Generator, seconds: float) -> None:
    (sound,) = generate(generator, seconds=seconds, seed=4)
    assert sound.samples.shape == (max(1, round(seconds * 48_000)),)
    assert sound.samples.dtype == np.float32
    assert sound.sample_rate == 48_000
    assert sound.seed == 4
    assert 20 * np.log10(np.abs(sound.samples).max()) <= -0.99


@pytest.mark.parametrize(("peak", "wanted"), [(5.0, 10 ** (-1 / 20)), (0.5, 10 ** (-1 / 20)), (0.01, 0.01 * 10**0.6)])
def test_loud_sounds_come_to_minus_one_decibel_and_quiet_ones_stay_quiet(peak: float, wanted: float) -> None:
    waveform = np.float32(peak) * np.sin(np.arange(1000, dtype=np.float32) / 10)
    scale = float(np.abs(waveform).max()) / peak
    assert np.abs(_at_peak(waveform)).max() == pytest.approx(wanted * (1 if peak > 0.1 else scale), rel=1e-3)


def test_sound_i_of_a_batch_is_the_sound_of_its_own_seed(generator: Generator) -> None:
    batch = generate(generator, count=10, seconds=0.4, seed=100)
    assert [sound.seed for sound in batch] == list(range(100, 110))
    for sound in (batch[0], batch[3], batch[9]):
        (alone,) = generate(generator, seconds=0.4, seed=sound.seed)
        assert np.array_equal(alone.grid, sound.grid)
        assert np.array_equal(alone.samples, sound.samples)
    assert not np.array_equal(batch[0].grid, batch[1].grid)


def test_natural_sounds_end_by_themselves_within_the_greatest_duration(generator: Generator) -> None:
    sounds = generate(generator, count=8, seconds=4.0, natural=True)
    lengths = [len(sound.samples) for sound in sounds]
    assert len(set(lengths)) > 1
    assert max(lengths) <= 4 * 48_000
    for sound in sounds:
        assert len(sound.samples) == min(4 * 48_000, (16 * len(sound.grid) - 1) * 512)


def test_a_file_gives_the_same_sounds_as_the_model_in_memory(generator: Generator, tmp_path: Path) -> None:
    path = write_example(tmp_path / "a.distill")
    config = SamplingConfig(temperature=0.8, top_k=10, top_p=0.9)
    for first, second in zip(
        generate(path, count=2, seconds=0.3, config=config),
        generate(generator, count=2, seconds=0.3, config=config),
        strict=True,
    ):
        assert np.array_equal(first.samples, second.samples)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seconds": 0.0}, "duration must be above 0 and at most 3600 s, not 0"),
        ({"seconds": -1.0}, "duration"),
        ({"seconds": float("nan")}, "duration"),
        ({"seconds": 3600.5}, "duration"),
        ({"seconds": 1.0, "count": 0}, "number of sounds must lie between 1 and 10000, not 0"),
        ({"seconds": 1.0, "count": 10_001}, "number of sounds"),
        ({"seconds": 1.0, "seed": -1}, "seed"),
        ({"seconds": 1.0, "device": "abacus"}, "device abacus is not present here"),
    ],
)
def test_bad_requests_are_refused_before_the_file_is_read(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        generate(Path("absent.distill"), **values)


def test_models_that_cannot_generate_say_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="distill train-prior"):
        generate(write_example(tmp_path / "a.distill", with_prior=False), seconds=1.0)
    damaged = prior()
    with torch.no_grad():
        damaged.norm.weight[0] = torch.nan
    with pytest.raises(ArtifactError, match="not finite"):
        generate(Generator(codec(), damaged), seconds=1.0)


def test_a_silent_sound_stays_silent() -> None:
    quiet = codec()
    with torch.no_grad():
        quiet.vqvae.decoder.out[0].bias.fill_(-100.0)
        quiet.vqvae.decoder.out[0].weight.zero_()
    (sound,) = generate(Generator(quiet, prior()), seconds=0.3)
    assert np.abs(sound.samples).max() < 1e-4


def example(seed: int) -> GeneratedSound:
    samples = np.sin(np.arange(4800) * (0.05 + 0.01 * seed)).astype(np.float32) * np.float32(0.89)
    return GeneratedSound(samples, 48_000, np.zeros((1, 8, 2), np.int64), seed)


@pytest.mark.parametrize(("format", "exact"), [("wav", True), ("FLAC", True), ("ogg", False), (".mp3", False)])
def test_sounds_are_written_in_each_format(tmp_path: Path, format: str, exact: bool) -> None:
    sounds = [example(3), example(4)]
    paths = write_sounds(tmp_path / "new", sounds, stem="bell", format=format)
    suffix = format.lower().strip(".")
    assert [path.name for path in paths] == [f"bell_0003.{suffix}", f"bell_0004.{suffix}"]
    for path, sound in zip(paths, sounds, strict=True):
        read = read_sound(path)
        assert read.sample_rate == 48_000
        if exact:
            assert read.subtype == "PCM_24"
            np.testing.assert_allclose(read.samples[0], sound.samples, atol=2.0**-23)


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    (path,) = write_sounds(tmp_path, [example(7)], stem="bell")
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"bell_0007\.wav exists.*--force"):
        write_sounds(tmp_path, [example(6), example(7)], stem="bell")
    assert path.read_bytes() == before
    assert not (tmp_path / "bell_0006.wav").exists()
    write_sounds(
        tmp_path, [GeneratedSound(np.zeros(9, np.float32), 48_000, example(7).grid, 7)], stem="bell", force=True
    )
    assert path.read_bytes() != before


def test_an_unknown_format_and_an_unusable_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown format opus; known: wav"):
        write_sounds(tmp_path, [example(1)], stem="bell", format="opus")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="file"):
        write_sounds(tmp_path / "file", [example(1)], stem="bell")
