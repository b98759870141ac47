"""In what two grids differ."""

from dataclasses import dataclass

import numpy as np

from distill.codes.grid import CodeGrid


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
