"""What the tabs Generate, Takes, Codes and Library share: the models, and a way from one tab to the other."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.models import Models


@dataclass(frozen=True)
class Studio:
    """Components of tabs that others of them fill; to be made within the open `gr.Blocks`.

    Attributes:
        tabs: to go from one tab to the other.
        models: the project's models.
        desk: the state with the tab's `Desk`.
        returned: changes once the tab has its desk, with whatever lay on it.
        arrivals: how often another tab has put something on the desk.
        more: how often another tab has asked for more sounds like the one that the desk says.
        picked: whether somebody chose a model; as long as nobody did, the newest is chosen.
        codes_model: the choice of a model in the tab Codes, which renders it.
        generate_model: the same in the tab Generate.
    """

    tabs: gr.Tabs
    models: Models
    desk: gr.State
    returned: gr.State
    arrivals: gr.State
    more: gr.State
    picked: gr.State
    codes_model: gr.Dropdown
    generate_model: gr.Dropdown

    @classmethod
    def of(cls, context: Context, tabs: gr.Tabs) -> "Studio":
        """That of a page with these tabs."""
        studio = cls(
            tabs=tabs,
            models=Models(context),
            desk=gr.State(Desk(context), delete_callback=Desk.close),
            returned=gr.State(0),
            arrivals=gr.State(0),
            more=gr.State(0),
            picked=gr.State(False),
            codes_model=_choice("codes-model", "Grids belong to the model that encoded them."),
            generate_model=_choice(
                "generate-model", "Models come from the tab Train, or from a file in the tab Library."
            ),
        )
        for choice in (studio.codes_model, studio.generate_model):
            choice.input(lambda: True, None, studio.picked, show_progress="hidden", api_visibility="private")
        return studio

    def first_offered(self) -> tuple[Any, Any]:
        """Both choices when the page opens: the files, which are found at once."""
        choices, value = self.models.choices(registry=False), self.models.newest()
        return gr.Dropdown(choices=choices, value=value), gr.Dropdown(choices=choices, value=value)

    def offered(self, picked: bool) -> Any:
        """A choice as it is now, with the registry; what somebody chose stays, else the newest is chosen."""
        choices = self.models.choices()
        return gr.Dropdown(choices=choices) if picked else gr.Dropdown(choices=choices, value=self.models.newest())

    def offered_for_codes(self, picked: bool, desk: Desk) -> Any:
        """The same for the tab Codes, where the model of the open grid stays as well."""
        return self.offered(picked or "mine" in desk.sheets)

    def taken(self, model: str) -> tuple[Any, Any, Any]:
        """What brings a model to the tabs that make sounds: both choices, and that somebody picked it."""
        choices = self.models.choices()
        return gr.Dropdown(choices=choices, value=model), gr.Dropdown(choices=choices, value=model), True

    @property
    def takes_model(self) -> list[gr.components.Component]:
        """The outputs of `taken`."""
        return [self.generate_model, self.codes_model, self.picked]


def _choice(elem_id: str, info: str) -> gr.Dropdown:
    return gr.Dropdown(
        choices=[], label="Model", info=info, render=False, interactive=True, scale=2, min_width=260, elem_id=elem_id
    )
