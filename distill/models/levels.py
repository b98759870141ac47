"""What people call the levels of the residual quantizer."""

import re
from collections.abc import Sequence

from distill.errors import UsageError

_LABELS = {
    2: ("Structure", "Detail"),
    3: ("Structure", "Timbre", "Detail"),
    4: ("Structure", "Timbre", "Texture", "Detail"),
}
MOST_LEVELS = max(_LABELS)
# The last level of a model that knows where sounds lie between two channels.
SPACE_LABEL = "Space"


def level_labels(levels: int) -> tuple[str, ...]:
    """A label for each of 2 to 4 levels, the coarsest first.

    Raises:
        ValueError: another number of levels, which no model has.

    >>> level_labels(3)
    ('Structure', 'Timbre', 'Detail')
    """
    if levels not in _LABELS:
        raise ValueError(f"a model has 2 to 4 levels, not {levels}")
    return _LABELS[levels]


def with_labels(text: str, levels: int) -> str:
    """A text for people: where it counts levels (`level_0`), their labels; as it is where no model has so many levels.

    >>> with_labels("level_1: only 20% of the codes are used", 2)
    'Detail: only 20% of the codes are used'
    """
    labels = dict(enumerate(_LABELS.get(levels, ())))
    return re.sub(r"\blevel_(\d+)", lambda found: labels.get(int(found[1]), found[0]), text)


def find_level(name: str, labels: Sequence[str]) -> int:
    """The level with a label, whatever the case of its letters, or with a number from 0.

    >>> find_level("DETAIL", ("Structure", "Detail")), find_level("0", ("Structure", "Detail"))
    (1, 0)

    Raises:
        UsageError: there is no such level.
    """
    lowered = [label.casefold() for label in labels]
    if name.casefold() in lowered:
        return lowered.index(name.casefold())
    if name.isdecimal() and int(name) < len(labels):
        return int(name)
    known = ", ".join(f"{level} {label}" for level, label in enumerate(labels))
    raise UsageError(f"there is no level {name!r}: the levels are {known}")


def parse_levels(text: str, labels: Sequence[str]) -> tuple[int, ...]:
    """Levels from 0, in order, of labels and numbers with commas between them; see `find_level`.

    >>> parse_levels("detail, 0", ("Structure", "Timbre", "Detail"))
    (0, 2)

    Raises:
        UsageError: there is no such level, or none is named.
    """
    if not text.strip():
        raise UsageError("nothing is selected: no levels are named")
    return tuple(sorted({find_level(name.strip(), labels) for name in text.split(",")}))
