"""The level of space among the codes: edited, blended, heard, kept in files."""

from pathlib import Path

import numpy as np
from space_util import RATE, stereo_grid, stereo_model

from distill.audio.sound import Sound
from distill.codes.blend import blend
from distill.codes.edits import Freeze, SetCode
from distill.codes.exchange import overlap
from distill.codes.file import read_grid, write_grid
from distill.codes.history import History
from distill.codes.playback import Entry, hear, hear_entries
from distill.codes.randomize import randomize
from distill.codes.selection import Selection
from distill.codes.session import EditSession
from distill.codes.sound import as_source, decode, encode_sound, round_trip
from distill.models.space import distances
from model_example import BANDS, LEVELS

SPACE = LEVELS


def test_a_sound_that_comes_from_a_grid_keeps_its_places() -> None:
    model, grid = stereo_model(), stereo_grid()
    sound = Sound(as_source(model, grid, decode(model, grid)), RATE, "FLOAT", "WAV")
    again = encode_sound(model, sound, "again", like=grid).codes[: len(grid), :, SPACE]
    plain = encode_sound(model, sound, "again").codes[: len(grid), :, SPACE]
    before = grid.codes[..., SPACE]
    assert (again == before).mean() >= (plain == before).mean()
    found = round_trip(model, grid)
    assert found.like_grid[SPACE] == (again != before).mean() < found.by_sound[SPACE]


def test_edits_of_the_space_leave_the_mix_and_edits_of_the_mix_leave_the_space() -> None:
    model, grid = stereo_model(), stereo_grid()
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
    model, one, two = stereo_model(), stereo_grid(5, 1), stereo_grid(5, 2)
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
    model, grid = stereo_model(), stereo_grid()
    assert hear(model, grid, Selection(levels=(0,))).ndim == 1
    assert hear(model, grid, Selection(levels=(0, SPACE))).ndim == 2
    alone = hear(model, grid, Selection(levels=(SPACE,)))
    assert alone.ndim == 2
    assert np.abs(alone).max() > 0.1
    quiet, placed = hear_entries(model, [Entry(0, 1), Entry(SPACE, 2)], columns=2)
    assert (quiet.ndim, placed.ndim) == (1, 2)
