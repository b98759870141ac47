"""The tab Monitor."""

import gradio as gr

from distill.ui.context import Context


def build(context: Context) -> None:
    """Put the tab's controls into the open tab."""
    gr.Markdown(f"`{context.project}`")
