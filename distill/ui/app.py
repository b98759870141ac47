"""The page: its tabs in their order."""

from html import escape
from typing import Any

import gradio as gr

from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.desks import OWN_NAME, Desks
from distill.ui.failures import told
from distill.ui.studio import Studio
from distill.ui.tabs import codes, data, generate, library, monitor, start, takes, train
from distill.ui.training_choice import sounds_choice

TITLE = "distill"
# How often what was uploaded and shown is looked through, and how old it may become, in s.
CACHE_SECONDS = (3600, 24 * 3600)
# Until then nothing can be touched (`assets/first/inert.js`): what is brought back would take its place.
READY = "() => { document.documentElement.inert = false; }"


def build_app(context: Context) -> gr.Blocks:
    """The page with all tabs; each tab gets the same context, the last ones also what they share."""

    def come_back(fresh: Desk, name: str, returned: int) -> tuple[Desk, int]:
        """The desk of a tab; the tabs of the page show what lies on it when that is told."""
        return desks.taken(name, fresh), returned + 1

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=False, delete_cache=CACHE_SECONDS) as blocks:
        gr.HTML(
            f'<header class="d-top"><h1>{TITLE}</h1><p>{escape(context.project.name)}</p></header>',
            apply_default_css=False,
        )
        tabs = gr.Tabs(elem_id="tabs")
        studio, sounds = Studio.of(context, tabs), sounds_choice()
        desks = Desks(context, studio.models.load)
        desks.keep_saving()
        with tabs:
            with gr.Tab("Start", id="start") as start_tab:
                pass
            with gr.Tab("Data", id="data"):
                data.build(context, studio, sounds)
            with gr.Tab("Train", id="train"):
                looked_at = train.build(context, studio, sounds)
            with gr.Tab("Monitor", id="monitor"):
                monitor.build(context, studio, looked_at)
            with gr.Tab("Generate", id="generate") as tab:
                generate.build(context, studio, tab)
            with gr.Tab("Takes", id="takes"):
                takes.build(context, studio)
            with gr.Tab("Codes", id="codes") as tab:
                codes.build(context, studio, tab)
            with gr.Tab("Library", id="library") as tab:
                library.build(context, studio, tab)
        with start_tab:
            start.build(context, studio, looked_at)
        choices = [studio.generate_model, studio.codes_model]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        named = gr.Textbox("", visible="hidden")
        offered = blocks.load(told(studio.first_offered), None, choices, **quiet)
        # What was on the desk comes last: the model of an open grid is chosen.
        offered.then(
            told(come_back), [studio.desk, named, studio.returned], [studio.desk, studio.returned], js=OWN_NAME, **quiet
        ).then(
            told(studio.bring_back),
            studio.desk,
            [filled for _, components in studio.on_return for filled in components],
            **quiet,
        ).then(None, js=READY, **quiet)
    return blocks
