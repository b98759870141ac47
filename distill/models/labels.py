"""What people call the levels of the residual quantizer."""

from distill.errors import UsageError

_LABELS = {
    2: ("Structure", "Detail"),
    3: ("Structure", "Timbre", "Detail"),
    4: ("Structure", "Timbre", "Texture", "Detail"),
}


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


def parse_levels(text: str, count: int) -> tuple[int, ...]:
    """Levels from 0, in order, of names in any case and numbers, divided by commas.

    >>> parse_levels("detail, 0", 3)
    (0, 2)

    Raises:
        UsageError: a name or number is no level of a model with `count` levels.
    """
    names = [name.lower() for name in level_labels(count)]
    found = set()
    for word in (part.strip().lower() for part in text.split(",")):
        if word in names:
            found.add(names.index(word))
        elif word.isdecimal() and int(word) < count:
            found.add(int(word))
        else:
            known = ", ".join(f"{level} {name}" for level, name in enumerate(level_labels(count)))
            raise UsageError(f"there is no level {word!r}; the model has {known}")
    return tuple(sorted(found))
