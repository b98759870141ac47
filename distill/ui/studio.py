"""What the tabs Generate, Takes, Codes and Library share: the models, and a way from one tab to the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gradio as gr

from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.handlers import QUIET
from distill.ui.models import Models

# What the desk keeps the picked models under, among the forms.
_PICKED = "models"


@dataclass(frozen=True)
class Studio:
    """Components of tabs that others of them fill; to be made within the open `gr.Blocks`.

    Attributes:
        tabs: to go from one tab to the other.
        models: the project's models.
        desk: the state with the tab's `Desk`.
        returned: changes once the tab has its desk, with whatever lay on it.
        arrivals: how often another tab has put something on the desk.
        more: how often another tab has ordered the sounds that the desk says.
        codes_model: the choice of a model in the tab Codes, which renders it.
        generate_model: the same in the tab Generate.
        on_return: what brings back what a tab showed, and the components that it fills.
    """

    tabs: gr.Tabs
    models: Models
    desk: gr.State
    returned: gr.State
    arrivals: gr.State
    more: gr.State
    codes_model: gr.Dropdown
    generate_model: gr.Dropdown
    on_return: list[tuple[Callable[[Desk], Sequence[Any]], Sequence[gr.components.Component]]] = field(
        default_factory=list
    )

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
            codes_model=_choice("codes-model", "Grids belong to the model that encoded them."),
            generate_model=_choice(
                "generate-model", "Models come from the tab Train, or from a file in the tab Library."
            ),
        )
        for name, choice in studio.choices.items():
            choice.input(partial(_pick, name), [studio.desk, choice], None, **QUIET)
        studio.on_return.append((studio.bring_back_models, [*studio.choices.values()]))
        return studio

    @property
    def choices(self) -> dict[str, gr.Dropdown]:
        """The choices of a model by what the desk keeps them under."""
        return {"generate": self.generate_model, "codes": self.codes_model}

    def bring_back(self, desk: Desk) -> list[Any]:
        """All that `on_return` says, in its order."""
        return [value for back, _ in self.on_return for value in back(desk)]

    def offer_files(self) -> tuple[Any, Any]:
        """Both choices when the page opens: the files, which are found at once."""
        choices, value = self.models.choices(registry=False), self.models.newest()
        return gr.Dropdown(choices=choices, value=value), gr.Dropdown(choices=choices, value=value)

    def offer(self, name: str, desk: Desk) -> Any:
        """A choice as it is now, with the registry: what somebody picked stays while it is here.

        Else the model of the open grid is chosen in the tab Codes, and the newest where there is none.
        """
        choices = self.models.choices()
        here = {known for _, known in choices}
        # What was picked before a reload is known once the tab has its desk.
        if not desk.sessions or desk.forms.get(_PICKED, {}).get(name) in here:
            return gr.Dropdown(choices=choices)
        of_grid = desk.sheet().model_name if name == "codes" and "mine" in desk.sheets else None
        return gr.Dropdown(choices=choices, value=of_grid if of_grid in here else self.models.newest())

    def choose_model(self, desk: Desk, model: str) -> tuple[Any, Any]:
        """What brings a model to `choices`, as if somebody had picked it there."""
        choices = self.models.choices()
        desk.forms = {**desk.forms, _PICKED: dict.fromkeys(self.choices, model)}
        return gr.Dropdown(choices=choices, value=model), gr.Dropdown(choices=choices, value=model)

    def bring_back_models(self, desk: Desk) -> list[Any]:
        """The choices as they were when the tab was loaded, of models that are still here."""
        left = {name: self.model_left(desk, name) for name in self.choices}
        if "mine" in desk.sheets:
            # The tab Codes chooses the model of the open grid.
            left["codes"] = None
        here = {model for model in {*left.values()} if model and self.models.has(model)}
        return [gr.update(value=model) if model in here else gr.skip() for model in left.values()]

    def model_left(self, desk: Desk, name: str) -> str | None:
        """The model that was picked in a choice when the tab was loaded; None: nobody had picked one."""
        model: str | None = desk.left.get(_PICKED, {}).get(name)
        return model


def _pick(name: str, desk: Desk, model: str | None) -> None:
    """Keep on the desk which model somebody picked."""
    desk.forms = {**desk.forms, _PICKED: {**desk.forms.get(_PICKED, {}), name: model}}


def _choice(elem_id: str, info: str) -> gr.Dropdown:
    return gr.Dropdown(
        choices=[], label="Model", info=info, render=False, interactive=True, scale=2, min_width=260, elem_id=elem_id
    )
