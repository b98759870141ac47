"""A training steered in plain words: what a word changes of the settings that are in force."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from distill.errors import UsageError
from distill.live.parameters import Parameter

Word = Literal["sharper", "smoother", "slower", "faster"]
# How much of the loss's weight a word moves, and by what it divides or multiplies the learning rate.
_MOVED, _FACTOR = 0.1, 2.0
# Six digits are all that anybody reads; what is taken from one weight is given to another.
_DIGITS = 6

Values = Mapping[str, Any]


def changes_of(word: Word, values: Values, known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The changes that a word stands for.

    `sharper` lets the finest resolution of the spectrogram count more, `smoother` the coarser ones; `slower` and
    `faster` halve and double the learning rate.

    Args:
        word: what shall become of the training.
        values: what is in force, by name.
        known: the parameters that the training has.

    Raises:
        UsageError: the training has no such settings, or they are as far as they go.
    """
    change = _CHANGES[word]
    try:
        found = {name: round(value, _DIGITS) for name, value in change(values).items()}
    except KeyError as error:
        raise UsageError(f"this training cannot be made {word}: that is for the VQ-VAE") from error
    limited = {name: _within(value, known[name]) for name, value in found.items()}
    changed = {name: value for name, value in limited.items() if value != values[name]}
    if not changed:
        raise UsageError(f"it cannot be made any {word}")
    return changed


def _within(value: float, parameter: Parameter) -> float:
    low = value if parameter.low is None else max(value, parameter.low)
    return low if parameter.high is None else min(low, parameter.high)


def _sharper(values: Values) -> dict[str, float]:
    taken = {name: min(values[name], _MOVED / 2) for name in ("weight_half", "weight_quarter")}
    room = 0.9 - values["weight_full"]
    share = min(1.0, room / (sum(taken.values()) or 1.0))
    less = {name: values[name] - share * amount for name, amount in taken.items()}
    return {**less, "weight_full": values["weight_full"] + share * sum(taken.values())}


def _smoother(values: Values) -> dict[str, float]:
    moved = min(values["weight_full"], _MOVED, 0.9 - values["weight_quarter"])
    return {"weight_full": values["weight_full"] - moved, "weight_quarter": values["weight_quarter"] + moved}


_CHANGES: dict[Word, Callable[[Values], dict[str, float]]] = {
    "sharper": _sharper,
    "smoother": _smoother,
    "slower": lambda values: {"max_lr": values["max_lr"] / _FACTOR},
    "faster": lambda values: {"max_lr": values["max_lr"] * _FACTOR},
}
