"""Choosing one of the project's trainings, on every tab that shows one."""

from contextlib import suppress
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from distill.errors import DistillError, UsageError
from distill.runs.folder import default_run, run_folders, run_named
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.failures import shows_errors
from distill.ui.handlers import QUIET
from distill.ui.studio import Studio
from distill.ui.training_actions import acts_of
from distill.ui.training_state import written_model
from distill.versions.datasets import list_datasets

NOTHING = "<p class='d-empty'>No trainings yet.</p>"


def training_choice(context: Context, name: str) -> gr.Dropdown:
    """A list of the project's trainings, filled when the page opens, with the one that runs chosen."""
    choice = gr.Dropdown(
        choices=[], value=None, label="Training", info="Found again whenever the page is opened.", elem_id=f"{name}-run"
    )

    gr.on(None, partial(choose_run, context, None), None, choice, **QUIET)
    choice.focus(partial(list_runs, context), choice, choice, **QUIET)
    return choice


def dataset_choices(context: Context) -> list[tuple[str, str]]:
    """The project's datasets: words for people, and the path that a training is told."""
    return [(f"{each.path} ({each.files} files)", each.path) for each in list_datasets(context.project)]


def sounds_choice() -> gr.Dropdown:
    """The choice of what is trained on, which the tab Train renders and other tabs set."""
    return gr.Dropdown(
        choices=[],
        label="Sounds",
        info="A dataset of this project, or type a folder.",
        allow_custom_value=True,
        elem_id="train-sounds",
        render=False,
    )


def list_runs(context: Context, name: str | None) -> gr.Dropdown:
    """The list as it is now; what is chosen stays unless it is gone."""
    names = [root.name for root in run_folders(context.project)]
    return gr.Dropdown(choices=names) if name in (None, *names) else choose_run(context, name)


def choose_run(context: Context, name: str | None) -> gr.Dropdown:
    """The list with this training chosen; without one of that name, with the one that runs, or ran last."""
    names = [root.name for root in run_folders(context.project)]
    if name not in names:
        name = default_run(context.project).name if names else None
    return gr.Dropdown(choices=names, value=name)


def live_component(name: str) -> gr.HTML:
    """A place for `live_view`; its event is `moved`: the training is in another state."""
    return gr.HTML(
        live_view(None, name),
        js_on_load='element.addEventListener("d-moved", () => trigger("moved", {}));',
        elem_id=f"{name}-live",
        apply_default_css=False,
    )


def possible_acts(context: Context, run: str | None) -> frozenset[str]:
    """What can be done with the run of that name, besides `sounds` where its model can be used; nothing without one."""
    with suppress(DistillError):
        root = run_named(context.project, run or "")
        return acts_of(root) | (frozenset(("sounds",)) if written_model(root) else frozenset())
    return frozenset()


def enable_buttons(can: frozenset[str], *acts: str) -> list[gr.Button]:
    """Buttons that can be pressed where what they do can be done."""
    return [gr.Button(interactive=act in can) for act in acts]


def bring_sounds(button: gr.Button, run: gr.Dropdown, context: Context, studio: Studio) -> None:
    """Let a button lead to the tab Generate, with the model of the chosen training."""

    def use(desk: Desk, name: str | None) -> Any:
        if not name:
            raise UsageError("choose a training first")
        called = written_model(run_named(context.project, name))
        model = studio.models.newest(called) if called else None
        if model is None:
            raise UsageError(f"{name} has no model here: let it finish first")
        return *studio.choose_model(desk, model), gr.Tabs(selected="generate")

    outputs = [*studio.choices.values(), studio.tabs]
    button.click(shows_errors(use), [studio.desk, run], outputs, **QUIET)


def live_view(run: str | None, view: str, stage: str | None = None) -> str:
    """The element that shows a training as it is now."""
    if not run:
        return NOTHING
    which = f' stage="{escape(stage)}"' if stage else ""
    return f'<distill-live run="{escape(run)}" view="{escape(view)}"{which}></distill-live>'


def message(text: str) -> str:
    """What a control answers, told to those who cannot see it as well."""
    return f"<p class='d-said' role='status'>{escape(text)}</p>" if text else ""
