"""Letting the prior draw a region anew."""

from distill.codes.edits import Randomize, cells_of
from distill.codes.grid import CodeGrid
from distill.codes.model import CodesModel
from distill.codes.selection import EVERYTHING, Selection
from distill.generation.inpainting import CANDIDATES, Region
from distill.generation.limits import check_request
from distill.generation.sampler import SamplingConfig
from distill.generation.space import renew_region


def randomize(
    model: CodesModel,
    grid: CodeGrid,
    selection: Selection = EVERYTHING,
    *,
    seed: int,
    config: SamplingConfig | None = None,
    candidates: int = CANDIDATES,
) -> Randomize:
    """Draw a region from the prior, so that it goes with the cells that stay.

    Args:
        model: the grid's model.
        grid: a whole sound.
        selection: the region; frozen levels stay.
        seed: decides the result, with the settings.
        config: how codes are chosen.
        candidates: more meet what follows better and take longer.

    Raises:
        ArtifactError: the grid belongs to another model, or the model has no prior.
        UsageError: nothing is selected, it lies outside of the grid, or the seed is negative.
    """
    model.require(grid)
    check_request(count=1, seconds=1.0, seed=seed)
    found = selection.resolved(grid)
    assert found.columns is not None
    region = Region(*found.columns, levels=found.levels, bands=found.bands)
    codes = renew_region(model.codec, model.prior, grid.codes, region, seed=seed, config=config, candidates=candidates)
    return Randomize(selection=found, cells=cells_of(codes[found.cells(grid)]), seed=seed)
