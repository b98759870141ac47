"""Sounds drawn side by side from a prior, code by code."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distill.codec.vectors import FREE
from distill.errors import ArtifactError, UsageError
from distill.generation.sampler import Floats, LevelSettings, SamplingConfig, choose, ends
from distill.models.edges import LAST_COLUMNS, ColumnLevels, Course, Edges
from distill.models.incremental import CodeReader, Logits, Place, ReadablePrior
from distill.models.kernels import MOST_ROWS
from distill.models.prior import CodePrior
from distill.models.sequences import kept_columns

# A column that does not fit the prior's edges is drawn anew so often: a prior that knows little else is left to it.
MOST_TRIES = 16

Grid = npt.NDArray[np.int64]
# The levels of the last column of a grid `[n, bands, levels]`, which has LAST_COLUMNS or all.
Levels = Callable[[Grid], ColumnLevels]
# A number of columns for each of several sounds.
Columns = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """What is asked of new sounds: a vector of the prior's conditions, and how strongly it counts.

    It is `[conditions]`, or one for each sound, `[sounds, conditions]`.

    With a guidance of s the logits are those with the vector and s times what it changes: at 0 those that the prior
    gives, above 0 it is read twice (classifier-free guidance, after Ho and Salimans, 2022).
    """

    vector: npt.NDArray[np.float32]
    guidance: float = 0.0

    def of(self, rows: slice | list[int]) -> "Asked":
        """What is asked of some of the sounds."""
        return self if self.vector.ndim == 1 else Asked(self.vector[rows], self.guidance)

    @property
    def readings(self) -> int:
        """How often the prior is read."""
        return 2 if self.guidance else 1


NOTHING: Asked = Asked(np.zeros(0, np.float32))


@dataclass(frozen=True)
class Drawn:
    """A grid `[columns, bands, levels]`, and the logarithm of the probability that the prior saw in its given codes.

    Given codes before the first column with a free one do not count: they are the same for whatever is drawn.
    """

    grid: Grid
    log_probability: float


def draw(
    readable: ReadablePrior,
    wanted: Columns,
    last_ends: Columns,
    seeds: Sequence[int],
    config: SamplingConfig | None,
    given: Grid | None = None,
    from_start: bool = True,
    levels: Levels | None = None,
    step: Callable[[], None] = lambda: None,
    asked: Asked = NOTHING,
) -> list[Drawn]:
    """A sound for each seed, of so many wanted columns, or of fewer where it ends after at most `last_ends`.

    The other arguments and the errors are those of `distill.generation.sampling.sample_codes`.
    """
    prior, columns = readable.prior, int(wanted.max(initial=1))
    if wanted.min(initial=1) < 1:
        raise UsageError(f"a sound must have 1 column of codes or more, not {wanted.min()}")
    if any(seed < 0 for seed in seeds):
        raise UsageError(f"a seed must be 0 or more, not {min(seeds)}")
    if prior.training:
        raise ValueError("a prior in training mode would sample with dropout")
    settings = (config or SamplingConfig()).of_levels(prior.num_quantizers)
    # How a given sound began is not known, and without chance the same would come again.
    unlimited = prior.edges == Edges()
    if unlimited or given is not None or not from_start or all(each.greedy for each in settings):
        levels = None
    fixed = np.full((columns, prior.bands, prior.num_quantizers), FREE)
    if given is not None:
        fixed[: len(given)] = given
    drawn: list[Drawn] = []
    together = MOST_ROWS // asked.readings
    for first in range(0, len(seeds), together):
        rows = slice(first, first + together)
        # What is not finite is looked for where codes are chosen.
        with np.errstate(invalid="ignore", over="ignore"):
            round_ = _Round(readable, seeds[rows], settings, levels, asked.of(rows))
            drawn += round_.run(fixed, wanted[rows], last_ends[rows], from_start, step)
    return drawn


def window_columns(prior: CodePrior) -> int:
    """How many columns the prior reads at most: the embeddings of those that no training reached mean nothing."""
    trained = int(prior.trained_columns) or prior.context_columns
    return min(max(trained, 2), prior.context_columns)


class _Round:
    """Sounds that are drawn side by side, code by code."""

    def __init__(
        self,
        readable: ReadablePrior,
        seeds: Sequence[int],
        settings: Sequence[LevelSettings],
        levels: Levels | None,
        asked: Asked,
    ) -> None:
        self.readable, self.prior, self.asked = readable, readable.prior, asked
        self.settings, self.levels, self.edges = settings, levels, readable.prior.edges
        self.sounds = len(seeds)
        self.generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
        # One for each code of a column, and one for its end.
        self.uniform = np.zeros((len(seeds), self.prior.column_tokens + 1))
        self.window = window_columns(self.prior)
        # Of each sound the course before and after the column that is drawn, and that column's end.
        self.courses = [Course()] * len(seeds)
        self.reached = self.courses.copy()
        self.end_db = np.full(len(seeds), -np.inf)

    def run(
        self, fixed: Grid, wanted_columns: Columns, last_ends: Columns, from_start: bool, step: Callable[[], None]
    ) -> list[Drawn]:
        """Draw the FREE ones of `[columns, bands, levels]`, for each sound as many columns as it wants.

        Fewer where a sound ends by itself after at most `last_ends` columns.
        """
        lengths = wanted_columns.copy()
        prior, per_column, columns = self.prior, self.prior.column_tokens, int(lengths.max())
        wanted = fixed.reshape(-1)
        free = np.flatnonzero(wanted == FREE)
        if not free.size:
            return [Drawn(fixed.copy(), 0.0) for _ in range(self.sounds)]
        reader = self._reader(min(self.window, columns))
        # What is given before the first free column is read at once.
        begin, codes = int(free[0]) // per_column, np.tile(wanted, (self.sounds, 1))
        last_given = int(np.flatnonzero(wanted != FREE).max(initial=-1))
        earliest_end = max(begin + 1, int(prior.shortest_columns) if from_start else 0)
        last_end, scores = int(last_ends.max()), np.zeros(self.sounds)
        held = begin if begin < self.window else kept_columns(self.window)
        logits = self._start(reader, codes, begin, held, from_start)
        for column in range(begin, columns):
            step()
            if held == self.window:
                held = kept_columns(self.window)
                logits = self._start(reader, codes, column, held, from_start)
            self._draw_numbers(range(self.sounds))
            if earliest_end <= column <= last_end and column * per_column > last_given:
                ended = ends(self._values(logits), self.uniform[:, per_column], self.settings[0])
                ended &= self.end_db <= self.edges.loudest_end
                lengths[ended & (column <= last_ends) & (column < lengths)] = column
            if lengths.max() <= column:
                break
            part, own = codes[:, column * per_column :][:, :per_column], wanted[column * per_column :][:per_column]
            before = reader.place()
            self._column(reader, logits, part, own, scores)
            if self.levels:
                self._fit(reader, before, codes, column, np.flatnonzero(column < lengths).tolist())
            held += 1
            if held < self.window and column + 1 < columns:
                logits = self._step(reader, part[:, -1])
        return self._drawn(codes, lengths, scores)

    def _draw_numbers(self, rows: Iterable[int]) -> None:
        for row in rows:
            self.uniform[row] = self.generators[row].random(self.prior.column_tokens + 1)

    def _column(self, reader: CodeReader, logits: Logits, part: Grid, wanted: Grid, scores: Floats) -> None:
        """Draw the FREE ones of a column `[sounds, codes]`, all but the last of which are read."""
        end, levels = self.prior.end, self.prior.num_quantizers
        for place, code in enumerate(wanted):
            values = self._values(logits if not place else self._step(reader, part[:, place - 1]))[:, :end]
            if code == FREE:
                # Sounds that have ended go on with codes that nobody will hear.
                part[:, place] = choose(values, self.uniform[:, place], self.settings[place % levels])
            else:
                scores += _log_probability(values, int(code))

    def _fit(self, reader: CodeReader, before: Place, codes: Grid, column: int, rows: list[int]) -> None:
        """Draw a column of some sounds anew until it fits the prior's edges.

        What comes has the prior's probabilities among all columns that fit. `before` is where the column begins.
        """
        per_column = self.prior.column_tokens
        part = codes[:, column * per_column :][:, :per_column]
        for left in reversed(range(MOST_TRIES)):
            rows = [row for row in rows if not self._fits(row, codes[row, : (column + 1) * per_column])]
            if not rows or not left:
                break
            # From the same numbers the others come again.
            self._draw_numbers(rows)
            self._column(reader, reader.back(before), part, np.full(per_column, FREE), np.zeros(self.sounds))
        # What has risen all the same is no reason to draw everything behind it anew.
        self.courses = [replace(course, rise=0.0) for course in self.reached]

    def _fits(self, row: int, codes: Grid) -> bool:
        """Whether the last column of a sound fits the prior's edges; its levels are noted."""
        assert self.levels
        grid = codes.reshape(-1, self.prior.bands, self.prior.num_quantizers)
        found = self.levels(grid[-LAST_COLUMNS:])
        self.reached[row], self.end_db[row] = self.courses[row].after(found.parts[-1]), found.ends[-1]
        starts = len(grid) > 1 or found.parts[-1].max() >= self.edges.softest_start
        return bool(starts and self.reached[row].rise <= self.edges.greatest_rise)

    def _start(self, reader: CodeReader, codes: Grid, column: int, held: int, from_start: bool) -> Logits:
        per_column = self.prior.column_tokens
        recent = codes[:, (column - held) * per_column : column * per_column]
        return reader.start(np.tile(recent, (self.asked.readings, 1)), at_start=from_start and held == column)

    def _reader(self, columns: int) -> CodeReader:
        """A reader of all sounds; where it counts what the vector changes, of all of them a second time without it."""
        vector = self.asked.vector
        if not vector.size:
            return CodeReader(self.readable, self.sounds, columns)
        rows = np.zeros((self.sounds * self.asked.readings, vector.shape[-1]), np.float32)
        rows[: self.sounds] = vector
        return CodeReader(self.readable, len(rows), columns, rows)

    def _step(self, reader: CodeReader, codes: Grid) -> Logits:
        return reader.step(np.tile(codes, self.asked.readings))

    def _values(self, logits: Logits) -> Floats:
        values = logits.astype(np.float64)
        if self.asked.readings > 1:
            told, untold = np.split(values, 2)
            # Where no column begins there is no end, asked for or not.
            change = np.subtract(told, untold, out=np.zeros_like(told), where=np.isfinite(told))
            values = told + self.asked.guidance * change
        # The end's -inf is expected; a NaN or an infinity among the codes makes their sum not finite.
        if not math.isfinite(np.add.reduce(values[:, : self.prior.end], axis=None)):
            raise ArtifactError("the prior gives numbers that are not finite: its weights are damaged, train it again")
        return values

    def _drawn(self, codes: Grid, lengths: Columns, scores: Floats) -> list[Drawn]:
        shape = (-1, self.prior.bands, self.prior.num_quantizers)
        per_column = self.prior.column_tokens
        return [
            Drawn(codes[row, : length * per_column].reshape(shape).copy(), float(scores[row]))
            for row, length in enumerate(lengths)
        ]


def _log_probability(logits: Floats, code: int) -> Floats:
    highest = logits.max(-1)
    return logits[:, code] - highest - np.log(np.exp(logits - highest[:, None]).sum(-1))
