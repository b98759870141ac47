"""A grid with everything that was done to it, which can be undone and done again."""

from dataclasses import dataclass
from functools import cached_property

from distill.codes.edits import Edit
from distill.codes.grid import CodeGrid
from distill.errors import DataError, UsageError
from distill.words import counted


@dataclass(frozen=True)
class History:
    """A start, edits, and how many of them are done; it never changes, each step makes another.

    Attributes:
        start: the grid before all edits.
        edits: in the order in which they are done.
        position: how many are done; the others were undone.
    """

    start: CodeGrid
    edits: tuple[Edit, ...] = ()
    position: int = 0

    @cached_property
    def grid(self) -> CodeGrid:
        """The grid as it is now: the start with the done edits replayed.

        Raises:
            UsageError: an edit does not fit.
        """
        grid = self.start
        for edit in self.edits[: self.position]:
            grid = edit.apply(grid)
        return grid

    def do(self, edit: Edit) -> "History":
        """With one more edit; those that were undone are forgotten.

        Raises:
            UsageError: the edit does not fit the grid.
        """
        grid = edit.apply(self.grid)
        done = History(self.start, (*self.edits[: self.position], edit), self.position + 1)
        # Known already: replaying a long history after each edit would make it ever slower.
        vars(done)["grid"] = grid
        return done

    def undo(self, steps: int = 1) -> "History":
        """Without the last edits.

        Raises:
            DataError: there are not so many.
        """
        return self._moved(-steps, self.position, "undo", steps)

    def redo(self, steps: int = 1) -> "History":
        """With the next undone edits done again.

        Raises:
            DataError: there are not so many.
        """
        return self._moved(steps, len(self.edits) - self.position, "redo", steps)

    def describe(self) -> list[str]:
        """Each edit in words; undone ones too."""
        lines, grid = [], self.start
        for edit in self.edits:
            lines.append(edit.describe(grid))
            grid = edit.apply(grid)
        return lines

    def _moved(self, by: int, possible: int, verb: str, steps: int) -> "History":
        if steps < 1:
            raise UsageError(f"the number of edits to {verb} must be 1 or more, not {steps}")
        if steps > possible:
            raise DataError(
                f"only {counted(possible, 'edit')} to {verb}" if possible else f"there is nothing to {verb}"
            )
        return History(self.start, self.edits, self.position + by)
