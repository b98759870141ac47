"""What the levels of a code are called: each refines what the ones before it left."""

from distill.errors import UsageError

_NAMES = {
    2: ("Structure", "Detail"),
    3: ("Structure", "Timbre", "Detail"),
    4: ("Structure", "Timbre", "Texture", "Detail"),
}


def level_names(count: int) -> tuple[str, ...]:
    """The names of a model's levels, the coarsest first.

    >>> level_names(3)
    ('Structure', 'Timbre', 'Detail')
    """
    return _NAMES.get(count) or tuple(f"Level {level}" for level in range(count))


def parse_levels(text: str, count: int) -> tuple[int, ...]:
    """Levels from 0, in order, of names in any case and numbers, divided by commas.

    >>> parse_levels("detail, 0", 3)
    (0, 2)

    Raises:
        UsageError: a name or number is no level of a model with `count` levels.
    """
    names = [name.lower() for name in level_names(count)]
    found = set()
    for word in (part.strip().lower() for part in text.split(",")):
        if word in names:
            found.add(names.index(word))
        elif word.isdecimal() and int(word) < count:
            found.add(int(word))
        else:
            known = ", ".join(f"{level} {name}" for level, name in enumerate(level_names(count)))
            raise UsageError(f"there is no level {word!r}; the model has {known}")
    return tuple(sorted(found))
