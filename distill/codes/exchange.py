"""Edits that take from another grid: how regions of two grids lie over each other, and swapping them."""

from dataclasses import dataclass

from distill.codes.edits import Edit, Swap, cells_of
from distill.codes.grid import CodeGrid
from distill.codes.selection import EVERYTHING, Selection
from distill.errors import UsageError


@dataclass(frozen=True)
class Overlap:
    """Cells of a grid and the same number of cells of another, in the same bands and levels.

    Attributes:
        here: the cells of the grid.
        there: those of the other.
        left_out: selected columns for which the other grid has none.
    """

    here: Selection
    there: Selection
    left_out: int

    @property
    def columns(self) -> int:
        """Columns on each side."""
        assert self.here.columns is not None
        return self.here.columns[1] - self.here.columns[0]

    @property
    def other_first(self) -> int:
        """First column in the other grid."""
        assert self.there.columns is not None
        return self.there.columns[0]


@dataclass(frozen=True)
class Swapped:
    """The two halves of a swap: an edit for each grid, and what they are about."""

    edit: Swap
    other_edit: Swap
    overlap: Overlap


def overlap(
    grid: CodeGrid, other: CodeGrid, selection: Selection = EVERYTHING, at: int | None = None, *, both: bool = False
) -> Overlap:
    """The selected cells of a grid and their counterparts in another.

    Where the other grid ends before the selection does, the selection is cut to what both have.

    Args:
        grid: one grid.
        other: the other, of the same model.
        selection: cells of the first.
        at: column of the other that lies over the first selected one; by default the one with the same number.
        both: both grids will be edited, so that what is frozen in the other is left out as well.

    Raises:
        ArtifactError: the grids belong to different models.
        UsageError: nothing is selected, it lies outside of one of the grids, or a selected level is frozen.
    """
    grid.require_alike(other)
    found = selection.resolved(grid)
    assert found.columns is not None
    assert found.levels is not None
    first, last = found.columns
    begin = first if at is None else at
    columns = min(last - first, len(other) - begin)
    if begin < 0 or columns < 1:
        raise UsageError(f"nothing is selected in the other grid: it has {len(other)} columns, none from {begin} on")
    levels = found.levels
    if both and selection.levels is None:
        levels = tuple(level for level in levels if level not in other.frozen)
    here = found.model_copy(update={"columns": (first, first + columns), "levels": levels})
    there = found.model_copy(update={"columns": (begin, begin + columns), "levels": levels})
    if both:
        there.resolved(other)
    return Overlap(here.resolved(grid), there, last - first - columns)


def are_halves(edit: Edit | None, other: Edit | None, names: tuple[str, str]) -> bool:
    """Whether two edits are the halves of one swap of the grids with these names."""
    if not isinstance(edit, Swap) or not isinstance(other, Swap) or (other.other, edit.other) != names:
        return False
    here, there = edit.selection, other.selection
    same = (here.bands, here.levels) == (there.bands, there.levels)
    return same and edit.other_first == _first(there) and other.other_first == _first(here)


def _first(selection: Selection) -> int:
    return selection.columns[0] if selection.columns else 0


def swap(
    grid: CodeGrid,
    other: CodeGrid,
    selection: Selection = EVERYTHING,
    at: int | None = None,
    *,
    names: tuple[str, str] = ("the first", "the other"),
) -> Swapped:
    """What exchanges a region of two grids; done twice it changes nothing.

    The lengths of the grids may differ and stay as they are: a region that the other grid cannot hold whole is cut to
    what both have, and `left_out` of the result says by how many columns.

    Args:
        grid: one grid.
        other: the other, of the same model.
        selection: the region in the first.
        at: first column of the region in the other; by default the same as in the first.
        names: what the histories call the first and the other.

    Raises:
        ArtifactError: the grids belong to different models.
        UsageError: nothing is selected, it lies outside of one of the grids, or a selected level is frozen in either.
    """
    found = overlap(grid, other, selection, at, both=True)
    assert found.here.columns is not None
    return Swapped(
        Swap(
            selection=found.here,
            cells=cells_of(other.codes[found.there.cells(other)]),
            other=names[1],
            other_first=found.other_first,
        ),
        Swap(
            selection=found.there,
            cells=cells_of(grid.codes[found.here.cells(grid)]),
            other=names[0],
            other_first=found.here.columns[0],
        ),
        found,
    )
