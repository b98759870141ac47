"""Longest runs of codes that two sounds share exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SharedRun:
    """The longest run of a grid that also stands in another one.

    `codes` counts the codes of the run that are not silence, `share` is their part of all such codes in the grid,
    `source` the index of the other grid, `column` where the run begins in the grid and `source_column` where in
    the other.
    """

    codes: int
    share: float
    source: int
    column: int
    source_column: int


def longest_shared_run(grid: Grid, others: Sequence[Grid], silence: npt.NDArray[np.int64]) -> SharedRun:
    """Find the longest exact run that `grid` shares with any of `others`, at any shift in time.

    Grids are `[columns, bands, levels]`; a run follows the reading order (column, band, level). Codes that equal
    the code of silence at their place (`silence` is `[bands, levels]`) keep a run going but do not count.
    """
    counted = (grid != silence).ravel()
    total = int(counted.sum())
    best = SharedRun(0, 0.0, 0, 0, 0)
    for source, other in enumerate(others):
        for shift in range(-len(other) + 1, len(grid)):
            first, last = max(0, shift), min(len(grid), shift + len(other))
            equal = (grid[first:last] == other[first - shift : last - shift]).ravel()
            offset = first * grid[0].size
            codes, begin = _longest_run(equal, counted[offset : offset + equal.size])
            if codes > best.codes:
                column = (offset + begin) // grid[0].size
                best = SharedRun(codes, codes / total, source, column, column - shift)
    return best


def _longest_run(equal: npt.NDArray[np.bool_], counted: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Most counted places in a run of equal ones, and where that run begins."""
    edges = np.flatnonzero(np.diff(equal, prepend=False, append=False))
    if not edges.size:
        return 0, 0
    sums = np.concatenate([[0], np.cumsum(counted)])
    begins, ends = edges[::2], edges[1::2]
    lengths = sums[ends] - sums[begins]
    longest = int(lengths.argmax())
    return int(lengths[longest]), int(begins[longest])
