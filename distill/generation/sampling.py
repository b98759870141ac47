"""Code grids from a prior: of a given length, as long as the prior makes a sound, or around given codes."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from distill.codec.codec import Grid
from distill.generation.autoregressive import UNCONDITIONED, Conditioning, Drawn, Levels, draw, window_columns
from distill.generation.sampler import SamplingConfig
from distill.generation.seeds import further_seed
from distill.models.incremental import ReadablePrior
from distill.models.kernels import MOST_ROWS
from distill.models.prior import CodePrior

# How many inaudible sounds in a row are passed over at most.
MOST_PASSED_OVER = 7

IsAudible = Callable[[Grid], bool]


def sample_codes(
    prior: CodePrior,
    *,
    columns: int,
    seeds: Sequence[int],
    config: SamplingConfig | None = None,
    natural: bool = False,
    given: Grid | None = None,
    from_start: bool = True,
    is_audible: IsAudible | None = None,
    levels: Levels | None = None,
    step: Callable[[], None] = lambda: None,
    conditioning: Conditioning = UNCONDITIONED,
) -> list[Grid]:
    """Draw a code grid for each seed.

    A grid follows from the prior, its seed and the settings alone, whatever else is drawn with it. Beyond the
    longest window of the training the oldest half of the window is forgotten and the rest goes on.

    Args:
        prior: in evaluation mode.
        columns: length of the grids, which may be several sounds as `sample_sequences` says; with `natural` the
            greatest length.
        seeds: one for each grid, 0 or more.
        config: how codes are chosen.
        natural: the grid ends where the prior ends the sound.
        given: the first codes, `[n, bands, levels]`, FREE where they are to be drawn; n may be 0 to `columns`.
        from_start: whether the first column is the sound's true beginning.
        is_audible: whether a new sound is audible; one that is not is passed over.
        levels: measures a new sound's last column; with `natural` it then keeps the prior's edges.
        step: called before each column is drawn; it may raise to end the work.
        conditioning: of the sounds.

    Returns:
        For each seed a grid `[columns, bands, levels]`, with what was given in it.

    Raises:
        UsageError: there is nothing to draw, a seed is negative, or the settings are for another number of levels.
        ArtifactError: the prior's weights give numbers that are not finite.
    """
    sequences = sample_sequences(
        prior,
        columns=columns,
        seeds=seeds,
        config=config,
        natural=natural,
        given=given,
        from_start=from_start,
        is_audible=is_audible,
        levels=levels,
        step=step,
        conditioning=conditioning,
    )
    return [np.concatenate(sounds) for sounds in sequences]


def draw_codes(
    prior: CodePrior, *, columns: int, seeds: Sequence[int], config: SamplingConfig | None = None, given: Grid
) -> list[Drawn]:
    """One sound for each seed, which does not end, and how well the given codes go with it.

    Arguments and errors are those of `sample_codes`.
    """
    wanted = np.full(len(seeds), columns)
    return draw(ReadablePrior(prior), wanted, np.zeros_like(wanted), seeds, config, given)


def sample_sequences(
    prior: CodePrior,
    *,
    columns: int,
    seeds: Sequence[int],
    config: SamplingConfig | None = None,
    natural: bool = False,
    given: Grid | None = None,
    from_start: bool = True,
    is_audible: IsAudible | None = None,
    levels: Levels | None = None,
    step: Callable[[], None] = lambda: None,
    conditioning: Conditioning = UNCONDITIONED,
) -> list[list[Grid]]:
    """Draw sounds that follow each other until there are so many columns, for each seed.

    Where the prior ends a sound and at least as many columns as it has are left, the next one begins, with a seed
    derived from the first. The last one goes on until the columns are full, be it in silence. Otherwise a long grid of
    a prior that knows only short sounds would be mostly silent. With `natural` there is one sound.

    A sound does not end before a column is drawn behind what is given, nor before the shortest sound of the training.
    Arguments and errors are those of `sample_codes`.
    """
    if not natural:
        # Sounds in a chain may begin and end at any level.
        levels = None
    chains = [_Chain(seed, columns, window_columns(prior), natural) for seed in seeds]
    readable = ReadablePrior(prior)
    # Without columns `draw` raises.
    while unfinished := [chain for chain in chains if chain.left or not chain.sounds]:
        due = [(chain, seed) for chain in unfinished for seed in chain.next_seeds()]
        lengths, last_ends = (np.array(each) for each in zip(*((at.limit, at.last_end) for at, _ in due), strict=True))
        of_due = conditioning.of([chains.index(chain) for chain, _ in due])
        drawn = draw(
            readable, lengths, last_ends, [seed for _, seed in due], config, given, from_start, levels, step, of_due
        )
        for chain in unfinished:
            grids = [sound.grid for (owner, _), sound in zip(due, drawn, strict=True) if owner is chain]
            chain.take(grids, is_audible if is_audible and given is None else lambda grid: True)
        given, from_start = None, True
    return [chain.sounds for chain in chains]


class _Chain:
    """Sounds that follow each other until no columns are left, or one natural sound.

    A sound follows from its seed alone, except that it ends by itself only in the first half of the columns left: the
    last one goes on until these are full. So the next sounds are drawn side by side, as many as will probably fit, and
    then taken in order as long as that rule lets them be what they are. With 100 columns left, sounds of 20 and 30 are
    taken, which leaves 50. One of 25 or less is then taken as it is, one of 50 or more is cut and is the last, and one
    between is drawn anew, so that it goes on.
    """

    def __init__(self, seed: int, columns: int, window: int, natural: bool) -> None:
        self.seed = seed
        self.left = columns
        self.window = window
        self.natural = natural
        self.sounds: list[Grid] = []
        self.drawn = self.passed_over = 0
        self.ahead = 1

    @property
    def limit(self) -> int:
        """Greatest length of the next sounds; of several no longer than the window, or one would hold up the others."""
        return self.left if self.ahead == 1 else min(self.left, self.window)

    @property
    def last_end(self) -> int:
        """Where the next sounds may end at the latest."""
        return self.left // 2 if self.ahead == 1 and not self.natural else self.limit

    def next_seeds(self) -> list[int]:
        """Seeds of the next sounds."""
        return [further_seed(self.seed, number) for number in range(self.drawn, self.drawn + self.ahead)]

    def take(self, grids: Sequence[Grid], is_audible: IsAudible) -> None:
        """Append grids in order, up to the first that has to be drawn anew; a single one never has to."""
        limit, before = self.limit, self.drawn
        for grid in grids:
            ended = self.natural or (len(grid) < limit and 2 * len(grid) <= self.left)
            if not self.left or not (ended or len(grid) >= self.left):
                break
            self.drawn += 1
            self._add(grid[: self.left], is_audible)
        mean = sum(map(len, self.sounds)) / max(1, len(self.sounds))
        self.ahead = min(MOST_ROWS, math.ceil(self.left / mean)) if mean and self.drawn > before else 1

    def _add(self, grid: Grid, is_audible: IsAudible) -> None:
        # A prior that knows only silence must not go on forever.
        if self.passed_over < MOST_PASSED_OVER and not is_audible(grid):
            self.passed_over += 1
            return
        self.passed_over = 0
        self.sounds.append(grid)
        self.left = 0 if self.natural else self.left - len(grid)
