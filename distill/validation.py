"""What is wrong with given values, in words."""

import difflib
from collections.abc import Iterable
from typing import get_args

from pydantic import BaseModel, ValidationError

# Files from before may still name these parameters.
GONE = frozenset({"label_smoothing", "token_noise"})


def explain(error: ValidationError, config: type[BaseModel]) -> str:
    """All complaints of a validation in one line, with the nearest name for an unknown one."""
    lines: dict[str, None] = {}
    for item in error.errors():
        place = [str(part) for part in item["loc"]]
        if item["type"] == "extra_forbidden" and place[-1] in GONE:
            lines[f"{'.'.join(place)} is no parameter any more, as it made nothing better: leave it out"] = None
        elif item["type"] == "extra_forbidden":
            known = _known_names(config, place[:-1])
            lines[f"unknown parameter {'.'.join(place)}{nearest(place[-1], known)}"] = None
        elif item["type"] == "literal_error" and item["ctx"]["expected"] == "'auto'":
            continue
        else:
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "string_pattern_mismatch" and place == ["model", "name"]:
                message = "use letters, digits, . _ - and at most 100 of them, a letter or digit first"
            name = ".".join(part for part in place if not part.startswith(("constrained-", "literal[")))
            name = name.removesuffix(".float").removesuffix(".int").removesuffix(".bool").removesuffix(".str")
            given = "" if isinstance(item["input"], dict) else f" (given: {item['input']!r})"
            lines[f"{name}: {message}{given}" if name else message] = None
    return "; ".join(lines)


def _known_names(config: type[BaseModel], place: list[str]) -> list[str]:
    for part in place:
        field = config.model_fields.get(part)
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return []
        config = inner[0]
    return [field.alias or name for name, field in config.model_fields.items()]


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that an unknown one may be meant for, or all of them, as the end of a complaint.

    >>> nearest("dropuot", ["dropout", "epochs"])
    '; did you mean dropout?'
    """
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]}?" if match else f"; known: {', '.join(known)}"
