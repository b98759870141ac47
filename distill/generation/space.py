"""Where new sounds lie between two channels: the last level of their grids, drawn when all others are known."""

from dataclasses import replace

import numpy as np
import torch

from distill.codec.codec import Codec, Grid
from distill.codec.vectors import codebooks, sum_of_vectors
from distill.errors import UsageError
from distill.generation.inpainting import CANDIDATES, Region, inpaint
from distill.generation.sampler import SamplingConfig, choose
from distill.generation.seeds import SPACE, stream
from distill.models.grid import FREE
from distill.models.prior import CodePrior
from distill.models.space import Values


def with_space(
    codec: Codec, grid: Grid, *, seed: int, config: SamplingConfig | None = None, given: Grid | None = None
) -> Grid:
    """A grid `[columns, bands, levels]` with its space; of a model without space the grid itself.

    Args:
        codec: of the grid.
        grid: without space.
        seed: decides what is drawn, with the settings; what the grid was drawn from is not touched.
        config: how codes are chosen; those of the last level count.
        given: the first codes of space, `[n, bands]`, FREE where they are to be drawn; n may be 0 to `columns`.
    """
    space = codec.space
    if space is None:
        return grid
    settings = (config or SamplingConfig()).of_levels(codec.levels)[-1]
    fixed = np.full(grid.shape[:2], FREE)
    if given is not None:
        fixed[: len(given)] = given
    with torch.inference_mode():
        seen = space.seen(torch.from_numpy(sum_of_vectors(codebooks(codec), grid))[None])
    uniform = stream(seed, SPACE).random(fixed.shape)
    codes, state = fixed.copy(), None
    for column in range(len(codes)):

        def chosen(band: int, logits: Values, column: int = column) -> int:
            if fixed[column, band] != FREE:
                return int(fixed[column, band])
            return int(choose(logits[None].astype(np.float64), uniform[column, band : band + 1], settings)[0])

        state = space.column(codes, column, seen, state, chosen)
    return codec.whole(grid, codes)


def renew_region(
    codec: Codec,
    prior: CodePrior,
    grid: Grid,
    region: Region,
    *,
    seed: int,
    config: SamplingConfig | None = None,
    candidates: int = CANDIDATES,
) -> Grid:
    """A whole grid with the codes of a region drawn anew, those of the space last if it has one; see `inpaint`."""
    if codec.space is None or grid.shape[2] == codec.levels:
        return inpaint(prior, grid, region, seed=seed, config=config, candidates=candidates)
    mask = region.mask(grid)
    mid, space = codec.without_space(grid), grid[..., -1]
    levels = range(codec.levels) if region.levels is None else [each for each in region.levels if each < codec.levels]
    if levels:
        inner = replace(region, levels=tuple(levels))
        mid = inpaint(prior, mid, inner, seed=seed, config=config, candidates=candidates)
    if not mask[..., -1].any():
        return codec.whole(mid, space)
    return with_space(codec, mid, seed=seed, config=config, given=np.where(mask[..., -1], FREE, space))


def width_of(codec: Codec, channels: int | None, width: float) -> float | None:
    """The width of a model's sounds, where a number of channels and a width are asked for; None: they are mono.

    Raises:
        UsageError: the model makes mono sounds, and something else is asked for; or one channel, and a width.
    """
    if channels == 1 and width != 1.0:
        raise UsageError("one channel has no width: omit channels or width")
    if codec.space is None and (channels == 2 or width != 1.0):
        raise UsageError(
            "this model makes mono sounds, because all its training sounds are mono: omit channels and width"
        )
    return None if codec.space is None or channels == 1 else width
