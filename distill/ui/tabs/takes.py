"""The tab Takes: all that was generated, found again; it shows `<distill-takes>`, and brings sounds to other tabs."""

from typing import Any

import gradio as gr

from distill.library.takes import Takes
from distill.ui.clicks import clicks_of
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.failures import shows_errors
from distill.ui.handlers import QUIET
from distill.ui.sound_jobs import order_between, order_like
from distill.ui.studio import Studio

_BRIDGE = """
const takes = element.querySelector("distill-takes");
customElements.whenDefined("distill-takes").then(() => takes.attach((wish) => trigger("pick", wish)));
"""


def build(context: Context, studio: Studio) -> None:
    """Put the tab's controls into the open tab."""
    takes = gr.HTML(
        "",
        html_template="<distill-takes></distill-takes>",
        js_on_load=_BRIDGE,
        apply_default_css=False,
        elem_id="takes-list",
    )

    @shows_errors
    def pick(desk: Desk, arrivals: int, more: int, event: gr.EventData) -> Any:
        act, *keys = clicks_of(event)
        takes = Takes(context.project).named(keys)
        take, name = takes[0], studio.models.of_take(takes[0])
        if act in ("more", "between"):
            desk.order = (
                order_like(take.path, name) if act == "more" else order_between([each.path for each in takes], name)
            )
            return gr.skip(), more + 1, gr.Tabs(selected="generate")
        desk.open_file(take.path, studio.models.load(name), name)
        return arrivals + 1, gr.skip(), gr.Tabs(selected="codes")

    takes.pick(
        pick,
        [studio.desk, studio.arrivals, studio.more],
        [studio.arrivals, studio.more, studio.tabs],
        **QUIET,
    )
