"""Drawing code grids from a prior."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from distill.errors import ArtifactError, UsageError
from distill.generation import TOP_P
from distill.models.incremental import CodeReader, Logits
from distill.models.kernels import MOST_ROWS
from distill.models.prior import CodePrior
from distill.models.sequences import kept_columns

# Marks a code that is to be drawn, in a grid of given ones.
FREE = -1
# By how much the odds of an end are sharpened: a prior of few sounds is unsure of it everywhere. The durations of 192
# sounds were 0.7 columns from those of the 17 drums and bells of the training (Wasserstein), without it 1.0.
END_SHARPNESS = 2.0
# One less two roundings.
_BELOW_ONE = 1.0 - 2.0**-52

Grid = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LevelSettings:
    """How the next code of a level is chosen.

    Attributes:
        temperature: above 1 for more surprise, below 1 for less; 0 always takes the likeliest code.
        top_k: only the k likeliest codes can come, and those as likely as the last of them; 0: all.
        top_p: only the likeliest codes that together have this probability can come, likewise; 1: all.
        min_p: only codes with at least this share of the likeliest one's probability can come; 0: all (Nguyen et al.,
            "Turning up the heat: min-p sampling for creative and coherent LLM outputs", 2024).

    Raises:
        UsageError: a value is out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = TOP_P
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"the temperature must be 0 or more, not {self.temperature}")
        if self.top_k < 0:
            raise UsageError(f"top-k must be 0 (all codes) or more, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top-p must be above 0 and at most 1, not {self.top_p}")
        if not 0 <= self.min_p <= 1:
            raise UsageError(f"min-p must lie between 0 (all codes) and 1, not {self.min_p}")

    @property
    def greedy(self) -> bool:
        """Whether chance plays no part."""
        return self.temperature == 0 or self.top_k == 1


@dataclass(frozen=True)
class SamplingConfig:
    """How codes are chosen: each setting is one value for all levels, or a tuple with one for each level.

    The settings are those of `LevelSettings`.

    Raises:
        UsageError: a value is out of its range, or a setting has no value.
    """

    temperature: float | tuple[float, ...] = 1.0
    top_k: int | tuple[int, ...] = 0
    top_p: float | tuple[float, ...] = TOP_P
    min_p: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            if isinstance(given, list):
                object.__setattr__(self, field.name, tuple(given))
            values = tuple(given) if isinstance(given, (list, tuple)) else (given,)
            if not values:
                raise UsageError(f"{_words(field.name)} has no value: give one, or one for each level")
            for value in values:
                LevelSettings(**{field.name: value})

    def of_levels(self, levels: int) -> tuple[LevelSettings, ...]:
        """The settings of each level.

        Raises:
            UsageError: a setting has another number of values.
        """
        columns: dict[str, tuple[Any, ...]] = {}
        for field in fields(self):
            given = getattr(self, field.name)
            values = given if isinstance(given, tuple) else (given,) * levels
            if len(values) != levels:
                raise UsageError(
                    f"{_words(field.name)} has {len(values)} values, and the model has {levels} levels: "
                    f"give one value for all of them, or {levels}"
                )
            columns[field.name] = values
        return tuple(
            LevelSettings(**{name: values[level] for name, values in columns.items()}) for level in range(levels)
        )


def sample_codes(
    prior: CodePrior,
    *,
    columns: int,
    seeds: Sequence[int],
    config: SamplingConfig | None = None,
    natural: bool = False,
    given: Grid | None = None,
    from_start: bool = True,
    device: torch.device | str | None = None,
) -> list[Grid]:
    """Draw a code grid for each seed.

    A grid follows from the prior, its seed and the settings alone, whatever else is drawn with it. Beyond the
    longest window of the training the oldest half of the window is forgotten and the rest goes on.

    Args:
        prior: in evaluation mode.
        columns: length of the grids; with `natural` the greatest length.
        seeds: one for each grid, 0 or more.
        config: how codes are chosen.
        natural: end a sound where the prior ends it, but not before a column is drawn behind what is given, and not
            before the shortest of the training.
        given: the first codes, `[n, bands, levels]`, FREE where they are to be drawn; n may be 0 to `columns`.
        from_start: whether the first column is the sound's true beginning.
        device: the prior is moved there; by default it stays where it is.

    Returns:
        For each seed a grid `[columns, bands, levels]`, with what was given in it.

    Raises:
        UsageError: there is nothing to draw, a seed is negative, or the settings are for another number of levels.
        ArtifactError: the prior's weights give numbers that are not finite.
    """
    return [
        drawn.grid
        for drawn in draw_codes(
            prior,
            columns=columns,
            seeds=seeds,
            config=config,
            natural=natural,
            given=given,
            from_start=from_start,
            device=device,
        )
    ]


@dataclass(frozen=True)
class Drawn:
    """A grid `[columns, bands, levels]`, and the logarithm of the probability that the prior saw in its given codes.

    Given codes before the first column with a free one do not count: they are the same for whatever is drawn.
    """

    grid: Grid
    log_probability: float


def draw_codes(
    prior: CodePrior,
    *,
    columns: int,
    seeds: Sequence[int],
    config: SamplingConfig | None = None,
    natural: bool = False,
    given: Grid | None = None,
    from_start: bool = True,
    device: torch.device | str | None = None,
) -> list[Drawn]:
    """What `sample_codes` draws, with how well the given codes go with it; arguments and errors as there."""
    if columns < 1:
        raise UsageError(f"a sound must have 1 column of codes or more, not {columns}")
    if any(seed < 0 for seed in seeds):
        raise UsageError(f"a seed must be 0 or more, not {min(seeds)}")
    if prior.training:
        raise ValueError("a prior in training mode would sample with dropout")
    if device is not None:
        prior = prior.to(device)
    settings = (config or SamplingConfig()).of_levels(prior.num_quantizers)
    fixed = np.full((columns, prior.bands, prior.num_quantizers), FREE)
    if given is not None:
        fixed[: len(given)] = given
    drawn: list[Drawn] = []
    remaining = iter(seeds)
    while batch := list(islice(remaining, MOST_ROWS)):
        drawn += _Round(prior, batch, settings, natural).run(fixed, from_start)
    return drawn


def window_columns(prior: CodePrior) -> int:
    """How many columns the prior reads at most: the embeddings of those that no training reached mean nothing."""
    trained = int(prior.trained_columns) or prior.context_columns
    return min(max(trained, 2), prior.context_columns)


def choose(logits: Floats, uniform: Floats, settings: LevelSettings) -> npt.NDArray[np.int64]:
    """One code for each row: by inversion of the cumulated probabilities.

    Args:
        logits: `[rows, codes]`, -inf for what cannot come.
        uniform: a number of [0, 1) for each row.
        settings: temperature, top-k, top-p and min-p, applied in this order.

    Returns:
        `[rows]`.
    """
    if settings.greedy:
        return logits.argmax(-1)
    p = logits - np.maximum.reduce(logits, axis=-1, keepdims=True)
    if settings.temperature != 1:
        # Near a temperature of 0 all but the likeliest become -inf, which is what is meant.
        with np.errstate(over="ignore"):
            p /= settings.temperature
    np.exp(p, out=p)
    if settings.top_k or settings.top_p < 1:
        p[p < _least_of_likeliest(p, settings)] = 0
    if settings.min_p > 0:
        # The likeliest code stands at 1.
        p[p < settings.min_p] = 0
    cumulated = np.add.accumulate(p, axis=-1)
    # Rounding must not carry the aim up to the total, beyond the last code that can come.
    aim = uniform[:, None] * (cumulated[:, -1:] * _BELOW_ONE)
    return (cumulated > aim).argmax(-1)


def ends(logits: Floats, uniform: Floats, settings: LevelSettings) -> npt.NDArray[np.bool_]:
    """Whether sounds end, `[rows]`, by the sharpened odds of the end against all codes.

    Args:
        logits: `[rows, codes + 1]`, the last one the end's.
        uniform: a number of [0, 1) for each row.
        settings: of the first level, in place of whose code the end comes; the temperature alone counts.
    """
    log_odds = logits[:, -1] - np.logaddexp.reduce(logits[:, :-1], axis=-1)
    if settings.greedy:
        ended: npt.NDArray[np.bool_] = log_odds > 0
        return ended
    with np.errstate(over="ignore"):
        return uniform * (1.0 + np.exp(-END_SHARPNESS / settings.temperature * log_odds)) < 1.0


def _least_of_likeliest(p: Floats, settings: LevelSettings) -> Floats:
    """The least of `[rows, codes]` that is within top-k and top-p, `[rows, 1]`; its equals are within as well."""
    ranked = np.sort(p, axis=-1)
    if settings.top_k:
        ranked[:, : -settings.top_k] = 0
    cumulated = np.add.accumulate(ranked, axis=-1)
    first = (cumulated > (1 - settings.top_p) * cumulated[:, -1:]).argmax(-1)
    return ranked[np.arange(len(p)), first, None]


def _words(name: str) -> str:
    """A setting's name as people say it."""
    return f"the {name}" if name == "temperature" else name.replace("_", "-")


class _Round:
    """Sounds that are drawn side by side, code by code."""

    def __init__(self, prior: CodePrior, seeds: list[int], settings: Sequence[LevelSettings], natural: bool) -> None:
        self.prior = prior
        self.settings = settings
        self.natural = natural
        self.sounds = len(seeds)
        self.generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
        # One for each code of a column, and one for its end.
        self.uniform = np.zeros((len(seeds), prior.column_tokens + 1))
        self.window = window_columns(prior)

    def run(self, fixed: Grid, from_start: bool) -> list[Drawn]:
        """Draw the FREE ones of `[columns, bands, levels]`, or fewer columns where the sounds end by themselves."""
        prior, per_column, columns = self.prior, self.prior.column_tokens, len(fixed)
        reader = CodeReader(prior, self.sounds, min(self.window, columns))
        wanted = fixed.reshape(-1)
        free = np.flatnonzero(wanted == FREE)
        if not free.size:
            return [Drawn(fixed.copy(), 0.0) for _ in range(self.sounds)]
        # What is given before the first free column is read at once.
        begin, codes = int(free[0]) // per_column, np.tile(wanted, (self.sounds, 1))
        last_given = int(np.flatnonzero(wanted != FREE).max(initial=-1))
        earliest_end = max(begin + 1, int(prior.shortest_columns) if from_start else 0)
        lengths, scores = np.full(self.sounds, columns), np.zeros(self.sounds)
        held = begin if begin < self.window else kept_columns(self.window)
        logits = self._start(reader, codes, begin, held, from_start)
        for column in range(begin, columns):
            if held == self.window:
                held = kept_columns(self.window)
                logits = self._start(reader, codes, column, held, from_start)
            for row, generator in enumerate(self.generators):
                self.uniform[row] = generator.random(per_column + 1)
            for place in range(per_column):
                values = self._values(logits)
                slot = column * per_column + place
                if place == 0 and column >= earliest_end and self.natural and slot > last_given:
                    ended = ends(values, self.uniform[:, per_column], self.settings[0])
                    lengths[ended & (lengths > column)] = column
                    if lengths.max() <= column:
                        return self._drawn(codes, lengths, scores)
                if wanted[slot] == FREE:
                    # Sounds that have ended go on with codes that nobody will hear.
                    settings = self.settings[place % prior.num_quantizers]
                    codes[:, slot] = choose(values[:, : prior.end], self.uniform[:, place], settings)
                else:
                    scores += _log_probability(values[:, : prior.end], int(wanted[slot]))
                last = place == per_column - 1
                if not last or (held + 1 < self.window and column + 1 < columns):
                    logits = reader.step(codes[:, slot])
            held += 1
        return self._drawn(codes, lengths, scores)

    def _start(self, reader: CodeReader, codes: Grid, column: int, held: int, from_start: bool) -> Logits:
        per_column = self.prior.column_tokens
        recent = codes[:, (column - held) * per_column : column * per_column]
        return reader.start(recent, at_start=from_start and held == column)

    def _values(self, logits: Logits) -> Floats:
        values = logits.astype(np.float64)
        # The end's -inf is expected; a NaN or an infinity among the codes makes their sum not finite.
        if not math.isfinite(np.add.reduce(values[:, : self.prior.end], axis=None)):
            raise ArtifactError("the prior gives numbers that are not finite: its weights are damaged, train it again")
        return values

    def _drawn(self, codes: Grid, lengths: npt.NDArray[np.int64], scores: Floats) -> list[Drawn]:
        shape = (-1, self.prior.bands, self.prior.num_quantizers)
        per_column = self.prior.column_tokens
        return [
            Drawn(codes[row, : length * per_column].reshape(shape).copy(), float(scores[row]))
            for row, length in enumerate(lengths)
        ]


def _log_probability(logits: Floats, code: int) -> Floats:
    highest = logits.max(-1)
    return logits[:, code] - highest - np.log(np.exp(logits - highest[:, None]).sum(-1))
