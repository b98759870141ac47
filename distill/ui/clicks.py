"""What is clicked in the cards of the page, as an event of Gradio's."""

import gradio as gr

from distill.ui.cards import empty_hint

# Whatever carries data-act is told with its id.
_BRIDGE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) trigger("pick", { act: button.dataset.act, id: button.dataset.id });
});
"""


def cards_component(elem_id: str, empty: str) -> gr.HTML:
    """A place for cards; its event is `pick`, with `act` and `id` of what was clicked."""
    return gr.HTML(empty_hint(empty), js_on_load=_BRIDGE, apply_default_css=False, elem_id=elem_id)


def clicks_of(event: gr.EventData) -> list[str]:
    """What was clicked for one or several sounds: the act, then their ids."""
    values = event._data if isinstance(event._data, dict) else {}
    ids = values.get("ids")
    return [str(values.get("act", "")), *map(str, ids if isinstance(ids, list) else [values.get("id", "")])]


def click_of(event: gr.EventData) -> tuple[str, str]:
    """What was clicked in a card: the act and the id."""
    act, key, *_ = clicks_of(event)
    return act, key
