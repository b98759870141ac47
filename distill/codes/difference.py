"""In what two grids differ."""

from dataclasses import dataclass

import numpy as np

from distill.codes.grid import CodeGrid, Codes


@dataclass(frozen=True)
class Difference:
    """How two grids differ, column by column from the beginning.

    Attributes:
        columns: columns that both have.
        missing: columns that only the longer one has.
        by_level: cells with another code, of the columns that both have, by level.
        changed_columns: columns with at least one other code.
        changed_bands: such cells by band.
    """

    columns: int
    missing: int
    by_level: tuple[int, ...]
    changed_columns: tuple[int, ...]
    changed_bands: tuple[int, ...]

    @property
    def same(self) -> bool:
        """Whether all codes agree."""
        return not self.missing and not self.changed_columns


def difference(grid: CodeGrid, other: CodeGrid) -> Difference:
    """Compare two grids of one model.

    Raises:
        ArtifactError: they belong to different models.
        UsageError: they have other bands or levels.
    """
    grid.require_alike(other)
    both = min(len(grid), len(other))
    differs = grid.codes[:both] != other.codes[:both]
    return Difference(
        columns=both,
        missing=max(len(grid), len(other)) - both,
        by_level=tuple(differs.sum(axis=(0, 1)).tolist()),
        changed_columns=tuple(np.flatnonzero(differs.any(axis=(1, 2))).tolist()),
        changed_bands=tuple(differs.sum(axis=(0, 2)).tolist()),
    )


def changed_cells(before: CodeGrid, after: CodeGrid) -> int:
    """How many cells of grids of one model differ, between the columns that both begin and end with.

    Those of columns that only one of them has there count as well.
    """
    one, two = before.codes, after.codes
    shorter = min(len(one), len(two))
    first = _alike(one[:shorter], two[:shorter])
    last = _alike(one[first:][::-1][: shorter - first], two[first:][::-1][: shorter - first])
    one, two = one[first : len(one) - last], two[first : len(two) - last]
    both = min(len(one), len(two))
    return int((one[:both] != two[:both]).sum()) + one[both:].size + two[both:].size


def _alike(one: Codes, two: Codes) -> int:
    """With how many equal columns two grids of one length begin."""
    differs = (one != two).any(axis=(1, 2))
    return int(differs.argmax()) if differs.any() else len(differs)
