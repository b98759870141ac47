"""How the next code is chosen, and whether a sound ends: from the prior's logits, the settings and a random number."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.errors import UsageError
from distill.generation import TOP_P

# By how much the odds of an end are sharpened: a prior of few sounds is unsure of it everywhere. The durations of 192
# sounds were 0.7 columns from those of the 17 drums and bells of the training (Wasserstein), without it 1.0.
END_SHARPNESS = 2.0
# From about there on all codes are nearly as likely as each other.
HOTTEST = 10.0
# One less two roundings.
_BELOW_ONE = 1.0 - 2.0**-52

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LevelSettings:
    """How the next code of a level is chosen.

    Attributes:
        temperature: above 1 for more surprise, below 1 for less, up to HOTTEST; 0 always takes the likeliest code.
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
        if not 0 <= self.temperature <= HOTTEST:
            raise UsageError(f"the temperature must lie between 0 and {HOTTEST:g}, not {self.temperature:g}")
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
                raise UsageError(f"{_words(field.name)} has no value: give one value, or one per level")
            for value in values:
                LevelSettings(**{field.name: value})

    @property
    def greedy(self) -> bool:
        """Whether chance plays no part, in any level."""
        return _all(self.temperature, 0) or _all(self.top_k, 1)

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


def _all(given: float | tuple[float, ...], value: float) -> bool:
    return all(each == value for each in given) if isinstance(given, tuple) else given == value


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
