"""Figures as people say them, in the command and on the page."""


def in_words(seconds: float) -> str:
    """About how long something takes.

    >>> [in_words(each) for each in (4, 50, 100, 290, 4000, 9000)]
    ['a few seconds', '1 min', '2 min', '5 min', '67 min', '2.5 hours']
    """
    if seconds < 20:
        return "a few seconds"
    if seconds < 5400:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} hours"


def megabytes(count: int) -> str:
    """A number of bytes.

    >>> megabytes(12_340_000)
    '12.3 MB'
    """
    return f"{count / 1e6:.1f} MB"
