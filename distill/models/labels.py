"""What people call the levels of the residual quantizer."""

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
