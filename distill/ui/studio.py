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
        tabs: to go from one tab to the other.
        models: the project's models.
        desk: the state with the session's `Desk`.
        arrivals: how often another tab has put something on the desk.
        codes_model: the choice of a model in the tab Codes, which renders it.
        generate_model: the same in the tab Generate.
    """

    tabs: gr.Tabs
    models: Models
    desk: gr.State
    arrivals: gr.State
    codes_model: gr.Dropdown
    generate_model: gr.Dropdown

    @classmethod
    def of(cls, context: Context, tabs: gr.Tabs) -> "Studio":
        """That of a page with these tabs."""
        return cls(
            tabs,
            Models(context),
            gr.State(Desk(context), delete_callback=Desk.close),
            gr.State(0),
            _choice("codes-model", "Grids belong to the model that encoded them."),
            _choice("generate-model", "Models come from the tab Train, or from a file in the tab Library."),
        )

    def first_offered(self) -> tuple[Any, Any]:
        """Both choices when the page opens: the files, which are found at once."""
        choices = self.models.choices(registry=False)
        value = choices[0][1] if choices else None
        return gr.Dropdown(choices=choices, value=value), gr.Dropdown(choices=choices, value=value)

    def offered(self) -> Any:
        """A choice as it is now, with the registry; what was chosen stays."""
        return gr.Dropdown(choices=self.models.choices())


def _choice(elem_id: str, info: str) -> gr.Dropdown:
    return gr.Dropdown(
        choices=[], label="Model", info=info, render=False, interactive=True, scale=2, min_width=260, elem_id=elem_id
    )
