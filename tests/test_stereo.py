"""Stereo sounds made: what goes on with given ones, variations, series, loops, commands, Python, the served model."""

import base64
import io
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from space_util import (
    RATE,
    stereo_codec,
    stereo_generator,
    stereo_model,
    stereo_sound,
    write_stereo,
)

from command_util import Command
from distill.api import load
from distill.artifact.model_file import read_model, write_model
from distill.audio.sound import Sound
from distill.codec.codec import Codec
from distill.codes.sound import encode_sound
from distill.configs import Inverse
from distill.errors import ArtifactError
from distill.generation.continuation import continue_sound, fill_sound
from distill.generation.generator import Generator
from distill.generation.loops import with_space_around
from distill.generation.sound_request import request_of
from distill.generation.sounds import new_sounds
from distill.generation.variation import between, morph_sound, vary_sound
from distill.models.space import distances
from distill.models.vocoder import Vocoder
from model_example import BANDS, LEVELS, SIZE
from sounds_util import save, tone

SPACE = LEVELS


def test_the_place_of_a_loop_moves_no_more_at_its_join_than_within() -> None:
    codec = stereo_codec()
    assert codec.space is not None
    joins, within = list[float](), list[float]()
    for seed in range(20):
        grid = np.random.default_rng(seed).integers(0, SIZE, (8, BANDS, LEVELS))
        around = with_space_around(codec, grid, seed=seed)
        assert np.array_equal(around[..., :-1], grid)
        assert np.array_equal(around, with_space_around(codec, grid, seed=seed))
        cells = codec.space.cells(np.concatenate([around, around[:1]])[..., -1])
        moves = distances(cells[:-1, :, -1:], cells[1:, :, :1]).mean(1)
        joins.append(float(moves[-1]))
        within += moves[:-1].tolist()
    assert np.mean(joins) < np.mean(within)


def test_damaged_numbers_of_a_space_are_told(tmp_path: Path) -> None:
    path = write_stereo(tmp_path / "bells.distill")
    model = read_model(path)
    state = dict(model.space_state or {})
    state["entries"] = torch.full_like(state["entries"], torch.nan)
    write_model(path, model.manifest, model.vqvae_state, model.prior_state, space_state=state)
    with pytest.raises(ArtifactError, match=r"space\.entries is not finite"):
        Generator.load(path)


def test_a_served_model_takes_channels_and_width(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        # MLflow has opinions on type hints.
        warnings.simplefilter("ignore")
        from distill.registry.served import ServedModel

    served = ServedModel()
    served.generator = Generator.load(write_stereo(tmp_path / "bells.distill"))
    rows = pd.DataFrame(
        [
            {"seed": 0, "seconds": 0.4, "channels": channels, "width": width}
            for channels, width in ((None, None), (2, 0.0), (1, None), (2, 1.0))
        ]
    )
    made = []
    for audio in served.predict(None, rows)["audio"]:
        samples, _ = soundfile.read(io.BytesIO(base64.b64decode(audio)), always_2d=True)
        made.append(samples)
    assert [samples.shape[1] for samples in made] == [2, 2, 1, 2]
    assert np.array_equal(made[0], made[3])
    assert np.array_equal(made[1][:, 0], made[1][:, 1])
    assert not np.array_equal(made[0][:, 0], made[0][:, 1])


@pytest.mark.parametrize("at", [0.5, -1.0])
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_what_goes_on_with_a_stereo_sound_leaves_it_as_it_is(at: float, rate: int) -> None:
    given = stereo_sound(0.8, at, rate)
    made = continue_sound(stereo_generator(), given, seconds=0.5, seed=1, width=1.0)
    length = given.samples.shape[1]
    assert np.array_equal(made.samples[:, :length], given.samples)
    new = made.samples[:, length:]
    assert not np.allclose(new[0], new[1])
    assert made.grid.shape[2] == LEVELS + 1
    # No click where the new begins: no step beyond those of the sound itself.
    steps = np.abs(np.diff(made.samples, axis=1))
    assert steps[:, length - 1].max() <= 1.5 * steps.max(axis=1).max()
    alike = continue_sound(stereo_generator(), given, seconds=0.5, seed=1).samples[:, length + 2000 :]
    assert np.allclose(alike[0], alike[1], atol=1e-6)
    assert np.array_equal(
        made.samples, continue_sound(stereo_generator(), given, seconds=0.5, seed=1, width=1.0).samples
    )


def test_a_part_of_a_stereo_sound_is_filled_in_stereo() -> None:
    given = stereo_sound(1.2)
    made = fill_sound(stereo_generator(), given, start=0.4, end=0.7, seed=1, width=1.0)
    changed = np.flatnonzero((made.samples != given.samples).any(0))
    column = 8192 / RATE
    assert changed.min() >= int(0.4 // column * column * given.sample_rate) - 1
    assert changed.max() <= np.ceil(0.7 / column) * column * given.sample_rate + 1
    part = made.samples[:, changed.min() : changed.max()]
    assert not np.allclose(part[0], part[1])


def test_only_the_space_of_a_part_can_be_renewed() -> None:
    given, generator = stereo_sound(1.2), stereo_generator()
    before = encode_sound(stereo_model(), given, "given")
    made = fill_sound(generator, given, start=0.4, end=0.7, seed=3, levels=(SPACE,), width=1.0)
    assert np.array_equal(made.grid[..., :SPACE], before.codes[..., :SPACE])
    assert not np.array_equal(made.grid[..., SPACE], before.codes[..., SPACE])


def test_channels_that_cancel_go_on_cancelling() -> None:
    left = tone(0.8, 300)
    given = Sound(np.stack([left, -0.8 * left]), 44_100, "FLOAT", "WAV")
    made = continue_sound(stereo_generator(), given, seconds=0.4, seed=2, width=0.0)
    new = made.samples[:, given.samples.shape[1] + 2000 :]
    assert np.array_equal(made.samples[:, : given.samples.shape[1]], given.samples)
    assert np.allclose(new[0], -new[1], atol=1e-6)


@pytest.mark.parametrize("inverse", ["vocoder", "vocoder+griffin-lim"])
def test_a_vocoder_makes_the_mix_and_no_second_phase(inverse: Inverse) -> None:
    plain = stereo_codec()
    torch.manual_seed(0)
    vocoder = Vocoder(16, 1, spectrogram=plain.spectrogram)
    codec = Codec(plain.vqvae, plain.spectrogram, inverse=inverse, vocoder=vocoder, space=plain.space)
    generator = replace(stereo_generator(), codec=codec)
    found = []
    for channels in (1, 2):
        [(_, made)] = new_sounds(generator, request_of({"seconds": 0.6, "channels": channels}), None, [3])
        found.append(np.concatenate(list(made.blocks)))
    mono, stereo = found
    assert np.allclose(stereo.sum(1), 2 * mono, atol=1e-5 * np.abs(mono).max())
    assert not np.allclose(stereo[:, 0], stereo[:, 1])


def test_variations_leave_the_place_at_strength_0_and_draw_it_anew_at_1() -> None:
    generator, given = stereo_generator(), stereo_sound(1.0)
    space = encode_sound(stereo_model(), given, "given").codes[..., SPACE]
    shares = []
    for strength in (0.0, 0.3, 0.7, 1.0):
        made, _ = vary_sound(generator, given, strength=strength, seed=5, width=1.0)
        assert made.samples.ndim == 2
        both = min(len(space), len(made.grid))
        shares.append(float((made.grid[:both, :, SPACE] != space[:both]).mean()))
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert shares[-1] > 0.5
    assert vary_sound(generator, given, strength=0.3, seed=5)[0].samples.ndim == 1


def test_a_variation_of_strength_1_may_be_a_column_longer_than_the_codes_of_its_sound() -> None:
    generator, hop = stereo_generator(), stereo_codec().spectrogram.hop_length
    # Its last frame completes a column of the codec, and more samples than that need another column.
    given = stereo_sound((31 * hop + hop // 2) / RATE, rate=RATE)
    lengths = {len(vary_sound(generator, given, strength=1.0, seed=seed, width=1.0)[0].grid) for seed in range(6)}
    assert max(lengths) == 3
    assert len(encode_sound(stereo_model(), given, "given")) == 2


def test_a_series_moves_from_one_place_to_the_other(tmp_path: Path) -> None:
    generator, codec = stereo_generator(), stereo_codec()
    assert codec.space is not None
    first, last = stereo_sound(0.6, -0.9), stereo_sound(0.6, 0.9)
    levels = []
    for weight in (0.0, 0.25, 0.5, 0.75, 1.0):
        grid = morph_sound(generator, first, last, weight=weight, width=1.0).grid
        levels.append(float(codec.space.cells(grid[..., SPACE])[..., 0].mean()))
    assert levels == sorted(levels)
    grids = [codec.whole(np.zeros((n, BANDS, LEVELS), np.int64), np.full((n, BANDS), n)) for n in (2, 4)]
    assert between(codec, *grids, 0.5).shape == (4, BANDS, LEVELS + 1)


def test_the_python_interface_takes_and_gives_two_channels(tmp_path: Path) -> None:
    model = load(write_stereo(tmp_path / "bells.distill"), project=tmp_path)
    [made] = model.generate(seconds=0.5, natural=False)
    assert made.samples.shape[0] == 2
    assert model.generate(seconds=0.5, natural=False, channels=1)[0].samples.ndim == 1
    given = stereo_sound()
    codes = model.encode(given.samples, given.sample_rate)
    assert codes.shape[2] == LEVELS + 1
    assert model.decode(codes).shape[0] == 2
    assert model.decode(codes[..., :LEVELS]).ndim == 1
    [vary_codes] = model.vary(given.samples, given.sample_rate)
    assert vary_codes.samples.ndim == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--channels", "2"], "omit channels and width"),
        (["--width", "0.5"], "makes mono sounds"),
        (["--channels", "1", "--width", "0.5"], "one channel has no width"),
        (["--width", "1.6"], "less than or equal to 1.5"),
        (["--channels", "3"], "less than or equal to 2"),
    ],
)
def test_what_a_mono_model_cannot_do_is_said_in_one_line(
    trained: Path, tmp_path: Path, distill: Command, options: list[str], said: str
) -> None:
    model = str(trained / "models" / "tiny.distill")
    done = distill("generate", model, *options, "-o", str(tmp_path / "out"), code=2)
    assert said in " ".join(done.err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_commands_make_stereo_sounds(tmp_path: Path, distill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_stereo(tmp_path / "bells.distill")
    given = stereo_sound()
    save(tmp_path / "in.wav", given.samples.T)
    save(tmp_path / "other.wav", stereo_sound(0.6, -0.5).samples.T)
    made: dict[str, Any] = {}
    for name, command in {
        "new": ["generate", "bells.distill", "-d", "0.5", "--chain"],
        "mono": ["generate", "bells.distill", "-d", "0.5", "--chain", "--channels", "1", "-o", "mono"],
        "vary": ["vary", "in.wav", "-m", "bells.distill", "-n", "1"],
        "morph": ["morph", "in.wav", "other.wav", "-m", "bells.distill", "--steps", "2", "--width", "0.5"],
        "continue": ["generate", "bells.distill", "--continue", "in.wav", "-d", "0.3"],
        "fill": ["generate", "bells.distill", "--fill", "0.1:0.4", "--file", "in.wav", "--levels", "Space"],
    }.items():
        done = distill(*command, "--json")
        assert done.code == 0, done.err
        made[name] = [soundfile.info(each["path"]).channels for each in json.loads(done.out)["sounds"]]
    assert made == {"new": [2], "mono": [1], "vary": [2], "morph": [2, 2], "continue": [2], "fill": [2]}
    assert distill("encode", "bells.distill", "in.wav", "-o", "g.json").code == 0
    for options, channels in (([], 2), (["--channels", "1"], 1), (["--levels", "0,Space"], 2), (["--levels", "0"], 1)):
        assert distill("decode", "bells.distill", "g.json", "-o", "d.wav", "--force", *options).code == 0
        assert soundfile.info("d.wav").channels == channels
    for options in (["--channels", "2", "--levels", "0"], ["--channels", "1", "--width", "0.5"]):
        assert "channel" in distill("decode", "bells.distill", "g.json", "-o", "e.wav", *options, code=2).err
    preview = ("codes", "preview", "bells.distill")
    for options, channels in (([], 2), (["--channels", "1"], 1), (["--width", "0"], 2)):
        assert distill(*preview, "g.json", "-o", "p.wav", "--force", *options).code == 0
        assert soundfile.info("p.wav").channels == channels
    left, right = soundfile.read("p.wav")[0].T
    assert np.array_equal(left, right)
    assert "is mono" in distill(*preview, "g.json", "-o", "e.wav", "--channels", "2", "--levels", "0", code=2).err
    assert "name a grid" in distill(*preview, "-o", "e", "--channels", "1", code=2).err
    save(tmp_path / "mono.wav", given.samples[0])
    refused = distill("generate", "bells.distill", "--continue", "mono.wav", "--width", "0.5", code=2)
    assert "is not stereo" in refused.err
    done = distill("kit", "bells.distill", "-o", "Kit", "--pads", "2", "--round-robin", "2", "-d", "0.5")
    assert done.code == 0, done.err
    assert {soundfile.info(str(path)).channels for path in (tmp_path / "Kit").glob("*.wav")} == {2}
