"""From code grids to the batches of windows that the prior learns from and is measured on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill.models.prior import IGNORED

Grid = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Window:
    """Columns of one sound's code grid.

    Attributes:
        grid: `[columns, bands, levels]`.
        at_start: whether the sound begins with the first column.
        following: the code after the last one; None where the sound ends, IGNORED where it is not known.
        scored_from: first code whose prediction counts; those before it are there to be seen. Only at a true start
            can the first code be predicted at all.
        changed: whether the sound was changed to learn more from it.
        condition: the vector that the sound is learned with, `[conditions]`; None: none.
    """

    grid: Grid
    at_start: bool
    following: int | None
    scored_from: int
    changed: bool = False
    condition: npt.NDArray[np.float32] | None = None

    @property
    def length(self) -> int:
        """Number of codes."""
        return self.grid.size


@dataclass(frozen=True)
class Batch:
    """Windows side by side, short ones filled up at the end.

    Attributes:
        tokens: codes, `[batch, n]`.
        starts: whether a sound begins here, `[batch]`.
        targets: what each slot should predict, `[batch, n + 1]`; IGNORED where nothing counts.
        changed: whether a sound was changed, `[batch]`.
        condition: the vector of each sound, `[batch, conditions]`; None: none has any.
    """

    tokens: Tensor
    starts: Tensor
    targets: Tensor
    changed: Tensor
    condition: Tensor | None = None

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        tokens, starts, targets, changed = (
            part.to(device) for part in (self.tokens, self.starts, self.targets, self.changed)
        )
        return Batch(tokens, starts, targets, changed, None if self.condition is None else self.condition.to(device))

    def part(self, items: slice) -> "Batch":
        """Some windows of the batch, filled up as they are."""
        condition = None if self.condition is None else self.condition[items]
        return Batch(self.tokens[items], self.starts[items], self.targets[items], self.changed[items], condition)


def columns_to_keep(columns: int) -> int:
    """How many of its newest columns a full window keeps when it moves on."""
    return columns // 2


def windows(grid: Grid, context_columns: int) -> list[Window]:
    """Windows in which each code of a grid and its end count exactly once.

    After the first window each code is predicted from at least half a window: the windows overlap as they do
    when a sound is continued beyond the context.

    Args:
        grid: a whole sound, `[columns, bands, levels]`.
        context_columns: most columns in a window, at least 2.
    """
    kept = columns_to_keep(context_columns)
    last = min(context_columns, len(grid))
    found = [_window(grid, 0, last)]
    while last < len(grid):
        first = last - kept
        # The window before has predicted the first new code.
        scored_from = kept * _column_tokens(grid) + 1
        last = min(first + context_columns, len(grid))
        found.append(replace(_window(grid, first, last), scored_from=scored_from))
    return found


def window_counts(columns: npt.NDArray[np.int64], context_columns: int) -> npt.NDArray[np.int64]:
    """How many windows `windows` gives for grids of so many columns.

    >>> window_counts(np.array([1, 4, 5, 7]), 4).tolist()
    [1, 1, 2, 3]
    """
    step = context_columns - columns_to_keep(context_columns)
    return 1 + -(-np.maximum(0, columns - context_columns) // step)


def pass_windows(columns: npt.NDArray[np.int64], context_columns: int) -> npt.NDArray[np.int64]:
    """How many windows of each of some grids a training shows in a pass: as many as it takes to cover them."""
    return -(-columns // context_columns)


def random_first(columns: int, context_columns: int, rng: np.random.Generator, *, crop: float = 0.2) -> int:
    """First column of a random window; start and end of a long sound come as often as any part of it.

    Args:
        columns: of the whole sound.
        context_columns: most columns in the window, at least 2.
        rng: where the randomness comes from.
        crop: how often a sound that would fit whole is given without its beginning. Without such windows a prior
            of short sounds does not learn to go on after the beginning has left the context.
    """
    beyond = columns - context_columns
    if beyond > 0:
        half = context_columns // 2
        return min(max(int(rng.integers(-half, beyond + half + 1)), 0), beyond)
    return int(rng.integers(1, columns)) if rng.random() < crop and columns > 1 else 0


def window_at(grid: Grid, first: int, context_columns: int) -> Window:
    """The window of a whole sound's grid, of at most so many columns, that begins with a column."""
    return _window(grid, first, min(first + context_columns, len(grid)))


def collate(chosen: Sequence[Window], *, codebook_size: int) -> Batch:
    """Put windows into one batch, as long as the longest; what fills up the others changes nothing for them."""
    longest = max(window.length for window in chosen)
    tokens = np.zeros((len(chosen), longest), dtype=np.int64)
    targets = np.full((len(chosen), longest + 1), IGNORED, dtype=np.int64)
    for row, window in enumerate(chosen):
        codes = window.grid.reshape(-1)
        after = codebook_size if window.following is None else window.following
        tokens[row, : len(codes)] = codes
        targets[row, window.scored_from : len(codes) + 1] = np.append(codes, after)[window.scored_from :]
    starts = np.array([window.at_start for window in chosen])
    changed = np.array([window.changed for window in chosen])
    vectors = [window.condition for window in chosen if window.condition is not None]
    condition = None if len(vectors) < len(chosen) else torch.from_numpy(np.stack(vectors))
    known = [torch.from_numpy(each) for each in (tokens, starts, targets, changed)]
    return Batch(known[0], known[1], known[2], known[3], condition)


def _window(grid: Grid, first: int, last: int) -> Window:
    following = int(grid[last, 0, 0]) if last < len(grid) else None
    return Window(grid[first:last], first == 0, following, 0 if first == 0 else 1)


def _column_tokens(grid: Grid) -> int:
    return grid.shape[1] * grid.shape[2]
