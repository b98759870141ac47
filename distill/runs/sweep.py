"""What a sweep tries: values to combine, or ranges to search, checked before anything runs."""

import importlib.util
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from distill.configs import Config
from distill.errors import UsageError
from distill.params import RANGE, Params
from distill.runs.dvc_project import with_overrides

RangeText = Annotated[str, Field(pattern=RANGE)]
# By `section.key`: values, or a range such as `1e-4..1e-2`.
Settings = dict[str, Annotated[list[JsonValue], Field(min_length=1)] | RangeText]
Objective = Literal["lsd_db", "prior_perplexity", "vqvae_loss"]

# A range of floats that spans more than this factor is searched on a log scale.
DECADE = 10.0
DIGITS = 4


class Search(Config):
    """How settings are searched."""

    trials: int = Field(20, ge=1, le=10_000, description="Trials in all; those of an interrupted search count.")
    objective: Objective = Field(
        "lsd_db",
        description="What is made small: held-out log-spectral distance in dB, held-out perplexity of the prior, or "
        "held-out loss of the VQ-VAE, which compares only where no loss weight is searched.",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of the suggestions.")
    prune_after: int = Field(
        4, ge=1, le=10_000, description="Finished trials that a trial must be worse than before it may end early."
    )
    fresh: bool = Field(False, description="Forget the trials of the same search and begin anew.")


@dataclass(frozen=True)
class Span:
    """A range of numbers, its ends included; whole numbers go by `step`."""

    low: float
    high: float
    step: int | None

    @property
    def log(self) -> bool:
        """Whether it is searched on a log scale."""
        return self.step is None and self.low > 0 and self.high / self.low > DECADE

    def round(self, value: float) -> float:
        """A value with as many digits as people read, within the range.

        >>> Span(1e-4, 1e-2, None).round(0.0013292918)
        0.001329
        """
        if value == 0:
            return value
        digits = DIGITS - 1 - math.floor(math.log10(abs(value)))
        return min(max(round(value, digits), self.low), self.high)


# By `section.key`: a range, or the values to choose from.
Space = Mapping[str, Span | Sequence[JsonValue]]


def require_valid(project: Path, settings: Settings, search: Search | None) -> None:
    """Make sure that a sweep can run: that of every combination, or a search where a range is among the settings.

    Raises:
        UsageError: a setting is wrong, a search has no range, or Optuna is missing.
        StorageError: params.yaml cannot be read.
    """
    if is_search(settings):
        search_space(project, settings)
        if importlib.util.find_spec("optuna") is None:
            raise UsageError("Optuna is not installed: pip install 'distill-audio[search]'")
        return
    if search is not None:
        raise UsageError("a search needs a range, such as vqvae.learning_rate=1e-4..1e-2; lists alone are combined")
    for overrides in combine(settings):
        with_overrides(project, overrides)


def is_search(settings: Settings) -> bool:
    """Whether there is a range among the settings."""
    return any(isinstance(value, str) for value in settings.values())


def combine(settings: Settings) -> list[dict[str, dict[str, JsonValue]]]:
    """Every combination of the values, as overrides by section, in the order given.

    >>> combine({"run.seed": [0, 1]})
    [{'run': {'seed': 0}}, {'run': {'seed': 1}}]

    Raises:
        UsageError: a name is not `section.key`, or has no values.
    """
    for name, values in settings.items():
        if name.count(".") != 1 or not values:
            typed = ",".join(map(str, values))
            raise UsageError(f"{name}={typed}: expected section.key and values, such as vqvae.num_quantizers=2,3,4")
    return [
        as_overrides(dict(zip(settings, chosen, strict=True)))
        for chosen in itertools.product(*(value for value in settings.values()))
    ]


def as_overrides(values: Mapping[str, JsonValue]) -> dict[str, dict[str, JsonValue]]:
    """Values by `section.key` as overrides by section."""
    overrides: dict[str, dict[str, JsonValue]] = {}
    for name, value in values.items():
        section, key = name.split(".")
        overrides.setdefault(section, {})[key] = value
    return overrides


def search_space(project: Path, settings: Settings) -> Space:
    """What a search chooses from.

    Each end of a range and each value is checked, with the first of every other setting.

    Raises:
        UsageError: a name or a value is wrong, a range is empty or its parameter is no number.
        StorageError: params.yaml cannot be read.
    """
    ends: dict[str, list[JsonValue]] = {
        name: [*_ends(value)] if isinstance(value, str) else value for name, value in settings.items()
    }
    spans = {name: _span(name, value) for name, value in settings.items() if isinstance(value, str)}
    for name, values in ends.items():
        others: Settings = {each: of[:1] for each, of in ends.items()}
        for overrides in combine({**others, name: values}):
            with_overrides(project, overrides)
    return {name: spans.get(name) or values for name, values in ends.items()}


def _ends(text: str) -> tuple[int | float, int | float]:
    match = re.match(RANGE, text)
    if match is None:
        raise UsageError(f"{text!r} is no range: expected low..high, such as 1e-4..1e-2")
    low, high = (int(end) if re.fullmatch(r"[+-]?\d+", end) else float(end) for end in match.groups())
    return low, high


def _span(name: str, text: str) -> Span | None:
    """The range of a parameter; None where there is no such parameter."""
    section, _, key = name.partition(".")
    config = field.annotation if (field := Params.model_fields.get(section)) else None
    if not (isinstance(config, type) and issubclass(config, Config) and key in config.model_fields):
        return None
    schema: dict[str, Any] = config.model_json_schema()["properties"][key]
    kinds: list[dict[str, Any]] = schema.get("anyOf", [schema])
    number = next((kind for kind in kinds if kind.get("type") in ("integer", "number") and "enum" not in kind), None)
    if number is None:
        raise UsageError(f"{name}={text}: a range fits numbers only; list the values, such as {name}=VALUE,VALUE")
    low, high = _ends(text)
    if not low < high:
        raise UsageError(f"{name}={text}: the first end of a range must be below the second")
    if number["type"] == "number":
        return Span(low, high, None)
    if not (math.isfinite(low) and math.isfinite(high) and low == int(low) and high == int(high)):
        raise UsageError(f"{name}={text}: the ends must be whole numbers")
    return Span(int(low), int(high), int(number.get("multipleOf", 1)))
