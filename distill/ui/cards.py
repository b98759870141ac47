"""Cards on the page: small pieces of HTML from templates, with every value escaped."""

from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from string import Template

_TEMPLATES = Path(__file__).parent / "templates"


def filled(template: str, /, **values: object) -> str:
    """A template of this package with escaped values."""
    return _template(template).substitute({key: escape(str(value)) for key, value in values.items()})


def row_of(cards: Sequence[str]) -> str:
    """Cards beside each other."""
    return f'<div class="d-cards">{"".join(cards)}</div>'


def nothing(words: str) -> str:
    """What stands where there is nothing yet."""
    return f'<p class="d-hint">{escape(words)}</p>'


@lru_cache
def _template(name: str) -> Template:
    return Template((_TEMPLATES / f"{name}.html").read_text(encoding="utf-8"))
