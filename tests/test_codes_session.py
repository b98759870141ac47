"""Working on a grid with its model at hand."""

import numpy as np
import pytest

from codes_util import OTHER_IDENTITY, grid, model
from distill.codes.edits import Edit, Freeze, Rename, Repeat, Reverse, SetCode
from distill.codes.history import History
from distill.codes.playback import render
from distill.codes.selection import Selection
from distill.codes.session import EditSession
from distill.errors import ArtifactError, UsageError

CELL = SetCode(selection=Selection(columns=(2, 3), bands=(1,), levels=(0,)), code=1)


def begin(columns: int = 6) -> EditSession:
    start = grid(columns)
    codes = start.codes.copy()
    codes[2, 1, 0] = 0
    return EditSession.begin(model(), History(start.with_codes(codes)))


def test_words_follow_undo_and_redo() -> None:
    work = begin()
    assert (work.undoable, work.redoable) == (None, None)
    done = work.do(CELL).do(Reverse())
    assert done.undoable == done.words[1]
    back = done.undo()
    assert (back.undoable, back.redoable) == done.words
    assert back.redo().grid == done.grid
    other = back.do(Repeat(columns=(0, 1)))
    assert len(other.words) == 2
    assert other.redoable is None
    assert list(other.words) == other.history.describe()


@pytest.mark.parametrize(
    "edit",
    [
        Freeze(levels=(9,)),
        Rename(level=9, label="Air"),
        SetCode(selection=Selection(levels=(9,)), code=1),
        Reverse(selection=Selection(levels=(-9,))),
    ],
)
def test_an_edit_of_a_level_that_is_not_there_is_refused(edit: Edit) -> None:
    with pytest.raises(UsageError, match="9"):
        begin().do(edit)


def test_only_what_changed_is_decoded_again_and_the_rest_stays() -> None:
    work = begin(20).rendered()
    assert work.rendered() is work
    edited = work.do(CELL)
    assert edited.rendering is work.rendering
    again = edited.rendered()
    assert work.rendering is not None
    assert again.rendering is not None
    first, last = again.rendering.renewed
    assert 0 <= first < last < len(again.rendering.samples)
    np.testing.assert_allclose(again.rendering.log_mel, render(model(), edited.grid).log_mel, atol=1e-3)
    np.testing.assert_array_equal(again.rendering.samples[last:], work.rendering.samples[last:])


def test_a_change_is_heard_with_its_neighbourhood_alone() -> None:
    work = begin(40)
    column = model().codec.column_samples
    assert work.hear_change() is None
    edited = work.do(CELL)
    assert edited.changed == (2, 3)
    heard = edited.hear_change()
    assert heard is not None
    assert len(heard) == 3 * column
    assert np.abs(heard).max() <= 1.0
    whole = work.do(SetCode(selection=Selection(), code=2)).hear_change()
    assert whole is not None
    assert len(whole) <= 12 * column
    assert edited.do(CELL).changed is None


def test_a_longer_grid_has_changed_to_its_end() -> None:
    work = begin(4)
    assert work.do(Repeat(columns=(3, 4))).changed == (4, 5)
    assert work.do(Repeat(columns=(3, 4))).undo().changed is None


def test_single_cells_can_be_heard_and_the_whole_has_its_duration() -> None:
    work = begin()
    assert np.abs(work.hear(Selection(columns=(1, 2), bands=(0,), levels=(1,)))).max() > 0
    source = work.grid.source
    assert source is not None
    assert len(work.samples()) == model().codec.samples_of(source.seconds)
    with pytest.raises(UsageError, match="leaves the grid"):
        work.hear(Selection(columns=(5, 9)))


def test_a_grid_of_another_model_is_refused() -> None:
    with pytest.raises(ArtifactError, match="drums"):
        EditSession.begin(model(), History(grid(model=OTHER_IDENTITY)))
