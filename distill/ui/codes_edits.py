"""Edits of a grid from the values of controls in the tab Codes."""

from distill.codes.edits import Edit, Freeze, Rename, Repeat, Reverse, Transpose, Unfreeze
from distill.codes.randomize import randomize
from distill.codes.selection import Selection
from distill.codes.session import EditSession
from distill.errors import UsageError
from distill.generation.sampler import SamplingConfig


def reverse(work: EditSession, selection: Selection) -> Edit:
    """The selected cells backwards."""
    return Reverse(selection=selection)


def move(work: EditSession, selection: Selection, columns: float | None) -> Edit:
    """The selected cells later by so many columns."""
    return Transpose(selection=selection, columns=whole(columns, "columns"))


def repeat(work: EditSession, selection: Selection, times: float | None) -> Edit:
    """The selected columns so many times more."""
    return Repeat(columns=selection.columns or (0, len(work.grid)), times=max(1, whole(times, "copies")))


def draw(work: EditSession, selection: Selection, temperature: float, seed: float | None) -> Edit:
    """The selected cells as the prior draws them."""
    config = SamplingConfig(temperature=temperature)
    return randomize(work.model, work.grid, selection, seed=whole(seed, "seed"), config=config)


def freeze(work: EditSession, selection: Selection, labels: list[str]) -> Edit | None:
    """Only these levels frozen; None: they are already."""
    wanted = {level for level, label in enumerate(work.grid.labels) if label in labels}
    more, less = wanted - set(work.grid.frozen), set(work.grid.frozen) - wanted
    if more:
        return Freeze(levels=tuple(sorted(more)))
    return Unfreeze(levels=tuple(sorted(less))) if less else None


def rename(work: EditSession, selection: Selection, level: int | None, label: str | None) -> Edit:
    """A level with another label."""
    if level is None:
        raise UsageError("open a sound or a grid file first")
    return Rename(level=level, label=(label or "").strip())


def whole(value: float | None, what: str) -> int:
    """The whole number in a field.

    Raises:
        UsageError: the field is empty.
    """
    if value is None:
        raise UsageError(f"{what}: give a whole number")
    return int(value)
