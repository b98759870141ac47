"""Variations of a sound, and what lies between two."""

import json
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from command_util import Command
from distill.audio.loudness import loudest_lufs
from distill.audio.samples import to_mono
from distill.audio.sound import read_sound
from distill.codec.codec import normalize
from distill.errors import UsageError
from distill.generation.generator import Generator
from distill.generation.remaking import remake
from distill.generation.sound_request import Request
from distill.generation.variation import between, cells_to_keep, free_cells, morph_sound, vary_codes, vary_sound
from distill.generation.writing import Destination, morph, produce
from model_example import write_example
from registry_util import make_folder
from sounds_util import noise as noise_at
from sounds_util import save as save_at
from sounds_util import tone as tone_at

RATE = 48_000
noise, tone, save = partial(noise_at, rate=RATE), partial(tone_at, rate=RATE), partial(save_at, rate=RATE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(make_folder(tmp_path_factory.mktemp("project") / "project") / "models" / "bells.distill")


@pytest.fixture(scope="module")
def generator(model: Path) -> Generator:
    return Generator.load(model)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    decay = np.exp(-4 * np.arange(48_000) / 48_000).astype(np.float32)
    return save(tmp_path_factory.mktemp("given") / "kick.wav", (tone(1.0, 220) + noise(1.0)) * decay)


def test_strength_tells_how_much_is_new(generator: Generator, sound: Path) -> None:
    grid = generator.codec.encode(normalize(to_mono(read_sound(sound), 48_000)).samples)
    levels = grid.shape[2]
    assert np.array_equal(vary_codes(generator.prior, grid, strength=0.0, seed=1), grid)
    finest = vary_codes(generator.prior, grid, strength=1 / levels, seed=1)
    assert np.array_equal(finest[..., :-1], grid[..., :-1])
    assert (finest[..., -1] != grid[..., -1]).mean() > 0.5
    # With a seed what is new at one strength may be new at any higher one, and nothing else has been before.
    free = [free_cells(grid.shape, strength, 1) for strength in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)]
    assert not free[0].any()
    assert free[-1].all()
    assert all((less <= more).all() and less.sum() < more.sum() for less, more in pairwise(free))
    for cells, strength in zip(free, (0.0, 0.1, 0.3, 0.5, 0.7, 0.9), strict=False):
        new = vary_codes(generator.prior, grid, strength=strength, seed=1)
        assert np.array_equal(new[~cells], grid[~cells])


def test_variations_go_farther_with_strength(trained: Path) -> None:
    generator, sound = Generator.load(trained / "models" / "tiny.distill"), read_sound(trained / "in" / "tone3.wav")
    middle = [
        median(vary_sound(generator, sound, strength=strength, seed=seed)[1] for seed in range(7))
        for strength in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert middle[0] == 0.0
    assert all(less < more for less, more in pairwise(middle)), middle


def test_all_of_it_anew_is_a_new_sound(model: Path, sound: Path, tmp_path: Path) -> None:
    [whole] = produce(model, Request(action="vary", strength=1.0), Destination(tmp_path / "vary"), source=sound, seed=3)
    seconds = read_sound(sound).seconds
    [new] = produce(model, Request(seconds=seconds, natural=True), Destination(tmp_path / "new"), seed=3)
    assert np.array_equal(whole.codes, new.codes[: len(whole.codes)])


def test_what_shall_stay_stays(generator: Generator, sound: Path) -> None:
    samples = np.concatenate([to_mono(read_sound(sound), 48_000)] * 2)
    log_mel = generator.codec.log_mel(normalize(samples).samples)
    grid = generator.codec.encode_log_mel(log_mel)
    kept = cells_to_keep(log_mel, grid, generator.codec.spectrogram, "attack")
    begins = np.flatnonzero(kept.all((1, 2)))
    # It begins at 0 s and at 1 s; a column lasts 171 ms.
    assert begins[0] == 0
    assert 5 in begins
    assert len(begins) <= 4
    new = vary_codes(generator.prior, grid, strength=1.0, seed=1, kept=kept)
    assert np.array_equal(new[kept], grid[kept])
    assert (new != grid).any()
    structure = cells_to_keep(log_mel, grid, generator.codec.spectrogram, "structure")
    assert structure[..., 0].all()
    assert not structure[..., 1:].any()


def test_a_variation_has_the_level_and_length_of_its_sound_and_is_made_again(
    model: Path, tmp_path: Path, sound: Path
) -> None:
    [written] = produce(model, Request(action="vary", strength=0.3), Destination(tmp_path), source=sound, seed=4)
    assert abs(written.seconds - read_sound(sound).seconds) < 1e-4
    for samples in (8191, 8192, 7681, 20_000):
        odd = save(tmp_path / f"{samples}.wav", noise(1.0)[:samples])
        [varied_one] = produce(model, Request(action="vary", strength=0.3), Destination(tmp_path), source=odd, seed=4)
        assert varied_one.exported.frames == samples
    assert written.sidecar is not None
    said = json.loads(written.sidecar.read_text())
    assert said["request"]["strength"] == 0.3
    assert said["got"]["distance"] > 0
    assert remake(written.sidecar, folder=tmp_path / "again").identical


def test_between_two_sounds_lie_both_and_what_changes_from_one_to_the_other(generator: Generator) -> None:
    codec = generator.codec
    first, other = codec.encode(tone(1.0, 220)), codec.encode(noise(0.4))
    assert np.array_equal(between(codec, first, other, 0.0), first)
    assert np.array_equal(between(codec, first, other, 1.0), other)
    shares = [float((between(codec, first, other, weight)[: len(other)] == other).mean()) for weight in (0.1, 0.5, 0.9)]
    assert shares[0] <= shares[1] <= shares[2]
    assert shares[0] < shares[2]


def test_a_series_goes_from_one_sound_to_the_other(model: Path, sound: Path, tmp_path: Path) -> None:
    short = save(tmp_path / "hat.wav", noise(0.25))
    made = list(morph(model, sound, short, Destination(tmp_path / "out"), steps=4))
    assert [each.path.name for each in made] == [f"kick_hat_{number:02d}.wav" for number in range(1, 5)]
    lengths = [each.seconds for each in made]
    assert lengths == sorted(lengths, reverse=True)
    assert (round(lengths[0], 2), round(lengths[-1], 2)) == (1.0, 0.25)
    for each in made:
        assert each.sidecar is not None
        assert remake(each.sidecar, folder=tmp_path / "again").identical
    on = list(morph(model, short, sound, Destination(tmp_path / "inner"), steps=2, ends=False, first=3))
    assert [each.path.name for each in on] == ["hat_kick_03.wav", "hat_kick_04.wav"]
    inner = list(morph(model, sound, short, Destination(tmp_path / "inner"), steps=2, ends=False))
    assert [round(each.seconds, 2) for each in inner] == [0.75, 0.5]


def test_the_commands_vary_and_morph(model: Path, sound: Path, distill: Command, tmp_path: Path) -> None:
    project = model.parents[1]
    done = distill(
        "vary", str(sound), "-n", "2", "--strength", "0.4", "--keep", "attack", "-o", str(tmp_path / "out"),
        "--project", str(project), "--json",
    )  # fmt: skip
    made = json.loads(done.out)["sounds"]
    assert len(made) == 2
    # One that the model made says which model that was.
    again = distill(
        "vary", made[0]["path"], "-n", "1", "-o", str(tmp_path / "more"), "--project", str(tmp_path), "--json"
    )
    assert json.loads(again.out)["sounds"][0]["distance"] > 0
    other = save(tmp_path / "hat.wav", noise(0.25))
    series = distill("morph", str(sound), str(other), "--steps", "3", "-m", str(model), "-o", str(tmp_path / "series"))
    assert len(series.paths) == 3
    words = ("morph", str(sound), str(other), "--steps", "3", "-m", str(model), "-o", str(tmp_path / "series"))
    assert "exists: choose another folder, or replace it" in distill(*words, code=1).err


def test_what_cannot_be_varied_is_one_line(model: Path, sound: Path, distill: Command, tmp_path: Path) -> None:
    silent = save(tmp_path / "silent.wav", np.zeros(4800, np.float32))
    elsewhere = ("--project", str(tmp_path))
    for arguments, words, code in (
        (("vary", str(sound), "--strength", "2", "-m", str(model)), "--strength", 2),
        (("vary", str(sound), "--keep", "tail", "-m", str(model)), "expected attack or structure", 2),
        (("vary", str(sound), *elsewhere), "name a model with --model: there is none", 2),
        (("vary", str(sound), "--strength", "0", "-n", "2", "-m", str(model)), "would be the same", 2),
        (("vary", str(silent), "-m", str(model)), "silent", 1),
        (("vary", str(tmp_path / "gone.wav"), "-m", str(model)), "gone.wav", 1),
        (("morph", str(sound), str(sound), "--steps", "1", "-m", str(model)), "--steps", 2),
        (("morph", str(sound), str(silent), "-m", str(model)), "silent", 1),
    ):
        refused = distill(*arguments, "-o", str(tmp_path / "none"), code=code)
        assert words in refused.err, refused.err
        assert "Traceback" not in refused.err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"action": "vary"},
        {"action": "generate", "seconds": 1.0, "strength": 0.5},
        {"action": "generate", "seconds": 1.0, "keep": "attack"},
        {"action": "morph"},
        {"action": "morph", "weight": 0.5, "seconds": 1.0},
        {"action": "vary", "strength": 0.5, "natural": True},
    ],
)
def test_settings_that_do_not_belong_together_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"strength|keep|weight|whole"):
        Request.model_validate(settings)


def test_a_series_of_one_is_refused(model: Path, sound: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 to 99"):
        morph(model, sound, sound, Destination(tmp_path), steps=1)


def test_variations_and_series_are_as_loud_as_their_sounds(trained: Path) -> None:
    generator = Generator.load(trained / "models" / "tiny.distill")
    # So little training gives soft sounds, which are not raised by more than 24 dB.
    first, soft = (
        replace(found, samples=share * found.samples)
        for name, share in (("tone3.wav", 0.02), ("noise3.wav", 0.004))
        for found in (read_sound(trained / "in" / name),)
    )

    def lufs(samples: np.ndarray) -> float:
        return loudest_lufs([samples.reshape(-1, 1)], RATE)

    for strength in (0.0, 0.3, 0.9):
        made, _ = vary_sound(generator, first, strength=strength, seed=2)
        assert lufs(made.samples) == pytest.approx(lufs(first.samples), abs=0.1)
    middle = morph_sound(generator, first, soft, weight=0.5)
    assert lufs(middle.samples) == pytest.approx((lufs(first.samples) + lufs(soft.samples)) / 2, abs=0.1)
