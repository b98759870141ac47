"""Durations in bars, and sounds that go round."""

import json
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from command_util import Command
from distill.audio.sound import read_sound
from distill.configs import STRIDE
from distill.dataset.scan import scan
from distill.dataset.tempo import in_words, tempo_of, tempos
from distill.generation import loops
from distill.generation.export import ExportSettings
from distill.generation.generator import Generator
from distill.generation.loops import close_loop, loop_waveform
from distill.generation.remaking import remake
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from model_example import write_example
from sounds_util import noise as noise_at
from sounds_util import save as save_at

RATE = 48_000
noise, save = partial(noise_at, rate=RATE), partial(save_at, rate=RATE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("model") / "bells.distill")


@pytest.fixture(scope="module")
def generator(model: Path) -> Generator:
    return Generator.load(model)


def chunks(path: Path) -> dict[bytes, bytes]:
    data, found, at = path.read_bytes(), {}, 12
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found[data[at : at + 4]] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return found


@pytest.mark.parametrize(("bpm", "bars", "rate"), [(120, 1, None), (133, 1, None), (97, 2, 44_100), (174.5, 1, 96_000)])
def test_bars_are_exact_to_the_sample(model: Path, tmp_path: Path, bpm: float, bars: int, rate: int | None) -> None:
    for loop in (False, True):
        request = Request(bpm=bpm, bars=bars, loop=loop, finish=True)
        place = Destination(tmp_path / f"{loop}", ExportSettings(sample_rate=rate))
        [written] = produce(model, request, place)
        assert written.exported.frames == round((rate or 48_000) * 240 * bars / bpm)
        assert soundfile.info(str(written.path)).frames == written.exported.frames
        assert written.sidecar is not None
        assert remake(written.sidecar, folder=tmp_path / "again").identical
        (tmp_path / "again" / written.path.name).unlink()
        (tmp_path / "again" / written.sidecar.name).unlink()


def test_a_loop_says_so_in_its_file(model: Path, tmp_path: Path) -> None:
    [written] = produce(model, Request(bpm=100, bars=1, loop=True, finish=True), Destination(tmp_path))
    found = chunks(written.path)
    smpl = struct.unpack("<9I6I", found[b"smpl"])
    assert (smpl[2], smpl[7], smpl[11], smpl[12]) == (round(1e9 / 48_000), 1, 0, written.exported.frames - 1)
    flags, note, _, _, beats, _, meter, tempo = struct.unpack("<IHHfIHHf", found[b"acid"])
    assert (flags & 1, note, beats, meter, tempo) == (0, 60, 4, 4, 100.0)
    [plain] = produce(model, Request(seconds=1.0, loop=True, finish=True), Destination(tmp_path, force=True), seed=9)
    assert b"smpl" in chunks(plain.path)
    assert b"acid" not in chunks(plain.path)
    assert len(read_sound(plain.path).samples[0]) == 48_000


def test_a_loop_goes_round_as_it_goes_on_anywhere(generator: Generator) -> None:
    codec = generator.codec
    grid = codec.encode(noise(2.0))
    whole = loop_waveform(codec, grid, 96_000, 96_000)
    assert whole.shape == (96_000,)
    steps = np.abs(np.diff(np.concatenate([whole, whole[:1]])))
    assert steps[-1] <= np.quantile(steps, 0.999)
    # No column is the first: from another one on the decoder gives the same, turned.
    turned = loops._log_mel(codec, np.roll(grid, -3, axis=0))
    assert np.allclose(np.roll(turned, 3 * STRIDE, axis=1), loops._log_mel(codec, grid), atol=1e-4)


def test_closing_changes_the_last_column_alone(generator: Generator) -> None:
    grid = generator.codec.encode(noise(2.0))
    done = close_loop(generator, grid, seed=2)
    assert np.array_equal(done[:-1], grid[:-1])
    assert np.array_equal(close_loop(generator, grid, seed=2), done)
    assert np.array_equal(close_loop(generator, grid[:2], seed=2), grid[:2])
    for columns in (3, 4):
        short = close_loop(generator, grid[:columns], seed=2)
        assert np.array_equal(short[:-1], grid[: columns - 1])


def test_closing_takes_what_rises_least_at_the_join(generator: Generator) -> None:
    def rise(grid: np.ndarray) -> float:
        """The greatest rise of the decoded spectrogram within the last column and at its borders."""
        around = loops._log_mel(generator.codec, np.roll(grid, 3, axis=0))
        rises = np.diff(around, axis=1).clip(min=0).mean(0)
        return float(rises[2 * STRIDE - 2 : 3 * STRIDE + 2].max())

    chosen = np.random.default_rng(0).integers(0, generator.codec.codebook_size, (8, 12, *closed_shape(generator)))
    before, after = zip(*((rise(grid), rise(close_loop(generator, grid, seed=1))) for grid in chosen), strict=True)
    assert all(new <= old + 1e-4 for old, new in zip(before, after, strict=True))
    assert sum(after) < sum(before)


def closed_shape(generator: Generator) -> tuple[int, int]:
    return generator.codec.bands, generator.codec.levels


def test_the_command_makes_loops_and_refuses(model: Path, distill: Command, tmp_path: Path) -> None:
    done = distill(
        "generate", str(model), "--bpm", "120", "--bars", "1", "--loop", "-o", str(tmp_path / "out"), "--json"
    )
    [made] = json.loads(done.out)["sounds"]
    assert made["seconds"] == 2.0
    for arguments, words in (
        (("--bpm", "120"), "--bpm and --bars belong together"),
        (("--bars", "0", "--bpm", "120"), "--bars"),
        (("--bars", "2", "--bpm", "120", "-d", "3"), "omit --duration"),
        (("--loop", "--natural"), "--natural does not work with"),
        (("--loop", "-d", "400"), "a loop has at most 300 s"),
    ):
        refused = distill("generate", str(model), *arguments, "-o", str(tmp_path / "none"), code=2)
        assert words in refused.err, refused.err
        assert "Traceback" not in refused.err
    assert not (tmp_path / "none").exists()


def test_the_tempo_of_loops_is_told_by_name_or_length(tmp_path: Path, distill: Command) -> None:
    assert tempo_of("90 BPM groove.wav", 3.0, 44_100) is not None
    assert tempo_of("bpm-128 a.wav", 1.0, 44_100) is not None
    named = tempo_of("funk_120_a.wav", 4.0, 44_100)
    assert named is not None
    assert (named.bpm, named.bars, named.named) == (120.0, 2, True)
    # A number that the length does not bear out counts files.
    assert tempo_of("take_120.wav", 3.3, 44_100) is None
    assert tempo_of("1200bpm.wav", 3.3, 44_100) is None
    save(tmp_path / "in" / "a_100bpm.wav", noise(2.4))
    save(tmp_path / "in" / "b.wav", noise(2.0, seed=1))
    save(tmp_path / "in" / "c.wav", noise(0.7, seed=2))
    found = tempos(scan(tmp_path / "in"))
    assert {name: (each.bpm, each.bars) for name, each in found.items()} == {
        "a_100bpm.wav": (100.0, 1),
        "b.wav": (120.0, 1),
    }
    assert in_words(list(found.values())) == (
        "2 at 100 to 120, median 110 bpm (1 by name, 1 by a length of whole bars)"
    )
    shown = distill("dataset", "check", str(tmp_path / "in")).out
    assert "Tempo: 2 at 100 to 120" in shown
