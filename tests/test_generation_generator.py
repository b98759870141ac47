"""New sounds from a model file: duration, level, repeatability, files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.audio.invert import LogMel, griffin_lim_blocks
from distill.codec.codec import Codec, Grid, Samples
from distill.errors import ArtifactError, UsageError
from distill.generation.generator import Generator, generate, is_audible, sample_grids, waveform_blocks
from distill.generation.limits import peak_gain
from distill.generation.sampler import SamplingConfig
from distill.models.kernels import MOST_ROWS
from model_example import codec, manifest, prior, vqvae, write_example


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


@pytest.mark.parametrize(("peak", "wanted"), [(5.0, 10 ** (-1 / 20)), (0.5, 10 ** (-1 / 20)), (0.01, 0.01 * 10**1.2)])
def test_loud_sounds_come_to_minus_one_decibel_and_quiet_ones_stay_quiet(peak: float, wanted: float) -> None:
    assert peak * peak_gain(peak) == pytest.approx(wanted)


def test_sound_i_of_a_batch_is_the_sound_of_its_own_seed(generator: Generator) -> None:
    batch = generate(generator, count=10, seconds=0.4, seed=100)
    assert [sound.seed for sound in batch] == list(range(100, 110))
    for sound in (batch[0], batch[3], batch[9]):
        (alone,) = generate(generator, seconds=0.4, seed=sound.seed)
        assert np.array_equal(alone.grid, sound.grid)
        assert np.array_equal(alone.samples, sound.samples)
    assert not np.array_equal(batch[0].grid, batch[1].grid)


def test_200_sounds_are_those_of_their_own_seeds(generator: Generator) -> None:
    config = SamplingConfig(temperature=(0.9, 1.2), top_p=(0.95, 1.0), min_p=0.01)
    batch = dict(sample_grids(generator, range(7, 207), 4800, config=config, natural=False))
    assert len({grid.tobytes() for grid in batch.values()}) > 150
    # Beside other ones, as the last of as many, and, where a batch ends and now and then between, alone.
    seeds = [*reversed(batch)]
    groups = [[*seeds[start : start + 23]] for start in range(0, 200, 23)]
    groups += [[seed] for seed in (*range(7, 207, 9), *range(7 + MOST_ROWS - 1, 207, MOST_ROWS), 206)]
    for group in groups:
        for seed, grid in sample_grids(generator, group, 4800, config=config, natural=False):
            assert np.array_equal(grid, batch[seed]), seed
    sounds = generate(generator, count=20, seconds=0.1, seed=7, config=config)
    assert all(np.array_equal(sound.grid, batch[sound.seed]) for sound in sounds)
    for sound in sounds[::6]:
        (alone,) = generate(generator, seconds=0.1, seed=sound.seed, config=config)
        assert np.array_equal(alone.samples, sound.samples), sound.seed


class SeenCodec(Codec):
    """A codec that notes how many columns it decodes."""

    def decode_log_mel(self, grid: Grid) -> Samples:
        self.seen = len(grid)
        return super().decode_log_mel(grid)


@pytest.mark.parametrize(("rate", "hop", "columns"), [(48_000, 512, 12), (16_000, 512, 4), (96_000, 256, 47)])
def test_a_sound_must_begin_within_two_seconds_whatever_its_rate(rate: int, hop: int, columns: int) -> None:
    spectrogram = manifest().spectrogram_config.model_copy(update={"sample_rate": rate, "hop_length": hop})
    codec = SeenCodec(vqvae(), spectrogram)
    is_audible(codec, np.zeros((100, 8, 2), np.int64))
    assert codec.seen == columns


class HeardCodec(Codec):
    """A codec that keeps every part of a log mel that it makes audible, `[n_mels, frames]` by its first frame."""

    def waveform_blocks(self, log_mel: LogMel, frames: int) -> Iterator[Samples]:
        self.heard: dict[int, torch.Tensor] = {}

        def noted(first: int, last: int) -> torch.Tensor:
            self.heard[first] = log_mel(first, last)
            return self.heard[first]

        return super().waveform_blocks(noted, frames)


def test_a_long_waveform_in_blocks_is_made_from_the_log_mel_of_the_whole() -> None:
    codec = HeardCodec(vqvae(), manifest().spectrogram_config)
    generator = Generator(codec, prior())
    grid = np.random.default_rng(0).integers(0, codec.codebook_size, (130, 8, 2))
    blocks = list(waveform_blocks(generator, grid, 10**9))
    assert len(blocks) > 1
    # No more can be asked: phases follow from differences between numbers, of which those of an untrained decoder are
    # smaller than their rounding.
    log_mel = codec.decode_log_mel(grid)
    rounding = 32 * np.finfo(np.float32).eps * np.abs(log_mel).max()
    ends = set()
    for first, part in codec.heard.items():
        last = first + part.shape[1]
        assert np.abs(part.numpy() - log_mel[:, first:last]).max() < rounding
        ends |= {first, last}
    assert {0, 16 * len(grid)} <= ends
    made = np.concatenate(blocks)
    assert len(made) == (16 * len(grid) - 1) * 512
    whole = griffin_lim_blocks(lambda first, _: codec.heard[first], 16 * len(grid), codec.spectrogram)
    assert np.array_equal(made[:-480], torch.cat(list(whole)).numpy()[:-480])
    short = np.concatenate(list(waveform_blocks(generator, grid, 1_040_000)))
    assert np.array_equal(short[:-480], made[: 1_040_000 - 480])


@pytest.mark.parametrize("samples", [1, 300, 20_000])
def test_a_sound_that_is_cut_off_fades_out_within_10_ms(generator: Generator, samples: int) -> None:
    grid = np.random.default_rng(0).integers(0, generator.codec.codebook_size, (5, 8, 2))
    made = np.concatenate(list(waveform_blocks(generator, grid, samples)))
    whole = np.concatenate(list(waveform_blocks(generator, grid, 10**9)))[:samples]
    fade = min(480, samples)
    assert len(made) == samples
    assert np.array_equal(made[:-fade], whole[:-fade])
    gains = made[-fade:] / whole[-fade:]
    assert (np.diff(gains) < 0).all()
    assert 0 < gains[-1] <= (np.pi / 2 / (fade + 1)) ** 2 * 1.01


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
        ({"seconds": 1.0, "device": "abacus"}, "device abacus is not available"),
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


def test_a_silent_sound_is_drawn_again_as_its_seed_says(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    def grids(seeds: list[int]) -> dict[int, np.ndarray]:
        return dict(sample_grids(generator, seeds, 20_000, config=None, natural=False))

    monkeypatch.setattr("distill.generation.generator.is_audible", lambda codec, grid: True)
    before = grids([5, 6, 7])
    monkeypatch.setattr(
        "distill.generation.generator.is_audible", lambda codec, grid: not np.array_equal(grid, before[6])
    )
    after = grids([5, 6, 7])
    assert not np.array_equal(after[6], before[6])
    assert np.array_equal(after[6], grids([6])[6])
    assert all(np.array_equal(after[seed], before[seed]) for seed in (5, 7))
    # A model that knows nothing but silence is no reason to wait forever.
    monkeypatch.setattr("distill.generation.generator.is_audible", lambda codec, grid: False)
    assert len(grids([5])) == 1
