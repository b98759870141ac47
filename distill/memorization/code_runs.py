"""Codes that sounds share exactly with known ones: the longest run, and the share of short sequences.

What is looked for is fixed, and the known grids pass by one after the other: whole columns and short sequences are
found by their hashes, and equal columns in a row are a run, which goes on into the columns at its ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.codec.codec import Grid
from distill.configs import STRIDE
from distill.memorization.sounds import Cells, CheckedSound

# Codes in a short sequence: long enough that chance does not repeat it, shorter than half a column.
NGRAM = 8

# Columns of a known grid that are looked through at once: memory for what agrees does not grow with the grid.
_BLOCK_COLUMNS = 1024
_MIX = np.uint64(0x9E3779B97F4A7C15)

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SharedRun:
    """The longest run of a grid that also stands in another one.

    `codes` counts the codes of the run in cells that sound, `share` is their part of all such codes in the grid,
    `source` the number of the known sound, `column` where the run begins in the grid, and `source_frame` where in the
    known sound.
    """

    codes: int = 0
    share: float = 0.0
    source: int = 0
    column: int = 0
    source_frame: int = 0


class SharedCodes:
    """What sounds share with the known grids that have been added.

    A run follows the reading order (column, band, level). It holds at least one whole column, and ends where nothing
    sounds. Codes of cells that do not sound keep it going but do not count.

    Args:
        sounds: whose codes are looked for.
        own_files: for each the file whose grids are left out, None where none are.
    """

    def __init__(self, sounds: Sequence[CheckedSound], own_files: Sequence[int | None]) -> None:
        self._own = np.array([-1 if file is None else file for file in own_files], np.int64)
        lengths = np.array([len(sound.grid) for sound in sounds], np.int64)
        self._longest = int(lengths.max(initial=0))
        self._begins = np.cumsum(lengths) - lengths
        self._sound = np.repeat(np.arange(len(sounds)), lengths)
        self._ends = (self._begins + lengths)[self._sound]
        self._columns = _joined([_columns(sound.grid) for sound in sounds])
        self._counted = _joined([_counted(sound) for sound in sounds])
        self._total = np.array([_counted(sound).sum() for sound in sounds], np.int64)
        codes = self._counted.sum(1)
        self._sums = np.concatenate([[0], np.cumsum(codes)])
        hashes, asked = _mixed(self._columns), np.flatnonzero(codes)
        self._asked = asked[np.argsort(hashes[asked], kind="stable")]
        self._hashes = hashes[self._asked]
        self._runs = [SharedRun() for _ in sounds]
        self._most = np.zeros(len(sounds), np.int64)
        self._sequences = [_sequences(sound.grid)[_heard(sound)] for sound in sounds]
        self._known = np.unique(_joined(self._sequences))
        # For each sequence the first file that has it, and whether another one has it, too.
        self._first = np.full(len(self._known), -1)
        self._several = np.zeros(len(self._known), bool)

    def add(self, source: int, grid: Grid, file: int) -> None:
        """Look for what the sounds share with the grid `[columns, bands, levels]` of a known sound."""
        self._add_sequences(grid, file)
        columns = _columns(grid)
        for begin in range(0, len(columns), _BLOCK_COLUMNS):
            # A run that begins in a block ends in it, as no sound is longer than the blocks overlap.
            self._add_columns(source, columns[begin : begin + _BLOCK_COLUMNS + self._longest], begin, file)

    def _add_columns(self, source: int, columns: Grid, begin: int, file: int) -> None:
        hashes = _mixed(columns)
        first, last = (np.searchsorted(self._hashes, hashes, side) for side in ("left", "right"))
        count = last - first
        there = np.repeat(np.arange(len(columns)), count)
        here = self._asked[np.repeat(first - (np.cumsum(count) - count), count) + np.arange(count.sum())]
        kept = self._own[self._sound[here]] != file
        here, there = here[kept], there[kept]
        order = np.lexsort((here, here - there))
        here, there = here[order], there[order]
        goes_on = (np.diff(here) == 1) & (np.diff(there) == 1) & (np.diff(self._sound[here]) == 0)
        begins = np.flatnonzero(np.concatenate([[True], ~goes_on])[: len(here)])
        ends = np.concatenate([begins[1:], [len(here)]])[: len(begins)]
        self._take(source, begin, columns, here[begins], there[begins], ends - begins)

    def run(self, sound: int) -> SharedRun:
        """The longest run of a sound, the first that was found of several."""
        return self._runs[sound]

    def overlap(self, sound: int) -> float:
        """Share of a sound's sequences of `NGRAM` codes that stand at the same bands in a known grid, 0 to 1.

        Sequences in which nothing sounds do not count.
        """
        mine = np.searchsorted(self._known, self._sequences[sound])
        if not len(mine):
            return 0.0
        first = self._first[mine]
        return float((self._several[mine] | ((first >= 0) & (first != self._own[sound]))).mean())

    def _add_sequences(self, grid: Grid, file: int) -> None:
        if not len(self._known):
            return
        sequences = np.unique(_sequences(grid))
        place = np.minimum(np.searchsorted(self._known, sequences), len(self._known) - 1)
        found = place[self._known[place] == sequences]
        self._several[found] |= (self._first[found] >= 0) & (self._first[found] != file)
        self._first[found] = np.where(self._first[found] < 0, file, self._first[found])

    def _take(self, source: int, begin: int, columns: Grid, here: Numbers, there: Numbers, length: Numbers) -> None:
        """Keep the longest of runs of whole columns, which begin at columns of the sounds and of a block of a grid."""
        sound, codes, cells = self._sound[here], self._sums[here + length] - self._sums[here], columns.shape[1]
        # At most nearly a column more at either end.
        kept = codes + 2 * (cells - 1) > self._most[sound]
        here, there, length, sound, codes = (each[kept] for each in (here, there, length, sound, codes))
        before = self._more(columns, here - 1, there - 1, here > self._begins[sound], backwards=True)
        behind = self._more(columns, here + length, there + length, here + length < self._ends[here], backwards=False)
        codes = codes + before + behind
        for index in np.argsort(-codes, kind="stable"):
            if codes[index] > self._most[sound[index]]:
                at = int(sound[index])
                earlier = int(before[index] > 0)
                self._most[at] = codes[index]
                self._runs[at] = SharedRun(
                    codes=int(codes[index]),
                    share=float(codes[index] / self._total[at]),
                    source=source,
                    column=int(here[index] - self._begins[at]) - earlier,
                    source_frame=STRIDE * (begin + int(there[index]) - earlier),
                )

    def _more(self, columns: Grid, here: Numbers, there: Numbers, inside: Cells, *, backwards: bool) -> Numbers:
        """Counted codes with which runs go on into the next columns."""
        inside = inside & (there >= 0) & (there < len(columns))
        here, there = np.where(inside, here, 0), np.where(inside, there, 0)
        way = slice(None, None, -1 if backwards else 1)
        equal = (self._columns[here] == columns[there])[:, way] & inside[:, None]
        more: Numbers = (np.logical_and.accumulate(equal, axis=1) & self._counted[here][:, way]).sum(1)
        return more


def _columns(grid: Grid) -> Grid:
    return grid.reshape(len(grid), -1)


def _counted(sound: CheckedSound) -> Cells:
    """Which codes count, `[columns, bands * levels]`."""
    return np.repeat(sound.sounding, sound.grid.shape[2], axis=1)


def _heard(sound: CheckedSound) -> Cells:
    """Which of a sound's sequences hold a code that counts."""
    counted = _counted(sound).ravel().astype(np.int64)
    return np.convolve(counted, np.ones(NGRAM, np.int64), "valid") > 0 if len(counted) >= NGRAM else np.zeros(0, bool)


def _joined(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros((0, 1), np.int64)


def _sequences(grid: Grid) -> Hashes:
    """A hash of each sequence of `NGRAM` codes and of its place within a column."""
    flat, cells = grid.ravel(), grid[0].size
    count = flat.size - NGRAM + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    view = np.lib.stride_tricks.sliding_window_view(flat, NGRAM)
    return _mixed(np.concatenate([(np.arange(count) % cells)[:, None], view], axis=1))


def _mixed(rows: Grid) -> Hashes:
    """A hash of each row `[n, length]` of whole numbers from 0 on."""
    hashes = np.zeros(len(rows), np.uint64)
    with np.errstate(over="ignore"):
        for values in rows.T:
            hashes = (hashes ^ (values.astype(np.uint64) + np.uint64(1))) * _MIX
            hashes ^= hashes >> np.uint64(29)
    return hashes
