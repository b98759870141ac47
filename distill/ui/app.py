"""The page: its tabs in their order."""

from html import escape

import gradio as gr

from distill.ui.context import Context
from distill.ui.tabs import data, monitor, train

TITLE = "distill"


def build_app(context: Context) -> gr.Blocks:
    """The page with all tabs; each tab gets the same context and nothing of the others."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=False) as blocks:
        gr.HTML(
            f'<header class="d-top"><h1>{TITLE}</h1><p>{escape(context.project.name)}</p></header>',
            apply_default_css=False,
        )
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Data", id="data"):
                data.build(context)
            with gr.Tab("Train", id="train"):
                train.build(context)
            with gr.Tab("Monitor", id="monitor"):
                monitor.build(context)
    return blocks
