"""Cards on the page: small pieces of HTML from templates, with every value escaped, and what is clicked in them."""

from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from string import Template

import gradio as gr

_TEMPLATES = Path(__file__).parent / "templates"
# Whatever carries data-act is told with its id.
_BRIDGE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) trigger("pick", { act: button.dataset.act, id: button.dataset.id });
});
"""


def cards_component(elem_id: str, empty: str) -> gr.HTML:
    """A place for cards; its event is `pick`, with `act` and `id` of what was clicked."""
    return gr.HTML(nothing(empty), js_on_load=_BRIDGE, apply_default_css=False, elem_id=elem_id)


def filled(template: str, /, **values: object) -> str:
    """A template of this package with escaped values."""
    return _template(template).substitute({key: escape(str(value)) for key, value in values.items()})


def row_of(cards: Sequence[str]) -> str:
    """Cards beside each other."""
    return f'<div class="d-cards">{"".join(cards)}</div>'


def nothing(words: str) -> str:
    """What stands where there is nothing yet."""
    return f'<p class="d-hint">{escape(words)}</p>'


def picked(event: gr.EventData) -> tuple[str, str]:
    """What was clicked in a card: the act and the id."""
    values = event._data if isinstance(event._data, dict) else {}
    return str(values.get("act", "")), str(values.get("id", ""))


@lru_cache
def _template(name: str) -> Template:
    return Template((_TEMPLATES / f"{name}.html").read_text(encoding="utf-8"))
