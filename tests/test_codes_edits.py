"""Edits of code grids: what they do, and that every sequence of them can be undone, redone and written down."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from codes_util import OTHER_IDENTITY, edits, grid, grids, selections
from distill.codes.difference import difference
from distill.codes.edits import (
    Edit,
    Freeze,
    Rename,
    Repeat,
    Reverse,
    SetCells,
    SetCode,
    Transpose,
    Unfreeze,
    array_of,
    cells_of,
)
from distill.codes.exchange import swap
from distill.codes.file import read_grid, write_grid
from distill.codes.grid import CodeGrid
from distill.codes.history import History
from distill.codes.selection import EVERYTHING, Selection
from distill.errors import ArtifactError, DataError, UsageError
from distill.models.levels import find_level, level_labels, parse_levels
from model_example import BANDS, LEVELS, SIZE

SOME = settings(max_examples=25)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """A grid with up to eight edits, all done."""
    history = History(draw(grids()))
    for _ in range(draw(st.integers(0, 8))):
        history = history.do(draw(edits(history.grid)))
    return history


@SOME
@given(histories())
def test_undo_of_everything_gives_the_start_and_redo_the_end(history: History) -> None:
    assert history.grid == History(history.start, history.edits, history.position).grid
    if history.edits:
        back = history.undo(history.position)
        assert back.grid == history.start
        assert back.redo(len(history.edits)).grid == history.grid
    step = history
    for _ in history.edits:
        step = step.undo()
    assert step.grid == history.start
    for _ in history.edits:
        step = step.redo()
    assert step == history
    assert len(history.describe()) == len(history.edits)


@SOME
@given(st.data())
def test_an_edit_after_undo_forgets_what_was_undone(data: st.DataObject) -> None:
    history = data.draw(histories().filter(lambda found: found.position > 0))
    back = history.undo(data.draw(st.integers(1, history.position)))
    edit = data.draw(edits(back.grid))
    then = back.do(edit)
    assert then.edits == (*history.edits[: back.position], edit)
    assert then.undo().grid == back.grid
    with pytest.raises(DataError, match="nothing to redo"):
        then.redo()


@SOME
@given(st.data())
def test_a_file_keeps_the_grid_and_its_history(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    history = data.draw(histories())
    if history.edits:
        history = History(history.start, history.edits, data.draw(st.integers(0, len(history.edits))))
    path = tmp_path_factory.mktemp("grid") / "a.json"
    write_grid(path, history)
    found = read_grid(path)
    assert found == history
    assert found.grid == history.grid
    before = path.read_bytes()
    write_grid(path, found)
    assert path.read_bytes() == before
    document = json.loads(before)
    assert np.array_equal(document["codes"], history.grid.codes)


@SOME
@given(st.data())
def test_an_edit_changes_only_what_is_selected_and_not_frozen(data: st.DataObject) -> None:
    start = data.draw(grids())
    frozen = data.draw(st.sampled_from([(), (0,), (1,)]))
    start = History(start).do(Freeze(levels=frozen)).grid if frozen else start
    edit = data.draw(edits(start).filter(lambda edit: hasattr(edit, "selection")))
    after = edit.apply(start)
    untouched = np.ones(start.codes.shape, bool)
    untouched[edit.selection.cells(start)] = False  # type: ignore[union-attr]
    assert np.array_equal(after.codes[untouched], start.codes[untouched])
    for level in frozen:
        assert np.array_equal(after.codes[..., level], start.codes[..., level])


@given(st.data())
def test_swapping_twice_is_nothing(data: st.DataObject) -> None:
    one, two = data.draw(grids()), data.draw(grids())
    chosen = data.draw(selections(one))
    at = data.draw(st.none() | st.integers(0, len(two) - 1))
    first = (chosen.columns or (0, 0))[0]
    if at is None and first >= len(two):
        with pytest.raises(UsageError, match="nothing is selected in the other grid"):
            swap(one, two, chosen, at)
        return
    found = swap(one, two, chosen, at)
    new_one, new_two = found.edit.apply(one), found.other_edit.apply(two)
    assert (len(new_one), len(new_two)) == (len(one), len(two))
    selected = chosen.cells(one)[0].size
    assert found.overlap.columns + found.overlap.left_out == selected
    assert np.array_equal(new_one.codes[found.overlap.here.cells(one)], two.codes[found.overlap.there.cells(two)])
    again = swap(new_one, new_two, chosen, at)
    assert again.edit.apply(new_one) == one
    assert again.other_edit.apply(new_two) == two


def test_a_swap_leaves_out_what_is_frozen_in_either_grid() -> None:
    one, two = grid(4, seed=1), grid(6, seed=2, frozen=(0,))
    found = swap(one, two)
    assert found.overlap.here.levels == (1,)
    after = found.edit.apply(one)
    assert np.array_equal(after.codes[..., 0], one.codes[..., 0])
    assert np.array_equal(after.codes[..., 1], two.codes[:4, :, 1])
    with pytest.raises(UsageError, match="frozen: Structure"):
        swap(one, two, Selection(levels=(0,)))


def test_grids_of_different_models_are_not_swapped_or_compared() -> None:
    one, two = grid(), grid(model=OTHER_IDENTITY)
    for do in (swap, difference):
        with pytest.raises(ArtifactError, match=r"2{64}.*1{64}"):
            do(one, two)


def test_what_the_edits_do() -> None:
    start = grid(4)
    cell = Selection(columns=(2, 3), bands=(5,), levels=(1,))
    after = SetCode(selection=cell, code=3).apply(start)
    assert after.codes[2, 5, 1] == 3
    assert difference(start, after).changed_columns in {(2,), ()}
    assert np.array_equal(Reverse().apply(start).codes, start.codes[::-1])
    assert np.array_equal(Transpose(columns=1).apply(start).codes, start.codes[[3, 0, 1, 2]])
    part = Transpose(selection=Selection(columns=(1, 4), levels=(0,)), columns=-1).apply(start).codes
    assert np.array_equal(part[..., 0], start.codes[[0, 2, 3, 1]][..., 0])
    assert np.array_equal(part[..., 1], start.codes[..., 1])
    assert np.array_equal(Repeat(columns=(1, 3), times=2).apply(start).codes, start.codes[[0, 1, 2, 1, 2, 1, 2, 3]])
    assert Rename(level=1, label="Shine").apply(start).labels == ("Structure", "Shine")
    frozen = Freeze(levels=(1,)).apply(start)
    assert frozen.frozen == (1,)
    assert Unfreeze(levels=(1, 0)).apply(frozen) == start


@given(grids(), st.integers(-50, 50))
def test_moving_there_and_back_and_turning_round_twice_is_nothing(start: CodeGrid, by: int) -> None:
    assert Transpose(columns=-by).apply(Transpose(columns=by).apply(start)) == start
    assert Reverse().apply(Reverse().apply(start)) == start


BAD: list[tuple[Any, str]] = [
    (lambda: SetCode(selection=Selection(columns=(2, 2)), code=1), "nothing is selected"),
    (lambda: SetCode(selection=Selection(columns=(3, 1)), code=1), "nothing is selected"),
    (lambda: SetCode(selection=Selection(columns=(0, 7)), code=1), "columns 0:7 of a grid of 6 columns"),
    (lambda: SetCode(selection=Selection(columns=(-1, 2)), code=1), "leaves the grid"),
    (lambda: SetCode(selection=Selection(bands=(BANDS,)), code=1), f"bands are 0 to {BANDS - 1}, not {BANDS}"),
    (lambda: SetCode(selection=Selection(bands=()), code=1), "nothing is selected: no bands"),
    (lambda: SetCode(selection=Selection(levels=(LEVELS,)), code=1), f"levels are 0 to {LEVELS - 1}, not {LEVELS}"),
    (lambda: SetCode(selection=Selection(levels=()), code=1), "nothing is selected: no levels"),
    (lambda: SetCode(selection=EVERYTHING, code=SIZE), f"no code {SIZE}: the codebook has 0 to {SIZE - 1}"),
    (lambda: SetCells(selection=Selection(columns=(0, 1)), cells=cells_of(grid(2).codes)), "shape"),
    (lambda: SetCells(selection=EVERYTHING, cells=cells_of(grid(6).codes + SIZE)), "no code"),
    (lambda: SetCells(selection=EVERYTHING, cells=(((1, 2), (1,)),)), "ragged"),
    (lambda: Repeat(columns=(4, 8)), "leaves the grid"),
    (lambda: Repeat(columns=(0, 6), times=10**8), "at most 100000 columns"),
    (lambda: Freeze(levels=(5,)), "levels are 0 to 1"),
    (lambda: Freeze(levels=()), "no levels"),
    (lambda: Rename(level=2, label="x"), "levels are 0 to 1"),
    (lambda: Rename(level=0, label="detail"), "another level is called"),
    (lambda: Rename(level=0, label=" "), "printable"),
    (lambda: Rename(level=0, label="a\nb"), "printable"),
    (lambda: Rename(level=0, label="12"), "no number"),
]


@pytest.mark.parametrize(("make", "words"), BAD, ids=[words for _, words in BAD])
def test_an_edit_that_does_not_fit_is_refused_and_changes_nothing(make: Any, words: str) -> None:
    edit: Edit = make()
    history = History(grid(6))
    with pytest.raises(UsageError, match=words):
        history.do(edit)
    assert history.grid == grid(6)


def test_edits_of_what_is_frozen_are_refused() -> None:
    frozen = Freeze(levels=(0,)).apply(grid())
    with pytest.raises(UsageError, match="frozen: Structure; unfreeze"):
        SetCode(selection=Selection(levels=(0, 1)), code=1).apply(frozen)
    with pytest.raises(UsageError, match="frozen: Structure; repeating"):
        Repeat(columns=(0, 1)).apply(frozen)
    with pytest.raises(UsageError, match="all levels are frozen"):
        Reverse().apply(Freeze(levels=(1,)).apply(frozen))


@pytest.mark.parametrize("code", [-1, 1.0, "1", True, None, float("nan")])
def test_a_code_is_a_whole_number(code: Any) -> None:
    with pytest.raises(ValidationError):
        SetCode(selection=EVERYTHING, code=code)


@pytest.mark.parametrize("steps", [0, -1])
def test_a_number_of_steps_that_is_none(steps: int) -> None:
    history = History(grid()).do(Reverse())
    with pytest.raises(UsageError, match="must be 1 or more"):
        history.undo(steps)
    with pytest.raises(DataError, match="only 1 edit to undo"):
        history.undo(2)
    with pytest.raises(DataError, match="nothing to undo"):
        history.undo().undo()


def test_a_grid_cannot_be_changed_from_outside() -> None:
    codes = np.zeros((2, BANDS, LEVELS), np.int64)
    made = grid().with_codes(codes)
    codes[:] = 1
    assert made.codes.max() == 0
    with pytest.raises(ValueError, match="read-only"):
        made.codes[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"codes": np.zeros((2, BANDS), np.int64)}, "no grid of whole numbers"),
        ({"codes": np.zeros((0, BANDS, LEVELS), np.int64)}, "no grid of whole numbers"),
        ({"codes": np.zeros((2, BANDS, LEVELS))}, "no grid of whole numbers"),
        ({"codes": np.zeros((2, BANDS + 1, LEVELS), np.int64)}, "does not go with"),
        ({"codes": np.zeros((2, BANDS, LEVELS + 1), np.int64)}, "does not go with"),
        ({"codes": np.full((2, BANDS, LEVELS), SIZE)}, f"codes from {SIZE}"),
        ({"codes": np.full((2, BANDS, LEVELS), -1)}, "codes from -1"),
        ({"codes": np.zeros((100_001, BANDS, LEVELS), np.int64)}, "too long"),
        ({"labels": ("Same", "same")}, "label of its own"),
        ({"frozen": (2,)}, "frozen levels"),
    ],
)
def test_values_that_make_no_grid_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        grid(**changes)


def test_levels_have_names() -> None:
    assert level_labels(2) == ("Structure", "Detail")
    assert level_labels(3) == ("Structure", "Timbre", "Detail")
    assert level_labels(4) == ("Structure", "Timbre", "Texture", "Detail")
    for wrong in (0, 1, 5):
        with pytest.raises(ValueError, match="2 to 4 levels"):
            level_labels(wrong)
    labels = ("Structure", "Detail")
    assert [find_level(name, labels) for name in ("structure", "DETAIL", "1")] == [0, 1, 1]
    assert parse_levels("detail, 0,1", labels) == (0, 1)
    for wrong in ("2", "timbre", "", "-1"):
        with pytest.raises(UsageError, match="there is no level"):
            find_level(wrong, labels)


def test_the_difference_of_two_grids() -> None:
    one = grid(5)
    other = SetCode(selection=Selection(columns=(3, 4), bands=(2,), levels=(1,)), code=(one.codes[3, 2, 1] + 1) % SIZE)
    longer = Repeat(columns=(4, 5)).apply(other.apply(one))
    found = difference(one, longer)
    assert (found.columns, found.missing, found.by_level, found.changed_columns) == (5, 1, (0, 1), (3,))
    assert found.changed_bands == tuple(int(band == 2) for band in range(BANDS))
    assert not found.same
    assert difference(one, one).same


@settings(max_examples=20)
@given(grids())
def test_nested_cells_are_the_array(start: CodeGrid) -> None:
    assert np.array_equal(array_of(cells_of(start.codes)), start.codes)


def test_a_history_of_a_thousand_edits_is_kept(tmp_path: Path) -> None:
    history = History(grid(6))
    for number in range(1000):
        cell = Selection(columns=(number % 6, number % 6 + 1), bands=(number % BANDS,), levels=(number % LEVELS,))
        history = history.do(SetCode(selection=cell, code=number % SIZE))
    write_grid(tmp_path / "a.json", history)
    found = read_grid(tmp_path / "a.json")
    assert found.grid == history.grid
    assert found.undo(1000).grid == grid(6)
