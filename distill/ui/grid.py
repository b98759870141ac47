"""`<distill-grid>` as a component: it shows a view, and wishes come from it (see `distill.ui.desk`)."""

import json
from typing import Any

import gradio as gr

# The views go to the element as data; a template of Gradio's would run what stands in them as code.
_BRIDGE = """
const grid = element.querySelector("distill-grid");
const show = () => { grid.view = JSON.parse(props.value || "null"); };
customElements.whenDefined("distill-grid").then(() => {
  grid.attach((wish) => trigger("wish", wish));
  watch("value", show);
  show();
});
"""
_OUTLINE = """
const show = () => {
  const grid = document.querySelector("#GRID distill-grid");
  if (grid) grid.outline = JSON.parse(props.value || "null");
};
customElements.whenDefined("distill-grid").then(() => { watch("value", show); show(); });
"""
# After an error nothing comes that would end the wait.
CALM = "() => document.querySelectorAll('distill-grid').forEach((grid) => { grid.view = grid.view; })"


def grid_component(elem_id: str, *, plain: bool = False) -> gr.HTML:
    """An empty grid; its event is `wish`. A plain one is heard and selected in, but not edited."""
    return gr.HTML(
        "",
        html_template=f"<distill-grid{' plain' if plain else ''}></distill-grid>",
        js_on_load=_BRIDGE,
        apply_default_css=False,
        elem_id=elem_id,
    )


def outline_component(grid_id: str) -> gr.HTML:
    """A hidden component whose value shows the grid of that `elem_id` how its sound looks (`Desk.draw_outline`)."""
    return gr.HTML(
        "",
        html_template="<span hidden></span>",
        js_on_load=_OUTLINE.replace("GRID", grid_id),
        apply_default_css=False,
        elem_id=f"{grid_id}-outline",
    )


def value_of(view: dict[str, Any] | None) -> str:
    """A view, or an outline, as its component takes it; None: nothing is shown."""
    return json.dumps(view, allow_nan=False)


def event_values(event: gr.EventData) -> dict[str, Any]:
    """What came from the element."""
    return dict(event._data or {})
