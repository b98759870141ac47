"""Renewing part of a code grid so that it goes with what stands on both sides of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.codec.codec import Grid
from distill.errors import UsageError
from distill.generation.autoregressive import Drawn
from distill.generation.limits import MAX_SEED
from distill.generation.sampler import SamplingConfig
from distill.generation.sampling import draw_codes
from distill.models.grid import FREE
from distill.models.prior import CodePrior

# More candidates meet the right side better and take proportionally longer.
CANDIDATES = 16
# What follows the region by more than this hardly depends on it.
RIGHT_COLUMNS = 6


@dataclass(frozen=True)
class Region:
    """Columns `first` up to, and without, `last` of a grid, in some levels and bands (from 0); None: in all."""

    first: int
    last: int
    levels: tuple[int, ...] | None = None
    bands: tuple[int, ...] | None = None

    def mask(self, grid: Grid) -> npt.NDArray[np.bool_]:
        """True in the region, shape of the grid `[columns, bands, levels]`.

        Raises:
            UsageError: the region is empty or reaches beyond the grid.
        """
        columns, levels = len(grid), grid.shape[2]
        if not 0 <= self.first < self.last <= columns:
            raise UsageError(f"columns {self.first} to {self.last} are outside a sound of {columns} columns")
        chosen = range(levels) if self.levels is None else self.levels
        if not chosen or any(not 0 <= level < levels for level in chosen):
            raise UsageError(f"levels {list(chosen)} are not among the model's levels 0 to {levels - 1}")
        rows = range(grid.shape[1]) if self.bands is None else self.bands
        if not rows or any(not 0 <= band < grid.shape[1] for band in rows):
            raise UsageError(f"bands {list(rows)} are not among the model's bands 0 to {grid.shape[1] - 1}")
        found = np.zeros(grid.shape, dtype=bool)
        found[np.ix_(range(self.first, self.last), rows, chosen)] = True
        return found


def inpaint(
    prior: CodePrior,
    grid: Grid,
    region: Region,
    *,
    seed: int,
    config: SamplingConfig | None = None,
    candidates: int = CANDIDATES,
) -> Grid:
    """Draw the codes of a region anew; all others stay.

    The prior reads from left to right, so each candidate follows from what stands before it. Which of them fits what
    stays within and after the region is decided by importance: one is drawn with the probability that the prior gives
    to those codes (sampling-importance-resampling, Rubin 1988).

    Args:
        prior: in evaluation mode.
        grid: a whole sound, `[columns, bands, levels]`.
        region: what to renew.
        seed: decides the result, with the settings.
        config: how codes are chosen.
        candidates: number of candidates.

    Returns:
        A grid of the same shape.

    Raises:
        UsageError: the region does not fit the grid, or the seed is negative.
        ArtifactError: the prior's weights give numbers that are not finite.
    """
    given = np.where(region.mask(grid), FREE, grid)
    end = min(len(grid), region.last + RIGHT_COLUMNS)
    drawn = complete(prior, given[:end], seed=seed, config=config, candidates=candidates)
    return np.concatenate([drawn, grid[end:]])


def complete(
    prior: CodePrior, given: Grid, *, seed: int, config: SamplingConfig | None = None, candidates: int = CANDIDATES
) -> Grid:
    """Draw the codes of a grid that are FREE, so that they go with the others; see `inpaint`."""
    if seed < 0:
        raise UsageError(f"a seed must be 0 or more, not {seed}")
    generator = np.random.Generator(np.random.Philox(seed))
    seeds = [int(each) for each in generator.integers(0, MAX_SEED, candidates)]
    drawn = draw_codes(prior, columns=len(given), seeds=seeds, config=config, given=given)
    return _chosen(drawn, generator).grid


def _chosen(drawn: list[Drawn], generator: np.random.Generator) -> Drawn:
    scores = np.array([each.log_probability for each in drawn])
    weights = np.exp(scores - scores.max())
    return drawn[int(generator.choice(len(drawn), p=weights / weights.sum()))]
