"""What the tabs Generate, Codes and Library share: the models, and a way from one tab to the other."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.models import Models


@dataclass(frozen=True)
class Studio:
    """Components of three tabs that others of them fill; to be made within the open `gr.Blocks`.

    Attributes:
        models: the project's models.
        desk: the state with the session's `Desk`.
        arrivals: how often another tab has put something on the desk.
        codes_model: the choice of a model in the tab Codes, which renders it.
        generate_model: the same in the tab Generate.
    """

    models: Models
    desk: gr.State
    arrivals: gr.State
    codes_model: gr.Dropdown
    generate_model: gr.Dropdown

    @classmethod
    def of(cls, context: Context) -> "Studio":
        """That of a page."""
        return cls(
            Models(context),
            gr.State(Desk(context), delete_callback=Desk.close),
            gr.State(0),
            _choice("Grids belong to the model that encoded them."),
            _choice("Models come from the tab Train, or from a file in the tab Library."),
        )

    def offered(self, chosen: str | None) -> Any:
        """The choice of models as it is now; what was chosen stays, if it is still there."""
        choices = self.models.choices()
        names = [name for _, name in choices]
        value = chosen if chosen in names else names[0] if names else None
        return gr.Dropdown(choices=choices, value=value)


def _choice(info: str) -> gr.Dropdown:
    return gr.Dropdown(choices=[], label="Model", info=info, render=False, interactive=True, scale=2)
