"""Blending two grids among the code vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.codec.vectors import codebooks, quantize, relative_distance, sum_of_vectors
from distill.codes.edits import Blend, cells_of
from distill.codes.exchange import Overlap, overlap
from distill.codes.grid import CodeGrid, Codes
from distill.codes.model import CodesModel
from distill.codes.selection import EVERYTHING, Selection
from distill.errors import UsageError
from distill.models.grid import FREE


@dataclass(frozen=True)
class Blended:
    """A blend as an edit, and what it is about.

    Attributes:
        edit: to be done to the grid; its `distance` is the RMS distance of the new codes' vectors to the blended
            vectors, relative to the RMS size of these.
        overlap: the cells of both grids.
        changed: cells whose code changes.
    """

    edit: Blend
    overlap: Overlap
    changed: int


def blend(
    model: CodesModel,
    grid: CodeGrid,
    other: CodeGrid,
    weight: float | Sequence[float],
    selection: Selection = EVERYTHING,
    at: int | None = None,
    *,
    name: str = "the other",
) -> Blended:
    """Move a region of a grid towards another grid.

    Each level's code vectors are interpolated, `(1 - weight) * ours + weight * theirs`; their sum over levels is
    quantized again, level by level on what is left over. Levels with weight 0, with weight 1, frozen or not selected
    keep exactly our or their code, and the others make up for nothing else: so weight 0 gives our cells and 1 theirs.
    Of space what the codes stand for is interpolated, and the nearest code taken.

    Args:
        model: the model of both.
        grid: ours.
        other: theirs; where it ends before the region does, the region is cut to what both have.
        weight: 0 to 1, for all levels or one for each level of the model.
        selection: the region.
        at: column of the other that lies over the first of the region; by default the one with the same number.
        name: what the history calls the other.

    Raises:
        ArtifactError: a grid belongs to another model.
        UsageError: a weight is no number from 0 to 1, or nothing is selected, or it lies outside of a grid.
    """
    model.require(grid, "the grid")
    model.require(other, "the other grid")
    weights = _weights(weight, grid.levels)
    found = overlap(grid, other, selection, at)
    assert found.here.levels is not None
    levels = list(found.here.levels)
    ours, theirs = _all_levels(grid, found.here), _all_levels(other, found.there)
    shares = np.array([weights[level] if level in levels else 0.0 for level in range(grid.levels)])
    codec, books, mids = model.codec, codebooks(model.codec), slice(model.codec.levels)
    target = sum_of_vectors(books, ours[..., mids], 1.0 - shares[mids])
    target += sum_of_vectors(books, theirs[..., mids], shares[mids])
    fixed = np.where(shares == 0.0, ours, np.where(shares == 1.0, theirs, FREE))
    codes = quantize(books, target, fixed[..., mids])
    distance = relative_distance(sum_of_vectors(books, codes), target)
    if codec.space is not None and grid.levels > codec.levels:
        weight_of_space = shares[-1]
        cells = [codec.space.cells(each[..., -1]) for each in (ours, theirs)]
        nearest = codec.space.codes_of((1.0 - weight_of_space) * cells[0] + weight_of_space * cells[1])
        codes = codec.whole(codes, np.where(fixed[..., -1] == FREE, nearest, fixed[..., -1]))
    edit = Blend(
        selection=found.here,
        cells=cells_of(codes[..., levels]),
        other=name,
        other_first=found.other_first,
        weights=weights,
        distance=distance,
    )
    return Blended(edit, found, int(np.sum(codes != ours)))


def _all_levels(grid: CodeGrid, cells: Selection) -> Codes:
    """The codes of all levels at the columns and bands of resolved cells."""
    assert cells.columns is not None
    found: Codes = grid.codes[slice(*cells.columns)][:, list(cells.bands or ())]
    return found


def _weights(weight: float | Sequence[float], levels: int) -> tuple[float, ...]:
    weights = (float(weight),) * levels if isinstance(weight, int | float) else tuple(map(float, weight))
    if len(weights) != levels:
        raise UsageError(f"give one weight, or one for each of the {levels} levels, not {len(weights)}")
    for each in weights:
        if not 0.0 <= each <= 1.0:
            raise UsageError(f"a weight must be a number from 0 (ours) to 1 (theirs), not {each:g}")
    return weights
