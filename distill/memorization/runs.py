"""Codes that a sound shares exactly with others: the longest run, and the share of short sequences."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.int64]

# Codes in a short sequence: long enough that chance does not repeat it, shorter than half a column.
NGRAM = 8

_MIX = np.uint64(0x9E3779B97F4A7C15)


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


class Grids:
    """Grids `[columns, bands, levels]` to search in; `silence` is the code of silence at each place, `[bands, levels]`.

    `files` says which grids come from the same file; each is a file of its own without it.
    """

    def __init__(self, grids: Sequence[Grid], silence: Grid, files: Sequence[int] | None = None) -> None:
        self.grids = grids
        self.silence = silence.ravel()
        self.files = np.arange(len(grids)) if files is None else np.asarray(files)
        lengths = np.array([len(grid) for grid in grids], np.int64)
        self._ends = np.cumsum(lengths)
        self._begins = self._ends - lengths
        self._source = np.repeat(np.arange(len(grids)), lengths)
        cells = self.silence.size
        self._columns = np.concatenate([np.zeros((0, cells), np.int64), *(grid.reshape(-1, cells) for grid in grids)])

    def longest_run(self, grid: Grid, without: Collection[int] = ()) -> SharedRun:
        """The longest exact run that a grid shares with any other, at any shift in time.

        A run follows the reading order (column, band, level). Codes of silence keep a run going but do not count.
        The grids of the files `without` are not searched.
        """
        columns = grid.reshape(len(grid), -1)
        counted = columns != self.silence
        total = int(counted.sum())
        kept = ~np.isin(self.files[self._source], list(without))
        starts = np.zeros(len(self._columns), bool)
        starts[self._begins[self._begins < len(starts)]] = True
        # For each place in the other grids: counted codes of the run that ends there.
        running = np.zeros(len(self._columns), np.int64)
        most, place = 0, (0, 0, 0)
        for index, codes in enumerate(columns):
            # A run goes on from the column before, within the same grid.
            running = np.roll(running, 1)
            running[starts] = 0
            equal = (self._columns == codes) & kept[:, None]
            for cell in range(columns.shape[1]):
                running = np.where(equal[:, cell], running + counted[index, cell], 0)
                longest = int(running.max(initial=0))
                if longest > most:
                    most, place = longest, (index, cell, int(running.argmax()))
        if not most:
            return SharedRun(0, 0.0, 0, 0, 0)
        column, other = self._begin(columns, *place)
        source = int(self._source[other])
        return SharedRun(most, most / total, source, column, other - int(self._begins[source]))

    def _begin(self, columns: Grid, column: int, cell: int, other: int) -> tuple[int, int]:
        """Column and place where the run begins that ends at a cell."""
        first = int(self._begins[self._source[other]])
        while True:
            same = columns[column, : cell + 1] == self._columns[other, : cell + 1]
            if not same.all() or column == 0 or other == first:
                return column, other
            last = columns.shape[1] - 1
            if columns[column - 1, last] != self._columns[other - 1, last]:
                return column, other
            column, other, cell = column - 1, other - 1, last

    def overlap(self, grid: Grid, without: Collection[int] = ()) -> float:
        """Share of a grid's sequences of `NGRAM` codes that stand at the same bands in another grid, 0 to 1.

        Sequences of silence alone do not count.
        """
        mine = _ngrams(grid, self.silence)
        if not mine.size:
            return 0.0
        known, files = self._ngrams_of_files
        place = np.minimum(np.searchsorted(known, mine), max(len(known) - 1, 0))
        found = np.isin(mine, known)
        holding = np.where(found, files[place] if len(known) else 0, 0)
        for file in without:
            holding = holding - np.isin(mine, self._ngrams_of(file))
        return float((holding > 0).mean())

    @cached_property
    def _ngrams_of_files(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Every sequence in the grids, sorted, and in how many files it is."""
        each = [self._ngrams_of(file) for file in np.unique(self.files)]
        return np.unique(np.concatenate([np.zeros(0, np.uint64), *each]), return_counts=True)

    def _ngrams_of(self, file: int) -> npt.NDArray[np.uint64]:
        """The different sequences of a file."""
        own = [_ngrams(self.grids[int(index)], self.silence) for index in np.flatnonzero(self.files == file)]
        return np.unique(np.concatenate([np.zeros(0, np.uint64), *own]))


def _ngrams(grid: Grid, silence: Grid) -> npt.NDArray[np.uint64]:
    """A hash of each sequence of `NGRAM` codes and of its place within a column; none for sequences of silence."""
    codes = grid.reshape(len(grid), -1)
    flat, cells = codes.ravel(), codes.shape[1]
    if flat.size < NGRAM:
        return np.zeros(0, np.uint64)
    count = flat.size - NGRAM + 1
    sounding = (codes != silence).ravel()
    some = np.convolve(sounding, np.ones(NGRAM, np.int64), "valid") > 0
    hashes = (np.arange(count) % cells).astype(np.uint64) + np.uint64(1)
    with np.errstate(over="ignore"):
        for offset in range(NGRAM):
            hashes = (hashes ^ (flat[offset : offset + count].astype(np.uint64) + np.uint64(1))) * _MIX
            hashes ^= hashes >> np.uint64(29)
    return hashes[some]
