"""Sounds drawn side by side from a prior, code by code."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distill.codec.codec import Grid
from distill.errors import ArtifactError, UsageError
from distill.generation.sampler import Floats, LevelSettings, SamplingConfig, choose, ends
from distill.models.edges import LAST_COLUMNS, ColumnLevels, Course, Edges
from distill.models.grid import FREE
from distill.models.incremental import CodeReader, Logits, Place, ReadablePrior
from distill.models.kernels import MOST_ROWS
from distill.models.prior import CodePrior
from distill.models.sequences import columns_to_keep

# How often a column is drawn at most until it fits the prior's edges: a prior that knows little else may break them.
MOST_TRIES = 16

# Measures the last column of a grid `[n, bands, levels]`, which has LAST_COLUMNS or all.
Levels = Callable[[Grid], ColumnLevels]
# A number of columns for each of several sounds.
Columns = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Conditioning:
    """A vector of the prior's conditions, and its guidance scale.

    The vector is `[conditions]`, or one for each sound, `[sounds, conditions]`; empty: unconditioned.

    With a scale s the logits are c + s (c - u), c being those with the vector and u those without it. At 0 they are c;
    above 0 the prior is read twice (classifier-free guidance, after Ho and Salimans, 2022).
    """

    vector: npt.NDArray[np.float32]
    guidance: float = 0.0

    def of(self, rows: slice | list[int]) -> "Conditioning":
        """The conditioning of some of the sounds."""
        return self if self.vector.ndim == 1 else Conditioning(self.vector[rows], self.guidance)

    @property
    def passes(self) -> int:
        """How often the prior reads each code."""
        return 2 if self.guidance else 1


UNCONDITIONED = Conditioning(np.zeros(0, np.float32))


@dataclass(frozen=True)
class Drawn:
    """A grid `[columns, bands, levels]`, and the log probability of its given codes under the prior.

    Given codes before the first column with a free one do not count: they are the same for all candidates.
    """

    grid: Grid
    log_probability: float


def draw(
    readable: ReadablePrior,
    lengths: Columns,
    last_ends: Columns,
    seeds: Sequence[int],
    config: SamplingConfig | None,
    given: Grid | None = None,
    from_start: bool = True,
    levels: Levels | None = None,
    step: Callable[[], None] = lambda: None,
    conditioning: Conditioning = UNCONDITIONED,
) -> list[Drawn]:
    """Draw a sound for each seed, of its length in columns, or shorter where it ends at its last end or before.

    The other arguments and the errors are those of `distill.generation.sampling.sample_codes`.
    """
    prior, columns = readable.prior, int(lengths.max(initial=1))
    if lengths.min(initial=1) < 1:
        raise UsageError(f"a sound must have 1 column of codes or more, not {lengths.min()}")
    if any(seed < 0 for seed in seeds):
        raise UsageError(f"a seed must be 0 or more, not {min(seeds)}")
    if prior.training:
        raise ValueError("a prior in training mode would sample with dropout")
    settings = (config or SamplingConfig()).of_levels(prior.num_quantizers)
    # How a given sound began is not known, and a greedy choice would be the same on every try.
    unlimited = prior.edges == Edges()
    if unlimited or given is not None or not from_start or all(each.greedy for each in settings):
        levels = None
    fixed = np.full((columns, prior.bands, prior.num_quantizers), FREE)
    if given is not None:
        fixed[: len(given)] = given
    if not (fixed == FREE).any():
        return [Drawn(fixed.copy(), 0.0) for _ in seeds]
    drawn: list[Drawn] = []
    together = MOST_ROWS // conditioning.passes
    for first in range(0, len(seeds), together):
        rows = slice(first, first + together)
        # Numbers that are not finite are reported where codes are chosen.
        with np.errstate(invalid="ignore", over="ignore"):
            batch = _Batch(readable, fixed, lengths[rows], seeds[rows], settings, conditioning.of(rows))
            drawn += batch.draw(last_ends[rows], from_start, levels, step)
    return drawn


def window_columns(prior: CodePrior) -> int:
    """How many columns the prior reads at most: the embeddings of those that no training reached mean nothing."""
    trained = int(prior.trained_columns) or prior.context_columns
    return min(max(trained, 2), prior.context_columns)


def heard_columns(prior: CodePrior) -> int:
    """How many given columns the prior reads at most before a new one, which its window holds as well."""
    return window_columns(prior) - 1


class _Batch:
    """Sounds that are drawn side by side, code by code.

    Args:
        readable: the prior.
        fixed: codes of every sound `[columns, bands, levels]`, FREE where they are to be drawn.
        lengths: columns of each sound.
        seeds: one for each sound.
        settings: how the codes of each level are chosen.
        conditioning: of these sounds.
    """

    def __init__(
        self,
        readable: ReadablePrior,
        fixed: Grid,
        lengths: Columns,
        seeds: Sequence[int],
        settings: Sequence[LevelSettings],
        conditioning: Conditioning,
    ) -> None:
        self.prior, self.settings, self.conditioning = readable.prior, settings, conditioning
        self.sounds, self.lengths, self.edges = len(seeds), lengths.copy(), readable.prior.edges
        # `[columns, codes]`, and of each sound `[sounds, columns, codes]`.
        self.fixed = fixed.reshape(len(fixed), -1)
        self.codes = np.tile(self.fixed, (self.sounds, 1, 1))
        self.log_probabilities = np.zeros(self.sounds)
        self.generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
        # One for each code of a column, and one for its end.
        self.uniform = np.zeros((self.sounds, self.prior.column_tokens + 1))
        # Of each sound the course before and after the column that is drawn, and that column's end.
        self.courses = [Course()] * self.sounds
        self.reached = self.courses.copy()
        self.end_db = np.full(self.sounds, -np.inf)
        self.window = window_columns(self.prior)
        # Columns before the one that is drawn, as far as the reader has them.
        self.held = 0
        self.reader = self._reader(readable, min(self.window, int(lengths.max())))

    def draw(
        self, last_ends: Columns, from_start: bool, levels: Levels | None, step: Callable[[], None]
    ) -> list[Drawn]:
        """Draw the free codes; a sound may end by itself at its last end or before."""
        free = self.fixed == FREE
        first = int(free.any(1).argmax())
        last_given = int(np.flatnonzero(~free.all(1)).max(initial=-1))
        shortest = int(self.prior.shortest_columns) if from_start else 0
        earliest_end, last_end = max(first + 1, last_given + 1, shortest), int(last_ends.max())
        for column in range(first, int(self.lengths.max())):
            step()
            # What is given before the first free column is read at once.
            if column == first:
                logits = self._start(column, min(column, heard_columns(self.prior)), from_start)
            else:
                logits = self._go_on(column)
            self._draw_numbers(range(self.sounds))
            if earliest_end <= column <= last_end:
                self._end(logits, column, last_ends)
            if self.lengths.max() <= column:
                break
            before = self.reader.place()
            self._draw_column(logits, column)
            if levels is not None:
                self._fit(before, column, levels)
        return self._drawn()

    def _start(self, column: int, held: int, from_start: bool = False) -> Logits:
        """Read so many columns before a column; the logits of its first code."""
        self.held = held
        recent = self.codes[:, column - self.held : column].reshape(self.sounds, -1)
        return self.reader.start(
            np.tile(recent, (self.conditioning.passes, 1)), at_start=from_start and self.held == column
        )

    def _go_on(self, column: int) -> Logits:
        """Read the last code of the column before; where the window is full its older half is forgotten."""
        self.held += 1
        full = self.held == self.window
        return self._start(column, columns_to_keep(self.window)) if full else self._step(self.codes[:, column - 1, -1])

    def _step(self, codes: Grid) -> Logits:
        return self.reader.step(np.tile(codes, self.conditioning.passes))

    def _draw_numbers(self, rows: Iterable[int]) -> None:
        for row in rows:
            self.uniform[row] = self.generators[row].random(self.prior.column_tokens + 1)

    def _end(self, logits: Logits, column: int, last_ends: Columns) -> None:
        """End the sounds whose last column was the one before this, if their edges let them."""
        ended = ends(self._values(logits), self.uniform[:, self.prior.column_tokens], self.settings[0])
        ended &= self.end_db <= self.edges.loudest_end
        self.lengths[ended & (column <= last_ends) & (column < self.lengths)] = column

    def _draw_column(self, logits: Logits, column: int) -> None:
        """Draw the free codes of a column; all but the last code are read."""
        part, end, levels = self.codes[:, column], self.prior.end, self.prior.num_quantizers
        for place, code in enumerate(self.fixed[column]):
            values = self._values(logits if not place else self._step(part[:, place - 1]))[:, :end]
            if code == FREE:
                # Sounds that have ended go on with codes that are cut off.
                part[:, place] = choose(values, self.uniform[:, place], self.settings[place % levels])
            else:
                self.log_probabilities += _log_probability(values, int(code))

    def _fit(self, before: Place, column: int, levels: Levels) -> None:
        """Draw a column anew, from `before` it, in those sounds where it does not fit the prior's edges.

        This is rejection sampling: the column has the prior's probabilities among all that fit.
        """
        rows = np.flatnonzero(column < self.lengths).tolist()
        for left in reversed(range(MOST_TRIES)):
            rows = [row for row in rows if not self._fits(row, column, levels)]
            if not rows or not left:
                break
            # The other sounds get the same codes again, from the same numbers.
            self._draw_numbers(rows)
            self._draw_column(self.reader.back(before), column)
        # A rise that was drawn in spite of that is no reason to draw everything behind it anew.
        self.courses = [replace(course, rise=0.0) for course in self.reached]

    def _fits(self, row: int, column: int, levels: Levels) -> bool:
        """Measure a sound up to a column; whether it fits the prior's edges."""
        recent = self.codes[row, : column + 1][-LAST_COLUMNS:]
        measured = levels(self._grid(recent))
        self.reached[row], self.end_db[row] = self.courses[row].after(measured.parts[-1]), measured.ends[-1]
        starts = column > 0 or measured.parts[-1].max() >= self.edges.softest_start
        return bool(starts and self.reached[row].rise <= self.edges.greatest_rise)

    def _reader(self, readable: ReadablePrior, columns: int) -> CodeReader:
        """A reader of all sounds; with guidance of all of them a second time, unconditioned."""
        vector, rows = self.conditioning.vector, self.sounds * self.conditioning.passes
        if not vector.size:
            return CodeReader(readable, self.sounds, columns)
        conditions = np.zeros((rows, vector.shape[-1]), np.float32)
        conditions[: self.sounds] = vector
        return CodeReader(readable, rows, columns, conditions)

    def _values(self, logits: Logits) -> Floats:
        """Guided logits `[sounds, codebook_size + 1]`."""
        values = logits.astype(np.float64)
        if self.conditioning.passes > 1:
            conditioned, unconditioned = np.split(values, 2)
            # Where no column begins both logits of the end are -inf, and stay so.
            finite = np.isfinite(conditioned)
            change = np.subtract(conditioned, unconditioned, out=np.zeros_like(conditioned), where=finite)
            values = conditioned + self.conditioning.guidance * change
        # The end's -inf is expected; a NaN or an infinity among the codes makes their sum not finite.
        if not math.isfinite(np.add.reduce(values[:, : self.prior.end], axis=None)):
            raise ArtifactError("the prior gives numbers that are not finite: its weights are damaged, train it again")
        return values

    def _drawn(self) -> list[Drawn]:
        return [
            Drawn(self._grid(self.codes[row, :length]).copy(), float(self.log_probabilities[row]))
            for row, length in enumerate(self.lengths)
        ]

    def _grid(self, columns: Grid) -> Grid:
        """Columns of codes `[n, codes]` as a grid `[n, bands, levels]`."""
        return columns.reshape(-1, self.prior.bands, self.prior.num_quantizers)


def _log_probability(logits: Floats, code: int) -> Floats:
    highest = logits.max(-1)
    return logits[:, code] - highest - np.log(np.exp(logits - highest[:, None]).sum(-1))
