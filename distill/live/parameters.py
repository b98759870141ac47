"""Every parameter of a training and whether it may change while the training runs.

Types, ranges and descriptions are those of `distill.configs`; here stands what a running training makes of them.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from distill.configs import Config, LiveConfig, PriorConfig, RunConfig, TrainingConfig, VQVAEConfig
from distill.errors import UsageError
from distill.validation import explain

_LIVE_DEFAULTS = LiveConfig()


class Kind(StrEnum):
    """How freely a parameter may be changed while a training runs."""

    SAFE = "SAFE"
    CAREFUL = "CAREFUL"
    STARTUP_ONLY = "STARTUP_ONLY"


@dataclass(frozen=True)
class Parameter:
    """A parameter as a running training knows it.

    `field` is its name in params.yaml (None: only a running training has it), `reason` says why it cannot change
    (empty: it can). `low` and `high` are None where there is no such limit; `below_high` leaves `high` itself out.
    """

    name: str
    kind: Kind
    type: str
    low: float | None
    high: float | None
    below_high: bool
    unit: str
    default: Any
    description: str
    field: str | None
    reason: str = ""

    @property
    def span(self) -> str:
        """The range in words."""
        if self.low is None or self.high is None:
            return "true or false"
        return f"{self.low:g} to {'below ' if self.below_high else ''}{self.high:g}"


@dataclass(frozen=True)
class Settings:
    """What is in force: the parameters of a training and those that only a running one has."""

    training: TrainingConfig
    live: LiveConfig = _LIVE_DEFAULTS

    def values(self) -> dict[str, Any]:
        """The value of every parameter that may change, by name."""
        return {
            name: getattr(self.training, parameter.field) if parameter.field else getattr(self.live, name)
            for name, parameter in tunable(type(self.training)).items()
        }

    def changed(self, changes: Mapping[str, Any]) -> "Settings":
        """These settings with changes, which are checked together with all others.

        Raises:
            UsageError: an unknown name, one that may only be set at the start, a wrong type, a value out of range, or
                values that do not fit together; all complaints in one line.
        """
        known = parameters(type(self.training))
        _check_names(changes, known)
        training = self.training.model_dump()
        live = self.live.model_dump()
        for name, value in changes.items():
            field = known[name].field
            (training if field else live)[field or name] = value
        complaints = []
        for config, values in ((type(self.training), training), (LiveConfig, live)):
            try:
                config.model_validate(values, strict=True)
            except ValidationError as error:
                complaints.append(_renamed(explain(error, config), known))
        if complaints:
            raise UsageError("; ".join(complaints))
        return Settings(
            type(self.training).model_validate(training, strict=True), LiveConfig.model_validate(live, strict=True)
        )


# Name while it runs, name in params.yaml (None: it is in no file), class, unit.
_TUNABLE = (
    ("max_lr", "learning_rate", Kind.SAFE, ""),
    ("min_lr", "min_learning_rate", Kind.SAFE, ""),
    ("gradient_clip", "gradient_clip", Kind.SAFE, ""),
    ("early_stop_patience", "early_stop_patience", Kind.SAFE, "epochs"),
    ("log_interval", None, Kind.SAFE, "steps"),
    ("validate_interval", None, Kind.SAFE, "epochs"),
    ("checkpoint_interval", "checkpoint_interval", Kind.SAFE, "epochs"),
    ("keep_interval", None, Kind.SAFE, "epochs"),
    ("preview_interval", "preview_interval", Kind.SAFE, "epochs"),
    ("plateau_patience", None, Kind.SAFE, "evaluations"),
    ("plateau_safety_threshold", None, Kind.SAFE, "evaluations"),
    ("cooldown_duration", None, Kind.SAFE, "evaluations"),
    ("controller", None, Kind.CAREFUL, ""),
    ("weight_full", "weight_full", Kind.CAREFUL, ""),
    ("weight_half", "weight_half", Kind.CAREFUL, ""),
    ("weight_quarter", "weight_quarter", Kind.CAREFUL, ""),
    ("weight_l1", "weight_l1", Kind.CAREFUL, ""),
    ("commitment_weight", "commitment_weight", Kind.CAREFUL, ""),
    ("threshold_ema_dead_code", "threshold_ema_dead_code", Kind.CAREFUL, "vectors"),
    ("decay", "decay", Kind.CAREFUL, ""),
    ("augmentation_strength", "augmentation_strength", Kind.CAREFUL, ""),
)

_SHAPES = "it determines the shapes of the weights"
_SCHEDULE = "it determines the order of the batches and the length of the schedule"
_START = "it is only read at the start"
_REASONS = {
    **dict.fromkeys(
        ("codebook_dim", "codebook_size", "num_quantizers", "hidden", "layers", "heads", "context"), _SHAPES
    ),
    **dict.fromkeys(
        ("epochs", "steps_per_epoch", "batch_size", "augmentation_expansion", "warmup_fraction"), _SCHEDULE
    ),
    "augmented_variants": _SCHEDULE,
    "seed": "it determines everything random",
}


@cache
def parameters(config: type[TrainingConfig]) -> dict[str, Parameter]:
    """The table for a training (`VQVAEConfig` or `PriorConfig`): each parameter by its name, tunable ones first."""
    table: dict[str, Parameter] = {}
    taken = set()
    for name, field, kind, unit in _TUNABLE:
        source: type[Config] = config if field else LiveConfig
        if (field or name) in source.model_fields:
            table[name] = _parameter(name, kind, unit, source.model_fields[field or name], field)
            taken.add(field)
    at_start = {**config.model_fields, "seed": RunConfig.model_fields["seed"]}
    for name, info in at_start.items():
        if name not in taken:
            table[name] = _parameter(name, Kind.STARTUP_ONLY, "", info, name, _REASONS.get(name, _START))
    return table


def tunable(config: type[TrainingConfig]) -> dict[str, Parameter]:
    """The part of the table that may change while a training runs."""
    return {name: each for name, each in parameters(config).items() if each.kind is not Kind.STARTUP_ONLY}


def everything() -> dict[str, Parameter]:
    """The parameters of both trainings; those of the same name are the same but for their defaults."""
    return {**parameters(PriorConfig), **parameters(VQVAEConfig)}


def _parameter(name: str, kind: Kind, unit: str, info: FieldInfo, field: str | None, reason: str = "") -> Parameter:
    limits = {
        key: getattr(each, key) for each in info.metadata for key in ("ge", "gt", "le", "lt") if hasattr(each, key)
    }
    annotation = info.annotation
    return Parameter(
        name=name,
        kind=kind,
        type=annotation.__name__ if isinstance(annotation, type) else str(annotation),
        low=limits.get("ge", limits.get("gt")),
        high=limits.get("le", limits.get("lt")),
        below_high="lt" in limits,
        unit=unit,
        default=info.default,
        description=info.description or "",
        field=field,
        reason=reason,
    )


def _check_names(changes: Mapping[str, Any], known: Mapping[str, Parameter]) -> None:
    complaints = []
    by_field = {each.field: name for name, each in known.items() if each.field and each.field != name}
    for name in changes:
        if name in by_field:
            complaints.append(f"unknown parameter {name}: while a training runs it is called {by_field[name]}")
        elif name not in known:
            near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
            names = [each for each, parameter in known.items() if not parameter.reason]
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(names)}"
            complaints.append(f"unknown parameter {name}{hint}")
        elif known[name].reason:
            complaints.append(f"{name} can only be set at the start: {known[name].reason}")
    if complaints:
        raise UsageError("; ".join(complaints))


def _renamed(text: str, known: Mapping[str, Parameter]) -> str:
    """A complaint that speaks of parameters by the names they have while a training runs."""
    fields = {each.field: name for name, each in known.items() if each.field and each.field != name}
    # The longest first: one name is a part of another.
    for field in sorted(fields, key=len, reverse=True):
        text = text.replace(field, fields[field])
    return text
