"""Cards on the page: small pieces of HTML from templates, with every value escaped."""

from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from string import Template

from distill.library.takes import WAVE_POINTS, heard_of
from distill.ui.context import Context

# The bar of a sound that is at one point, in percent, and what still counts as the middle.
_LEAST_BREADTH, _MIDDLE = 3.0, 0.05
_TEMPLATES = Path(__file__).parent / "templates"


def render_template(template: str, /, **values: object) -> str:
    """A template of this package with escaped values."""
    return _template(template).substitute({key: escape(str(value)) for key, value in values.items()})


def place_values(place: tuple[float, float] | None) -> dict[str, object]:
    """What the bar of a card says: where a sound lies between its channels, and how wide it is; of a mono one nothing.

    >>> place_values((-0.5, 0.2))
    {'place': '20% wide, 50% to the left', 'left': 15.0, 'breadth': 20.0, 'stereo': ''}
    """
    if place is None:
        return {"place": "", "left": 0, "breadth": 0, "stereo": "hidden"}
    at, wide = place
    breadth = max(_LEAST_BREADTH, 100 * wide)
    left = min(max(50 + 50 * at - breadth / 2, 0.0), 100 - breadth)
    side = "left" if at < 0 else "right"
    where = "in the middle" if abs(at) < _MIDDLE else f"{abs(at):.0%} to the {side}"
    return {"place": f"{wide:.0%} wide, {where}", "left": round(left, 1), "breadth": round(breadth, 1), "stereo": ""}


def sound_values(path: Path, context: Context) -> dict[str, object]:
    """What a card says of the sound in a file: how to hear it, how long it is, its outline and its place."""
    heard = heard_of(path)
    return {
        "file": path.name,
        "seconds": f"{heard.seconds:.2f} s",
        "sound": context.link(path),
        "wave": heard.wave,
        "width": WAVE_POINTS,
        **place_values(heard.place),
    }


def row_of(cards: Sequence[str]) -> str:
    """Cards beside each other."""
    return f'<div class="d-cards">{"".join(cards)}</div>'


def empty_hint(words: str) -> str:
    """What stands where there is nothing yet."""
    return f'<p class="d-hint">{escape(words)}</p>'


@lru_cache
def _template(name: str) -> Template:
    return Template((_TEMPLATES / f"{name}.html").read_text(encoding="utf-8"))
