"""Edits as values: each says what becomes of a grid, and can be written down and done again without the model."""

from abc import abstractmethod
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from distill.codes.grid import MAX_COLUMNS, CodeGrid, Codes, listed
from distill.codes.selection import EVERYTHING, Index, Selection
from distill.errors import UsageError

MAX_LABEL = 40

Code = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
CellsInFile = tuple[tuple[tuple[Code, ...], ...], ...]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class BaseEdit(BaseModel):
    """An edit; `kind` says which."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @abstractmethod
    def apply(self, grid: CodeGrid) -> CodeGrid:
        """The grid after the edit.

        Raises:
            UsageError: the edit does not fit the grid.
        """

    @abstractmethod
    def describe(self, grid: CodeGrid) -> str:
        """The edit in words, on the grid that it is done to."""


class SetCode(BaseEdit):
    """One code in every selected cell."""

    kind: Literal["set"] = "set"
    selection: Selection
    code: Annotated[Index, Field(ge=0)] = Field(description="What the cells become.")

    def apply(self, grid: CodeGrid) -> CodeGrid:
        _require_known(grid, self.code, self.code)
        codes = grid.codes.copy()
        codes[self.selection.cells(grid)] = self.code
        return grid.with_codes(codes)

    def describe(self, grid: CodeGrid) -> str:
        return f"set to {self.code}: {self.selection.describe(grid)}"


class SetCells(BaseEdit):
    """A code of its own in each selected cell."""

    kind: Literal["cells"] = "cells"
    selection: Selection
    cells: CellsInFile = Field(description="What the cells become, [column][band][level] of the selection.")

    def apply(self, grid: CodeGrid) -> CodeGrid:
        chosen = self.selection.cells(grid)
        cells = array_of(self.cells)
        shape = [len(axis.ravel()) for axis in chosen]
        if list(cells.shape) != shape:
            raise UsageError(f"the selection has the shape {shape}, the cells for it {list(cells.shape)}")
        _require_known(grid, int(cells.min()), int(cells.max()))
        codes = grid.codes.copy()
        codes[chosen] = cells
        return grid.with_codes(codes)

    def describe(self, grid: CodeGrid) -> str:
        return f"{self._words()}: {self.selection.describe(grid)}"

    def _words(self) -> str:
        return "set cells"


class Swap(SetCells):
    """What stood in the selected cells of another grid."""

    kind: Literal["swap"] = "swap"  # type: ignore[assignment]
    other: str = Field(description="Name of the other grid.")
    other_first: int = Field(ge=0, description="First column of what was taken from it.")

    def _words(self) -> str:
        return f"swap with {self.other} from column {self.other_first} on"


class Blend(SetCells):
    """What the selected cells became on the way to another grid."""

    kind: Literal["blend"] = "blend"  # type: ignore[assignment]
    other: str = Field(description="Name of the other grid.")
    other_first: int = Field(ge=0, description="First column of what was blended with.")
    weights: tuple[Share, ...] = Field(description="Weight of the other grid, by level: 0 to 1.")
    distance: float = Field(ge=0.0, description="Distance of the codes to the blend, relative to its size (both RMS).")

    def _words(self) -> str:
        return f"blend with {self.other} ({', '.join(f'{weight:g}' for weight in self.weights)})"


class Randomize(SetCells):
    """What the prior drew for the selected cells."""

    kind: Literal["randomize"] = "randomize"  # type: ignore[assignment]
    seed: int = Field(ge=0, description="Seed that it was drawn with.")

    def _words(self) -> str:
        return f"randomize with seed {self.seed}"


class Reverse(BaseEdit):
    """The selected columns in reverse order."""

    kind: Literal["reverse"] = "reverse"
    selection: Selection = EVERYTHING

    def apply(self, grid: CodeGrid) -> CodeGrid:
        chosen, codes = self.selection.cells(grid), grid.codes.copy()
        codes[chosen] = codes[chosen][::-1]
        return grid.with_codes(codes)

    def describe(self, grid: CodeGrid) -> str:
        return f"reverse: {self.selection.describe(grid)}"


class Transpose(BaseEdit):
    """The selected columns moved in time; what leaves the selection at one end comes in at the other."""

    kind: Literal["transpose"] = "transpose"
    selection: Selection = EVERYTHING
    columns: Index = Field(description="By so many columns; negative: earlier.")

    def apply(self, grid: CodeGrid) -> CodeGrid:
        chosen, codes = self.selection.cells(grid), grid.codes.copy()
        codes[chosen] = np.roll(codes[chosen], self.columns % chosen[0].size, axis=0)
        return grid.with_codes(codes)

    def describe(self, grid: CodeGrid) -> str:
        return f"move by {self.columns} columns: {self.selection.describe(grid)}"


class Repeat(BaseEdit):
    """Columns with all their levels, followed by copies of themselves; what comes after them moves back."""

    kind: Literal["repeat"] = "repeat"
    columns: tuple[Index, Index] = Field(description="First column, and the one after the last.")
    times: Annotated[int, Field(strict=True, ge=1)] = Field(1, description="Number of copies.")

    def apply(self, grid: CodeGrid) -> CodeGrid:
        if grid.frozen:
            raise UsageError(f"frozen: {listed(grid.labels, grid.frozen)}; repeating moves all levels, unfreeze before")
        first, last = self.columns
        Selection(columns=self.columns).resolved(grid)
        if len(grid) + self.times * (last - first) > MAX_COLUMNS:
            raise UsageError(f"a grid has at most {MAX_COLUMNS} columns: repeat less often")
        copies = np.tile(grid.codes[first:last], (self.times, 1, 1))
        return grid.with_codes(np.concatenate([grid.codes[:last], copies, grid.codes[last:]]))

    def describe(self, grid: CodeGrid) -> str:
        return f"repeat columns {self.columns[0]}:{self.columns[1]}, {self.times} more"


class Freeze(BaseEdit):
    """Levels that later edits leave as they are."""

    kind: Literal["freeze"] = "freeze"
    levels: tuple[Index, ...] = Field(description="Levels, the coarsest being 0.")

    def apply(self, grid: CodeGrid) -> CodeGrid:
        return replace(grid, frozen=tuple(sorted({*grid.frozen, *_known_levels(grid, self.levels)})))

    def describe(self, grid: CodeGrid) -> str:
        return f"freeze {listed(grid.labels, self.levels)}"


class Unfreeze(BaseEdit):
    """Levels that can be edited again."""

    kind: Literal["unfreeze"] = "unfreeze"
    levels: tuple[Index, ...] = Field(description="Levels, the coarsest being 0.")

    def apply(self, grid: CodeGrid) -> CodeGrid:
        return replace(grid, frozen=tuple(sorted({*grid.frozen} - {*_known_levels(grid, self.levels)})))

    def describe(self, grid: CodeGrid) -> str:
        return f"unfreeze {listed(grid.labels, self.levels)}"


class Rename(BaseEdit):
    """Another label for a level."""

    kind: Literal["rename"] = "rename"
    level: Index = Field(description="The level, the coarsest being 0.")
    label: str = Field(description="What it is called from here on.")

    def apply(self, grid: CodeGrid) -> CodeGrid:
        _known_levels(grid, (self.level,))
        require_label(self.label)
        labels = list(grid.labels)
        labels[self.level] = self.label
        if self.label.casefold() in {each.casefold() for each in grid.labels if each != grid.labels[self.level]}:
            raise UsageError(f"another level is called {self.label} already")
        return replace(grid, labels=tuple(labels))

    def describe(self, grid: CodeGrid) -> str:
        return f"rename {grid.labels[self.level]} to {self.label}"


Edit = SetCode | SetCells | Swap | Blend | Randomize | Reverse | Transpose | Repeat | Freeze | Unfreeze | Rename
TaggedEdit = Annotated[Edit, Field(discriminator="kind")]


def require_label(label: str) -> None:
    """Check what a level shall be called.

    Raises:
        UsageError: it cannot be told from a number or a list, or not be shown.
    """
    if not label.strip() or label != label.strip() or not label.isprintable() or len(label) > MAX_LABEL:
        raise UsageError(f"a label has 1 to {MAX_LABEL} printable characters without blanks around, not {label!r}")
    if label.isdecimal() or "," in label or "=" in label:
        raise UsageError(f"a label is no number and has no comma and no equals sign, unlike {label!r}")


def array_of(cells: CellsInFile) -> Codes:
    """An array `[columns, bands, levels]` of nested cells.

    Raises:
        UsageError: they are ragged or empty.
    """
    bands = len(cells[0]) if cells else 0
    levels = len(cells[0][0]) if bands else 0
    if not levels:
        raise UsageError("there are no codes")
    for number, column in enumerate(cells):
        if len(column) != bands:
            raise UsageError(f"ragged codes: column {number} has {len(column)} bands, column 0 has {bands}")
        for band, row in enumerate(column):
            if len(row) != levels:
                raise UsageError(f"ragged codes: column {number}, band {band} has {len(row)} levels, not {levels}")
    return np.array(cells, dtype=np.int64)


def cells_of(codes: Codes) -> CellsInFile:
    """Nested cells of an array `[columns, bands, levels]`."""
    return tuple(tuple(map(tuple, column)) for column in codes.tolist())


def _require_known(grid: CodeGrid, lowest: int, highest: int) -> None:
    if lowest < 0 or highest >= grid.codebook_size:
        wrong = lowest if lowest < 0 else highest
        raise UsageError(f"there is no code {wrong}: the codebook has 0 to {grid.codebook_size - 1}")


def _known_levels(grid: CodeGrid, levels: tuple[int, ...]) -> tuple[int, ...]:
    if not levels:
        raise UsageError("nothing is selected: no levels")
    if any(not 0 <= level < grid.levels for level in levels):
        raise UsageError(f"the levels are 0 to {grid.levels - 1} ({', '.join(grid.labels)}), not {list(levels)}")
    return levels
