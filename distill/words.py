"""Figures and names as people read them, in the command and on the pages."""

import unicodedata

# Control characters, marks that turn the direction of a line around or cannot be seen, separators of lines, halves of
# characters. What joins emoji and letters is among them, and harmless.
_HIDDEN_KINDS = frozenset(("Cc", "Cf", "Zl", "Zp", "Cs"))
_JOINERS = frozenset("\u200c\u200d")


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


def about(seconds: float) -> str:
    """The same, as it stands in a sentence.

    >>> about(4), about(100)
    ('a few seconds', 'about 2 min')
    """
    words = in_words(seconds)
    return words if words.startswith("a ") else f"about {words}"


def counted(number: int, thing: str) -> str:
    """So many things.

    >>> counted(1, "cell"), counted(0, "cell")
    ('1 cell', '0 cells')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"


def how_many(number: int, of: int, thing: str) -> str:
    """So many of all things, with the verb that follows.

    >>> how_many(1, 5, "file"), how_many(2, 2, "file")
    ('1 of 5 files is', '2 of 2 files are')
    """
    return f"{number} of {counted(of, thing)} {'is' if number == 1 else 'are'}"


def megabytes(count: int) -> str:
    """A number of bytes.

    >>> megabytes(12_340_000)
    '12.3 MB'
    """
    return f"{count / 1e6:.1f} MB"


def visible(text: str) -> str:
    r"""A text as one line that does nothing to a terminal or a page: what cannot be seen is written as an escape.

    >>> visible("snare\x1b[2J\u202e [dry]\n.wav")
    'snare\\x1b[2J\\u202e [dry]\\n.wav'
    """
    if text.isprintable():
        return text
    return "".join(_escape(each) if unicodedata.category(each) in _HIDDEN_KINDS else each for each in text)


def _escape(character: str) -> str:
    return character if character in _JOINERS else character.encode("unicode_escape").decode("ascii")
