"""Which cells of a grid an edit is about."""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from distill.codes.grid import CodeGrid, listed
from distill.errors import UsageError


def _whole(value: Any) -> Any:
    """numpy's whole numbers are as good as Python's; 1.0 and True are none."""
    return int(value) if isinstance(value, np.integer) else value


Index = Annotated[int, Field(strict=True), BeforeValidator(_whole)]
Cells = tuple[npt.NDArray[np.intp], ...]


class Selection(BaseModel):
    """Columns from the first up to, and without, the second, in some bands and levels, all from 0; None: all.

    Levels that are not named are all that are not frozen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[Index, Index] | None = Field(
        None, description="First column, and the one after the last; null: all."
    )
    bands: tuple[Index, ...] | None = Field(None, description="Bands, the lowest being 0; null: all.")
    levels: tuple[Index, ...] | None = Field(
        None, description="Levels, the coarsest being 0; null: all that are not frozen."
    )

    def resolved(self, grid: CodeGrid) -> "Selection":
        """The same cells of a grid with columns, bands and levels named, each once and ascending.

        Raises:
            UsageError: nothing is selected, something lies outside of the grid, or a level is frozen.
        """
        columns = (0, len(grid)) if self.columns is None else self.columns
        if not 0 <= columns[0] < columns[1] <= len(grid):
            what = "nothing is selected" if columns[0] >= columns[1] else "the selection leaves the grid"
            raise UsageError(f"{what}: columns {columns[0]}:{columns[1]} of a grid of {len(grid)} columns")
        bands = _within(self.bands, grid.bands, "bands")
        if self.levels is None:
            levels = tuple(level for level in range(grid.levels) if level not in grid.frozen)
            if not levels:
                raise UsageError(f"nothing is selected: all levels are frozen ({', '.join(grid.labels)})")
        else:
            levels = _within(self.levels, grid.levels, "levels")
            frozen = [level for level in levels if level in grid.frozen]
            if frozen:
                raise UsageError(f"frozen: {listed(grid.labels, frozen)}; unfreeze before editing")
        return Selection(columns=columns, bands=bands, levels=levels)

    def cells(self, grid: CodeGrid) -> Cells:
        """What `grid.codes` is indexed with to get the selected cells, `[columns, bands, levels]`.

        Raises:
            UsageError: as `resolved`.
        """
        found = self.resolved(grid)
        assert found.columns is not None
        assert found.bands is not None
        assert found.levels is not None
        return np.ix_(range(*found.columns), found.bands, found.levels)

    def describe(self, grid: CodeGrid) -> str:
        """The selection in words, as far as it is not everything."""
        words = []
        if self.columns is not None and self.columns != (0, len(grid)):
            first, last = self.columns
            words.append(f"column {first}" if last == first + 1 else f"columns {first}:{last}")
        if self.bands is not None and len(self.bands) < grid.bands:
            words.append(f"band{'s' * (len(self.bands) > 1)} {', '.join(map(str, self.bands))}")
        if self.levels is not None and len(self.levels) < grid.levels:
            words.append(listed(grid.labels, self.levels))
        return "; ".join(words) or "everything"


EVERYTHING = Selection()


def _within(chosen: tuple[int, ...] | None, count: int, what: str) -> tuple[int, ...]:
    if chosen is None:
        return tuple(range(count))
    if not chosen:
        raise UsageError(f"nothing is selected: no {what}")
    outside = [each for each in chosen if not 0 <= each < count]
    if outside:
        raise UsageError(f"the selection leaves the grid: its {what} are 0 to {count - 1}, not {outside[0]}")
    return tuple(sorted(set(chosen)))
