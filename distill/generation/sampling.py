"""Drawing code grids from a prior: of a wanted length, as long as a sound is, or around given codes."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from distill.generation.autoregressive import NOTHING, Asked, Drawn, Grid, Levels, draw, window_columns
from distill.generation.sampler import SamplingConfig
from distill.models.incremental import ReadablePrior
from distill.models.kernels import MOST_ROWS
from distill.models.prior import CodePrior

# So many sounds in a row of which nothing is heard are passed over.
MOST_PASSED_OVER = 7

Heard = Callable[[Grid], bool]


def sample_codes(
    prior: CodePrior,
    *,
    columns: int,
    seeds: Sequence[int],
    config: SamplingConfig | None = None,
    natural: bool = False,
    given: Grid | None = None,
    from_start: bool = True,
    heard: Heard | None = None,
    levels: Levels | None = None,
    device: torch.device | str | None = None,
    step: Callable[[], None] = lambda: None,
    asked: Asked = NOTHING,
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
        heard: whether anything of a new sound is heard; one of which nothing is, is passed over.
        levels: tells the levels of a new sound's columns, which with `natural` then keep the prior's edges.
        device: the prior is moved there; by default it stays where it is.
        step: called before each column is drawn; it may raise to end the work.
        asked: what is asked of the sounds.

    Returns:
        For each seed a grid `[columns, bands, levels]`, with what was given in it.

    Raises:
        UsageError: there is nothing to draw, a seed is negative, or the settings are for another number of levels.
        ArtifactError: the prior's weights give numbers that are not finite.
    """
    if device is not None:
        prior = prior.to(device)
    sequences = sample_sequences(
        prior,
        columns=columns,
        seeds=seeds,
        config=config,
        natural=natural,
        given=given,
        from_start=from_start,
        heard=heard,
        levels=levels,
        step=step,
        asked=asked,
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
    heard: Heard | None = None,
    levels: Levels | None = None,
    step: Callable[[], None] = lambda: None,
    asked: Asked = NOTHING,
) -> list[list[Grid]]:
    """Draw sounds that follow each other until there are so many columns, for each seed.

    Where the prior ends a sound and at least as many columns as it has are still wanted, the next one begins, with a
    seed that follows from the first. The last one goes on until the columns are full, be it in silence. Otherwise
    little would be heard of a long grid whose prior knows short sounds alone. With `natural` there is one sound.

    A sound does not end before a column is drawn behind what is given, nor before the shortest sound of the training.
    Arguments and errors are those of `sample_codes`.
    """
    if not natural:
        # Where one sound follows the other, a new beginning is what is asked for.
        levels = None
    sequences = [_Sequence(seed, columns, window_columns(prior), natural) for seed in seeds]
    readable = ReadablePrior(prior)
    # Where nothing is wanted, drawing says so.
    while unfinished := [sequence for sequence in sequences if sequence.left or not sequence.sounds]:
        due = [(sequence, seed) for sequence in unfinished for seed in sequence.next_seeds()]
        wishes = asked.of([sequences.index(sequence) for sequence, _ in due])
        wanted = np.array([sequence.limit for sequence, _ in due])
        last_ends = np.array([sequence.last_end for sequence, _ in due])
        drawn = draw(
            readable, wanted, last_ends, [seed for _, seed in due], config, given, from_start, levels, step, wishes
        )
        of_due = list(zip(due, drawn, strict=True))
        for sequence in unfinished:
            grids = [each.grid for (of, _), each in of_due if of is sequence]
            sequence.take(grids, heard if heard and given is None else lambda grid: True)
        given, from_start = None, True
    return [sequence.sounds for sequence in sequences]


def further_seed(seed: int, number: int) -> int:
    """The seed of the sound of that number among those that follow from one seed; the first has the seed itself."""
    if not number:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1, np.uint64)[0])


class _Sequence:
    """Sounds that follow each other until no columns are left, or one natural sound.

    What each one is follows from its seed and, where it is the last one, from what is left. So as many are drawn side
    by side as there will probably be, and those taken that are what would have come one after the other.
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
        """Greatest length of the next sounds: of several, one longer than any known would hold up the others."""
        return self.left if self.ahead == 1 else min(self.left, self.window)

    @property
    def last_end(self) -> int:
        """Where the next sounds may end at the latest."""
        return self.left // 2 if self.ahead == 1 and not self.natural else self.limit

    def next_seeds(self) -> list[int]:
        """Seeds of the next sounds."""
        return [further_seed(self.seed, number) for number in range(self.drawn, self.drawn + self.ahead)]

    def take(self, grids: Sequence[Grid], heard: Heard) -> None:
        """Take those that would have come; with one alone that is always so."""
        limit, before = self.limit, self.drawn
        for grid in grids:
            ended = self.natural or (len(grid) < limit and 2 * len(grid) <= self.left)
            if not self.left or not (ended or len(grid) >= self.left):
                break
            self.drawn += 1
            self._add(grid[: self.left], heard)
        mean = sum(map(len, self.sounds)) / max(1, len(self.sounds))
        self.ahead = min(MOST_ROWS, math.ceil(self.left / mean)) if mean and self.drawn > before else 1

    def _add(self, grid: Grid, heard: Heard) -> None:
        # A prior that knows nothing but silence is no reason to go on forever.
        if self.passed_over < MOST_PASSED_OVER and not heard(grid):
            self.passed_over += 1
            return
        self.passed_over = 0
        self.sounds.append(grid)
        self.left = 0 if self.natural else self.left - len(grid)
