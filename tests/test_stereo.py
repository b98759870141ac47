"""Stereo from one end to the other: stereo sounds learned from, drawn, gone on with, edited, written and checked."""

import base64
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from space_util import RATE, panned, stereo_codec, stereo_generator, stereo_model, write_stereo

from command_util import Command
from distill.api import load
from distill.artifact.model_file import read_manifest, read_model, write_model
from distill.artifact.prior_file import read_prior
from distill.audio.mel import MelTransform
from distill.audio.sound import Sound, read_sound, resample
from distill.audio.space import MONO, space_of_sound
from distill.codec.codec import Codec
from distill.codec.load import build_networks
from distill.codes.blend import blend
from distill.codes.edits import Freeze, SetCode
from distill.codes.exchange import overlap
from distill.codes.file import read_grid, write_grid
from distill.codes.grid import CodeGrid, Source
from distill.codes.hearing import Entry, hear, hear_entries
from distill.codes.history import History
from distill.codes.model import CodesModel
from distill.codes.randomize import randomize
from distill.codes.selection import Selection
from distill.codes.session import EditSession
from distill.codes.sound import as_source, decode, encode_sound, round_trip
from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset.prepare import prepare
from distill.dataset.scan import scan
from distill.dataset.store import PreparedDataset
from distill.errors import ArtifactError, Interrupted
from distill.generation.given import continue_sound, fill_sound
from distill.generation.loops import placed_around
from distill.generation.making import new_sounds
from distill.generation.production import Destination, produce, remake
from distill.generation.render import Generator
from distill.generation.request import Request, request_of
from distill.generation.variation import between, morph_sound, vary_sound
from distill.live.events import Event, Listeners, Progress
from distill.live.stopping import StopRequest
from distill.memorization.compare import compare
from distill.memorization.of_model import Asked, DatasetSounds, findings_of, in_channel
from distill.memorization.sounds import CheckedSound, Silence
from distill.memorization.verdict import judge
from distill.models.space import distances
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace, read_report
from model_example import BANDS, LEVELS, SIZE
from pipeline_util import bytes_of, make_workspace, run
from sounds_util import noise, save, tone

CONFIG = SpectrogramConfig()
PLAIN = DataConfig(speed_semitones=())
SPACE = LEVELS


def _sound(seconds: float = 0.8, at: float = 0.5, rate: int = 44_100) -> Sound:
    samples = panned(tone(seconds, 300, rate), at) + panned(noise(seconds, 1, rate, 0.1), -at)
    return Sound(np.ascontiguousarray(samples.T), rate, "FLOAT", "WAV")


def _grid(columns: int = 6, seed: int = 0) -> CodeGrid:
    codes = np.random.default_rng(seed).integers(0, SIZE, (columns, BANDS, LEVELS + 1))
    return stereo_model().grid(codes, Source(f"{seed}.wav", columns * 8192 / RATE, -3.5))


def _stereo_folder(folder: Path) -> Path:
    """Six sounds hard left or right, four wide ones, and two mono ones."""
    fade = np.linspace(1, 0, round(0.4 * RATE), dtype=np.float32)
    for number in range(6):
        save(folder / f"tone{number}.wav", panned(tone(0.4, 150 * 1.4**number, RATE), (-1) ** number), RATE)
    for number in range(4):
        mid, side = (noise(0.4, seed, RATE) * fade for seed in (number, 10 + number))
        save(folder / f"wide{number}.wav", np.stack([mid + 0.5 * side, mid - 0.5 * side], axis=1), RATE)
    for number in range(2):
        save(folder / f"mono{number}.wav", noise(0.4, 20 + number, RATE) * fade, RATE)
    return folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model that was trained on stereo sounds by the pipeline's stages."""
    root = tmp_path_factory.mktemp("stereo")
    workspace = make_workspace(root, data={"path": str(_stereo_folder(root / "in"))})
    run(workspace, "prepare", "configure", "train_vqvae", "train_prior")
    run(workspace, "check_memorization", "train_vocoder", "register")
    return workspace


def _model(workspace: Workspace) -> Path:
    return workspace.model("tiny")


def test_prepared_spaces_are_those_of_the_sounds_and_of_their_copies(tmp_path: Path) -> None:
    folder = _stereo_folder(tmp_path / "in")
    summary = prepare(folder, tmp_path / "out", DataConfig(speed_semitones=(2.0,)), CONFIG, 0)
    assert summary.stereo is not None
    assert summary.stereo["sounds"] == 10
    dataset, transform = PreparedDataset(tmp_path / "out"), MelTransform(CONFIG)
    assert dataset.stereo
    for row, semitones in enumerate(dataset.segments["semitones"]):
        name, frames = dataset.segment_name(row), int(dataset.segments["frames"].iloc[row])
        samples = read_sound(folder / name).samples
        if len(samples) == 1:
            assert np.allclose(dataset.space(row), np.array(MONO))
            continue
        faster = [resample(np.ascontiguousarray(each), RATE * 2 ** (semitones / 12), RATE) for each in samples]
        channels = np.stack(faster) / np.abs(np.mean(faster, axis=0)).max()
        found, expected = dataset.space(row), space_of_sound(channels.astype(np.float32), transform)
        assert found.shape == (frames, 16, 2)
        apart = np.abs(found - expected[:frames])
        assert np.quantile(apart[..., 0], 0.95) < 0.1
        assert np.quantile(apart[..., 1], 0.95) < 0.01
        part = dataset.space(row, 3, 9)
        assert np.array_equal(part, found[3:9])


def test_a_folder_of_mono_sounds_keeps_no_trace_of_the_stereo_ones_before(tmp_path: Path) -> None:
    _stereo_folder(tmp_path / "stereo")
    for number in range(3):
        samples = tone(0.4, 200 * 1.3**number)
        save(tmp_path / "mono" / f"{number}.wav", samples)
        # The same in both channels.
        save(tmp_path / "alike" / f"{number}.wav", np.stack([samples, samples], axis=1))
    prepare(tmp_path / "mono", tmp_path / "first", PLAIN, CONFIG, 0)
    for source in ("stereo", "mono"):
        prepare(tmp_path / source, tmp_path / "second", PLAIN, CONFIG, 0)
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")
    assert "stereo" not in json.loads((tmp_path / "first" / "summary.json").read_text())
    prepare(tmp_path / "alike", tmp_path / "third", PLAIN, CONFIG, 0)
    mels = [(tmp_path / place / "mels.npy").read_bytes() for place in ("first", "third")]
    assert mels[0] == mels[1]
    assert not PreparedDataset(tmp_path / "third").stereo


@pytest.mark.parametrize("missing", ["space.json", "space.npy"])
def test_a_damaged_space_is_told_in_one_line(tmp_path: Path, missing: str) -> None:
    prepare(_stereo_folder(tmp_path / "in"), tmp_path / "out", PLAIN, CONFIG, 0)
    (tmp_path / "out" / missing).write_bytes(b"nothing")
    with pytest.raises(Exception, match=r"space\.npy is damaged"):
        PreparedDataset(tmp_path / "out").space(0)


def test_a_check_says_how_many_sounds_are_stereo_and_which_cancel(tmp_path: Path, distill: Command) -> None:
    folder = _stereo_folder(tmp_path / "in")
    save(folder / "cancels.wav", np.stack([tone(), -0.9 * tone()], axis=1))
    reports = {report.path: report for report in scan(folder)}
    assert reports["mono0.wav"].side_db is None
    assert reports["tone0.wav"].side_db == pytest.approx(0.0, abs=0.1)
    assert reports["wide0.wav"].side_db == pytest.approx(-6.0, abs=0.5)
    said = distill("dataset", "check", str(folder)).out
    assert "Stereo: 11 of 13 sounds" in " ".join(said.split())
    assert "channel 2, the softer, is turned over" in " ".join(said.split())


def test_a_model_of_stereo_sounds_makes_stereo_sounds(learned: Workspace, tmp_path: Path) -> None:
    report = read_report(learned, "train_prior")
    assert report["space"]["stereo_sounds"] == 10
    manifest = read_manifest(_model(learned))
    assert (manifest.minor, manifest.level_labels[-1]) == (3, "Space")
    assert manifest.space_metadata is not None
    assert "learned from 10 sounds" in _model(learned).with_suffix(".md").read_text()
    made = list(produce(_model(learned), Request(seconds=0.5), Destination(tmp_path), count=3))
    assert [each.exported.channels for each in made] == [2, 2, 2]
    assert all(each.codes.shape[2] == len(manifest.level_labels) for each in made)
    for each in made:
        assert each.sidecar is not None
        assert remake(each.sidecar, folder=tmp_path / "again", model=_model(learned)).identical
    # The same codes were drawn for the mix.
    mono = list(produce(_model(learned), Request(seconds=0.5, channels=1), Destination(tmp_path / "mono"), count=3))
    assert [each.exported.channels for each in mono] == [1, 1, 1]
    assert all(np.array_equal(one.codes, two.codes) for one, two in zip(made, mono, strict=True))


def test_left_and_right_add_up_to_twice_the_mono_sound(learned: Workspace) -> None:
    generator = Generator.load(_model(learned))
    for extra in ({}, {"natural": True}, {"loop": True, "bpm": 120.0, "bars": 1, "seconds": 2.0}):
        found = []
        for channels in (1, 2):
            request = request_of({"seconds": 0.6, "channels": channels, **extra})
            found.append(
                [np.concatenate(list(made.blocks)) for _, made in new_sounds(generator, request, None, [0, 1])]
            )
        for mono, stereo in zip(*found, strict=True):
            assert stereo.shape == (len(mono), 2)
            assert np.allclose(stereo.sum(1), 2 * mono, atol=2e-6)


def test_the_place_of_a_loop_moves_no_more_at_its_join_than_within() -> None:
    codec = stereo_codec()
    assert codec.space is not None
    joins, within = list[float](), list[float]()
    for seed in range(20):
        grid = np.random.default_rng(seed).integers(0, SIZE, (8, BANDS, LEVELS))
        around = placed_around(codec, grid, seed=seed)
        assert np.array_equal(around[..., :-1], grid)
        assert np.array_equal(around, placed_around(codec, grid, seed=seed))
        cells = codec.space.cells(np.concatenate([around, around[:1]])[..., -1])
        moves = distances(cells[:-1, :, -1:], cells[1:, :, :1]).mean(1)
        joins.append(float(moves[-1]))
        within += moves[:-1].tolist()
    assert np.mean(joins) < np.mean(within)


def test_without_width_both_channels_are_alike_and_with_more_they_differ_more(learned: Workspace) -> None:
    generator = Generator.load(_model(learned))
    sides = []
    for width in (0.0, 0.5, 1.0, 1.5):
        request = request_of({"seconds": 1.0, "width": width})
        made = [np.concatenate(list(made.blocks)) for _, made in new_sounds(generator, request, None, range(4))]
        sides.append([float(np.square(each[:, 0] - each[:, 1]).sum()) for each in made])
    powers = np.array(sides)
    assert not powers[0].any()
    assert powers[2].any()
    assert np.allclose(powers[1], 0.25 * powers[2], rtol=1e-3, atol=1e-9)
    assert np.allclose(powers[3], 2.25 * powers[2], rtol=1e-3, atol=1e-9)


def test_an_interrupted_training_learns_the_same_space(learned: Workspace, tmp_path: Path) -> None:
    again, stop = make_workspace(tmp_path, data={"path": str(learned.root / "in")}), StopRequest()
    run(again, "prepare", "configure", "train_vqvae")
    seen: list[int] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.unit == "steps of the space":
            seen.append(event.done)
            if event.done == 40:
                stop.ask()

    with pytest.raises(Interrupted):
        run_stage("train_prior", Call(again, Listeners([listen]), stop))
    assert seen[-1] in (40, 41)
    assert not again.prior.exists()
    run(again, "train_prior")
    assert again.prior.read_bytes() == learned.prior.read_bytes()


def test_a_space_is_learned_where_no_training_sound_is_stereo(tmp_path: Path) -> None:
    """Of the held-out sounds alone one has two channels that differ."""
    for number in range(9):
        save(tmp_path / "in" / f"{number}.wav", tone(0.4, 150 * 1.2**number))
    workspace = make_workspace(tmp_path, data={"path": str(tmp_path / "in")})
    run(workspace, "prepare")
    dataset = PreparedDataset(workspace.prepared)
    name = dataset.segment_name(dataset.segments_of("validation")[0])
    save(tmp_path / "in" / name, panned(tone(0.4, 300), 0.7))
    run(workspace, "prepare", "configure", "train_vqvae", "train_prior")
    space = read_prior(workspace.prior, vqvae_digest=read_model(workspace.vqvae).digest).space
    assert space is not None
    assert np.allclose(space.state["entries"].numpy(), np.array(MONO))


def test_a_long_sound_is_learned_from_to_its_end(tmp_path: Path) -> None:
    """What is mono for its first half minute lies to the right behind it."""
    mono = np.stack([noise(30.0, 1, 24_000)] * 2, axis=1)
    save(tmp_path / "in" / "long.wav", np.concatenate([mono, panned(noise(20.0, 2, 24_000), 0.9)]), 24_000)
    workspace = make_workspace(tmp_path, data={"path": str(tmp_path / "in"), "speed_semitones": []})
    run(workspace, "prepare", "configure", "train_vqvae", "train_prior")
    space = read_prior(workspace.prior, vqvae_digest=read_model(workspace.vqvae).digest).space
    assert space is not None
    assert float(space.state["entries"][..., 0].min()) < -10


@pytest.mark.parametrize("level", [0.1, 0.4, 0.9])
def test_the_same_in_both_channels_is_mono_whatever_the_level(tmp_path: Path, level: float) -> None:
    square = np.where(np.arange(20 * RATE) % 200 < 100, level, -level).astype(np.float32)
    save(tmp_path / "square.wav", np.stack([square, square], axis=1), RATE, subtype="FLOAT")
    [report] = scan(tmp_path)
    assert report.side_db is None


def test_any_number_of_threads_prepares_the_same_spaces(tmp_path: Path) -> None:
    folder = _stereo_folder(tmp_path / "in")
    for workers in (1, 4):
        prepare(folder, tmp_path / str(workers), DataConfig(speed_semitones=(-1.0, 2.0)), CONFIG, 0, workers=workers)
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "4")


def test_damaged_numbers_of_a_space_are_told(tmp_path: Path) -> None:
    path = write_stereo(tmp_path / "bells.distill")
    model = read_model(path)
    state = dict(model.space_state or {})
    state["entries"] = torch.full_like(state["entries"], torch.nan)
    write_model(path, model.manifest, model.vqvae_state, model.prior_state, space_state=state)
    with pytest.raises(ArtifactError, match=r"space\.entries is not finite"):
        Generator.load(path)


def test_a_sound_that_comes_from_a_grid_keeps_its_places() -> None:
    model, grid = stereo_model(), _grid()
    sound = Sound(as_source(model, grid, decode(model, grid)), RATE, "FLOAT", "WAV")
    again = encode_sound(model, sound, "again", like=grid).codes[: len(grid), :, SPACE]
    plain = encode_sound(model, sound, "again").codes[: len(grid), :, SPACE]
    before = grid.codes[..., SPACE]
    assert (again == before).mean() >= (plain == before).mean()


def test_a_served_model_takes_channels_and_width(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        # MLflow has opinions on type hints.
        warnings.simplefilter("ignore")
        from distill.library.served import ServedModel

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
    given = _sound(0.8, at, rate)
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
    given = _sound(1.2)
    made = fill_sound(stereo_generator(), given, start=0.4, end=0.7, seed=1, width=1.0)
    changed = np.flatnonzero((made.samples != given.samples).any(0))
    column = 8192 / RATE
    assert changed.min() >= int(0.4 // column * column * given.sample_rate) - 1
    assert changed.max() <= np.ceil(0.7 / column) * column * given.sample_rate + 1
    part = made.samples[:, changed.min() : changed.max()]
    assert not np.allclose(part[0], part[1])


def test_only_the_space_of_a_part_can_be_renewed() -> None:
    given, generator = _sound(1.2), stereo_generator()
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


def test_variations_leave_the_place_at_strength_0_and_draw_it_anew_at_1() -> None:
    generator, given = stereo_generator(), _sound(1.0)
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


def test_a_series_moves_from_one_place_to_the_other(tmp_path: Path) -> None:
    generator, codec = stereo_generator(), stereo_codec()
    assert codec.space is not None
    first, last = _sound(0.6, -0.9), _sound(0.6, 0.9)
    levels = []
    for weight in (0.0, 0.25, 0.5, 0.75, 1.0):
        grid = morph_sound(generator, first, last, weight=weight, width=1.0).grid
        levels.append(float(codec.space.cells(grid[..., SPACE])[..., 0].mean()))
    assert levels == sorted(levels)
    grids = [codec.whole(np.zeros((n, BANDS, LEVELS), np.int64), np.full((n, BANDS), n)) for n in (2, 4)]
    assert between(codec, *grids, 0.5).shape == (4, BANDS, LEVELS + 1)


def test_edits_of_the_space_leave_the_mix_and_edits_of_the_mix_leave_the_space() -> None:
    model, grid = stereo_model(), _grid()
    assert grid.labels[-1] == "Space"
    work = EditSession.begin(model, History(grid)).rendered()
    moved = work.do(SetCode(selection=Selection(levels=(SPACE,)), code=3)).rendered()
    assert work.rendering is not None
    assert moved.rendering is not None
    assert np.array_equal(moved.rendering.samples, work.rendering.samples)
    before, after = work.samples(), moved.samples()
    assert before.shape == after.shape == (2, before.shape[1])
    assert not np.allclose(before[0], after[0])
    assert moved.changed == (0, len(grid))
    frozen = History(grid).do(Freeze(levels=(SPACE,)))
    drawn = randomize(model, frozen.grid, Selection(columns=(1, 4)), seed=1)
    assert np.array_equal(frozen.do(drawn).grid.codes[..., SPACE], grid.codes[..., SPACE])
    alone = randomize(model, grid, Selection(columns=(1, 4), levels=(SPACE,)), seed=1)
    renewed = History(grid).do(alone).grid.codes
    assert np.array_equal(renewed[..., :SPACE], grid.codes[..., :SPACE])
    assert not np.array_equal(renewed[1:4, :, SPACE], grid.codes[1:4, :, SPACE])
    assert np.array_equal(renewed[4:], grid.codes[4:])


def test_space_is_swapped_blended_kept_in_files_and_comes_back_from_the_sound(tmp_path: Path) -> None:
    model, one, two = stereo_model(), _grid(5, 1), _grid(5, 2)
    for weight, expected in ((0.0, one), (1.0, two)):
        edit = blend(model, one, two, (0.0,) * LEVELS + (weight,)).edit
        assert np.array_equal(History(one).do(edit).grid.codes[..., SPACE], expected.codes[..., SPACE])
    half = History(one).do(blend(model, one, two, 0.5).edit).grid.codes[..., SPACE]
    space = model.codec.space
    assert space is not None
    target = 0.5 * (space.cells(one.codes[..., SPACE]) + space.cells(two.codes[..., SPACE]))
    # Half way, two codes may be equally near.
    least = distances(space.cells(space.codes_of(target)), target)
    assert np.allclose(distances(space.cells(half), target), least, atol=1e-3)
    assert overlap(one, two, Selection(levels=(SPACE,))).here.levels == (SPACE,)
    write_grid(tmp_path / "one.json", History(one))
    assert read_grid(tmp_path / "one.json").grid == one
    assert len(round_trip(model, one).by_sound) == LEVELS + 1
    constant = History(one).do(SetCode(selection=Selection(levels=(SPACE,)), code=3)).grid
    sound = Sound(decode(model, constant) * 0.1, RATE, "FLOAT", "WAV")
    heard = encode_sound(model, sound, "again").codes[: len(one), :, SPACE]
    assert float((heard == 3).mean()) > 0.5


def test_a_grid_without_space_stays_valid(tmp_path: Path) -> None:
    model = stereo_model()
    plain = model.grid(np.zeros((3, BANDS, LEVELS), np.int64))
    assert "Space" not in plain.labels
    assert decode(model, plain).ndim == 1
    model.require(plain)


def test_selected_levels_and_entries_of_space_are_heard() -> None:
    model, grid = stereo_model(), _grid()
    assert hear(model, grid, Selection(levels=(0,))).ndim == 1
    assert hear(model, grid, Selection(levels=(0, SPACE))).ndim == 2
    alone = hear(model, grid, Selection(levels=(SPACE,)))
    assert alone.ndim == 2
    assert np.abs(alone).max() > 0.1
    quiet, placed = hear_entries(model, [Entry(0, 1), Entry(SPACE, 2)], columns=2)
    assert (quiet.ndim, placed.ndim) == (1, 2)


def test_the_python_interface_takes_and_gives_two_channels(tmp_path: Path) -> None:
    model = load(write_stereo(tmp_path / "bells.distill"), project=tmp_path)
    [made] = model.generate(seconds=0.5, natural=False)
    assert made.samples.shape[0] == 2
    assert model.generate(seconds=0.5, natural=False, channels=1)[0].samples.ndim == 1
    given = _sound()
    codes = model.encode(given.samples, given.sample_rate)
    assert codes.shape[2] == LEVELS + 1
    assert model.decode(codes).shape[0] == 2
    assert model.decode(codes[..., :LEVELS]).ndim == 1
    [varied] = model.vary(given.samples, given.sample_rate)
    assert varied.samples.ndim == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--channels", "2"], "makes mono sounds"),
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
    given = _sound()
    save(tmp_path / "in.wav", given.samples.T)
    save(tmp_path / "other.wav", _sound(0.6, -0.5).samples.T)
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
    save(tmp_path / "mono.wav", given.samples[0])
    refused = distill("generate", "bells.distill", "--continue", "mono.wav", "--width", "0.5", code=2)
    assert "does not have two channels" in refused.err
    done = distill("kit", "bells.distill", "-o", "Kit", "--pads", "2", "--round-robin", "2", "-d", "0.5")
    assert done.code == 0, done.err
    assert {soundfile.info(str(path)).channels for path in (tmp_path / "Kit").glob("*.wav")} == {2}


def test_a_copy_of_one_channel_is_found(tmp_path: Path) -> None:
    """A sound that lies in one channel of a training sound is hidden in its mix."""
    for number in range(8):
        random = np.random.default_rng(number)
        hidden, loud = (
            np.concatenate([tone(0.1, random.uniform(100, 6000), RATE, level) for _ in range(6)])
            for level in (0.2, 0.8)
        )
        save(tmp_path / "in" / f"{number}.wav", np.stack([hidden, loud], axis=1), RATE)
    workspace = make_workspace(tmp_path, data={"path": str(tmp_path / "in"), "speed_semitones": []})
    run(workspace, "prepare", "configure", "train_vqvae")
    dataset, model = PreparedDataset(workspace.prepared), read_model(workspace.vqvae)
    codec = Codec(build_networks(model, workspace.vqvae).vqvae, dataset.spectrogram)
    silence = Silence(codec)
    training, held_out = (
        DatasetSounds(codec, dataset, dataset.segments_of(split)) for split in ("train", "validation")
    )
    names = [name for name in training.names if name.endswith("left channel")]
    assert len(names) == len(dataset.segments_of("train"))
    generated = []
    for row in dataset.segments_of("train")[:4]:
        log_mel = in_channel(dataset.segment(row), dataset.space(row), "left")
        grid = codec.encode_log_mel(log_mel)
        heard = np.maximum(codec.decode_log_mel(grid), 0.0)
        generated.append(CheckedSound("copy", heard, grid, silence.sounding(heard, grid)))
    # A sound that was mixed of it and of something else holds it in one channel.
    hidden = CheckedSound("mixed", *_noise_like(codec, generated[0]), channels=(generated[0],))
    settings: dict[str, Any] = {"spectrogram": dataset.spectrogram, "most_frames": 288}
    findings = compare(generated, training, held_out, silence, **settings)
    assert judge(findings, file_count=8).verdict == "fail"
    found = {findings.training.names[each.near.source or 0] for each in findings.generated}
    assert all(name.endswith("left channel") for name in found)
    # It counts once.
    findings = compare([hidden, *generated], training, held_out, silence, **settings)
    verdict = judge(findings, file_count=8)
    assert verdict.flagged == tuple(range(5))
    assert verdict.copies[0].sound is generated[0]
    assert len(verdict.evidence["generated"]) == 5
    assert all(len(each.channels) == 2 for each in (*findings.held_out, *findings.peers))


def _noise_like(codec: Codec, sound: CheckedSound) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise of a sound's length as the check sees sounds: log mel, codes, and which of these count."""
    log_mel = np.random.default_rng(0).uniform(0, 6, sound.log_mel.shape).astype(np.float32)
    grid = codec.encode_log_mel(log_mel)
    heard = np.maximum(codec.decode_log_mel(grid), 0.0)
    return heard, grid, Silence(codec).sounding(heard, grid)


def test_the_check_compares_the_channels_of_what_lies_to_one_side(learned: Workspace) -> None:
    dataset = PreparedDataset(learned.prepared)
    findings = findings_of(Generator.load(_model(learned)), dataset, Asked(12, 0.5, 1.0, 0))
    apart = [each for each in findings.generated if each.channels]
    assert apart
    assert all(
        [view.sound.name.rpartition(", ")[2] for view in each.channels] == ["left channel", "right channel"]
        for each in apart
    )
    assert any(name.endswith("left channel") for name in findings.training.names)


def test_a_prior_file_without_space_reads_as_before(learned: Workspace, trained: Path) -> None:
    digest = read_model(learned.vqvae).digest
    assert read_prior(learned.prior, vqvae_digest=digest).space is not None
    plain = Workspace(trained)
    assert read_prior(plain.prior, vqvae_digest=read_model(plain.vqvae).digest).space is None
    document = read_manifest(plain.model("tiny")).document()
    assert document["minor"] < 3
    assert not {"space_config", "space_metadata"} & set(document)
    assert CodesModel.load(_model(learned)).codec.labels[-1] == "Space"
