"""An editing session: a grid with its model and its history of edits, and how it sounds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from distill.codec.codec import Samples
from distill.codes.edits import Edit
from distill.codes.grid import CodeGrid
from distill.codes.history import History
from distill.codes.model import CodesModel
from distill.codes.playback import Rendering, hear, render, rerender
from distill.codes.selection import Selection
from distill.codes.sound import amplify, as_source, at_source_level

# Heard after an edit: so many columns around what changed, and no more than these in all.
_AROUND = 1
_MOST_HEARD = 12


@dataclass(frozen=True)
class EditSession:
    """A grid with its history and its sound; it never changes, each step makes another.

    Attributes:
        model: the model of the grid.
        history: the grid and what was done to it.
        words: each edit of the history in words, undone ones too.
        rendering: the last decoded sound, which may be one of before the last steps; None: there is none yet.
        changed: columns, from the first to the one after the last, that the last step changed; None: none.
    """

    model: CodesModel
    history: History
    words: tuple[str, ...] = ()
    rendering: Rendering | None = None
    changed: tuple[int, int] | None = None

    @classmethod
    def begin(cls, model: CodesModel, history: History) -> "EditSession":
        """Work on a grid.

        Raises:
            ArtifactError: it belongs to another model.
            DataError: it claims to belong to this one and has other bands or levels.
        """
        model.require(history.grid)
        return cls(model, history, tuple(history.describe()))

    @property
    def grid(self) -> CodeGrid:
        """The grid as it is now."""
        return self.history.grid

    @property
    def undoable(self) -> str | None:
        """What undo takes back, in words."""
        return self.words[self.history.position - 1] if self.history.position else None

    @property
    def redoable(self) -> str | None:
        """What redo does again, in words."""
        return self.words[self.history.position] if self.history.position < len(self.words) else None

    def step(self, *, back: bool) -> Edit | None:
        """The edit that undo takes back, or the one that redo does again; None: there is none."""
        edits, position = self.history.edits, self.history.position
        return next(iter(edits[position - 1 : position] if back else edits[position : position + 1]), None)

    def do(self, edit: Edit) -> "EditSession":
        """With one more edit.

        Raises:
            UsageError: it does not fit the grid.
        """
        moved = self._moved(lambda: self.history.do(edit))
        return replace(moved, words=(*self.words[: self.history.position], edit.describe(self.grid)))

    def undo(self) -> "EditSession":
        """Without the last edit.

        Raises:
            DataError: there is none.
        """
        return self._moved(self.history.undo)

    def redo(self) -> "EditSession":
        """With the next undone edit done again.

        Raises:
            DataError: there is none.
        """
        return self._moved(self.history.redo)

    def rendered(self) -> "EditSession":
        """With a sound that is up to date, at the cost of what changed since the last."""
        if self.rendering is not None and self.rendering.grid == self.grid:
            return self
        if self.rendering is None:
            return replace(self, rendering=render(self.model, self.grid))
        return replace(self, rendering=rerender(self.model, self.rendering, self.grid))

    def samples(self) -> Samples:
        """The whole sound `[n]` or `[2, n]` at the level and, if it can be, with the duration of what was encoded."""
        rendering = self.rendered().rendering
        assert rendering is not None
        return as_source(self.model, self.grid, self.model.place(self.grid.codes, rendering.samples))

    def hear_change(self) -> Samples | None:
        """What the last step changed, with its neighbourhood, `[n]` or `[2, n]`; None where it changed no code."""
        if self.changed is None:
            return None
        first = max(0, self.changed[0] - _AROUND)
        last = min(len(self.grid), self.changed[1] + _AROUND, first + _MOST_HEARD)
        return at_source_level(self.model, self.grid, hear(self.model, self.grid, Selection(columns=(first, last))))

    def hear(self, selection: Selection) -> Samples:
        """The selected cells alone, `[n]` or `[2, n]`, loud enough to be heard.

        Raises:
            UsageError: nothing is selected, or it lies outside of the grid.
        """
        return amplify(hear(self.model, self.grid, selection))

    def _moved(self, step: Callable[[], History]) -> "EditSession":
        before, history = self.grid, step()
        return replace(self, history=history, changed=_changed(before, history.grid))


def _changed(before: CodeGrid, after: CodeGrid) -> tuple[int, int] | None:
    """Columns of the grid after an edit that the one before does not have there; of one that got longer, all new."""
    both = min(len(before), len(after))
    differs = np.flatnonzero((before.codes[:both] != after.codes[:both]).any(axis=(1, 2)))
    if len(after) > both:
        differs = np.append(differs, len(after) - 1)
    if not len(differs):
        return None
    return int(differs[0]), int(differs[-1]) + 1
