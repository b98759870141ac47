"""The tab Train: start trainings, and watch and hear how they get on."""

from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import ValidationError

from distill.adaptive import get_adaptive_vqvae_config
from distill.configs import ModelConfig, RunConfig
from distill.dataset.overview import overview
from distill.dataset.scan import scan
from distill.errors import DistillError, UsageError
from distill.runs import background
from distill.runs.folder import Order, read_order, run_named
from distill.runs.progress import alive
from distill.runs.stopping import stop as stop_run
from distill.runs.trainings import training_of
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.failures import shows_errors
from distill.ui.forms import Form
from distill.ui.handlers import AT_ONCE, QUIET
from distill.ui.messages import in_words_of_page
from distill.ui.run_removal import RunRemoval
from distill.ui.studio import Studio
from distill.ui.train_controls import FIRST, WEIGHT, Commands, TrainingForm
from distill.ui.training_actions import WHO
from distill.ui.training_choice import (
    bring_sounds,
    choose_run,
    dataset_choices,
    enable_buttons,
    live_component,
    live_view,
    message,
    possible_acts,
    training_choice,
)
from distill.versions.datasets import count_sounds

# Larger datasets all get the same settings.
MOST_HEARD = 2000


def build(context: Context, studio: Studio, sounds: gr.Dropdown) -> gr.Dropdown:
    """Put the tab's controls into the open tab, with the choice of sounds; the choice of a training, for others."""
    tab = TrainTab(context, sounds)
    tab.connect(studio)
    return tab.run


class TrainTab:
    """The tab's controls in the open tab, and what they do; handlers get the run's name, or the form by name."""

    def __init__(self, context: Context, sounds: gr.Dropdown) -> None:
        self.context = context
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=300):
                self.order = TrainingForm.build(sounds)
            with gr.Column(scale=3, min_width=320):
                self.run = training_choice(context, "train")
                self.commands = Commands.build()
                self.live = live_component("train")
                self.removal = RunRemoval(context, self.run, self.live)
        self.form = Form("train", self.order.fields)

    def connect(self, studio: Studio) -> None:
        """Let the controls act."""
        order, commands, run = self.order, self.commands, self.run
        studio.on_return.append((self.come_back, self.form.components))
        # Other tabs choose sounds, too.
        self.form.keep(studio, order.sounds.change)
        waiting: dict[str, Any] = {"concurrency_limit": AT_ONCE, **QUIET}
        order.sounds.change(self.show_size, order.sounds, order.size, **waiting)
        order.sounds.focus(self.list_sounds, None, order.sounds, **QUIET)
        form: dict[str, Any] = {**self.form.fields}
        order.start.click(self.start, inputs_kwargs=form, outputs=[run, commands.answer], **QUIET)
        for button, handler in (
            (commands.pause, self.pause),
            (commands.resume, self.resume),
            (commands.stop, self.stop),
            (commands.go_on, self.train_prior),
        ):
            button.click(handler, run, commands.answer, **waiting)
        run.change(lambda name: live_view(name, "train"), run, self.live, **QUIET)
        # An answer is that of the training that was chosen.
        run.select(lambda: "", None, commands.answer, **QUIET)
        buttons = [commands.pause, commands.resume, commands.stop, commands.go_on, commands.use]
        for event in (run.change, self.live.moved):
            event(self.able, run, buttons, **QUIET)
        bring_sounds(commands.use, run, self.context, studio)
        self.removal.connect()

    def come_back(self, desk: Desk) -> list[Any]:
        """The form as it was left; without a choice of sounds, the first dataset."""
        choices = dataset_choices(self.context)
        first = choices[0][1] if choices else None
        sounds = gr.Dropdown(choices=choices, value=self.form.values_left(desk).get("sounds") or first)
        return [sounds, *self.form.bring_back(desk)[1:]]

    def list_sounds(self) -> gr.Dropdown:
        """The datasets as they are now; what is chosen, or typed meanwhile, stays."""
        return gr.Dropdown(choices=dataset_choices(self.context))

    def show_size(self, sounds: str | None) -> str:
        """The codebook size that follows from the sounds."""
        if not sounds:
            return ""
        try:
            files = _usable(self.context.named(sounds))
        except DistillError as error:
            return in_words_of_page(str(error))
        return f"auto: {get_adaptive_vqvae_config(files).codebook_size} for {files} usable files"

    @shows_errors
    def start(self, sounds: str | None, name: str, what: str, **settings: Any) -> tuple[gr.Dropdown, str]:
        """Start a training."""
        if not sounds:
            raise UsageError("choose the sounds first: a dataset, or a folder")
        source = self.context.named(sounds)
        if not count_sounds(source):
            raise UsageError(f"{sounds}: no file in it looks like a sound")
        last = "train_vqvae" if what == FIRST else None
        order = Order(str(source), settings_from(**settings), _named(name), last, "page")
        root = background.start(self.context.project, order)
        return choose_run(self.context, root.name), message(
            f"{root.name} has begun. It goes on when this page is closed."
        )

    @shows_errors
    def pause(self, run: str | None) -> str:
        """Pause the training."""
        return message(f"Paused at step {_ask(self._root(run), 'pause')}.")

    @shows_errors
    def resume(self, run: str | None) -> str:
        """Let a paused training go on, or a stopped run."""
        root = self._root(run)
        if alive(root):
            return message(f"Goes on from step {_ask(root, 'resume')}.")
        order = read_order(root)
        background.go_on(self.context.project, root, until=order.until if order else None)
        return message("Goes on from where it stopped.")

    @shows_errors
    def stop(self, run: str | None) -> str:
        """Stop the run."""
        stop_run(self._root(run))
        return message("It saves its state and ends; Resume goes on from there.")

    @shows_errors
    def train_prior(self, run: str | None) -> str:
        """Run the stages that were left out."""
        background.go_on(self.context.project, self._root(run))
        return message("It learns what follows what (the prior); then the model is written.")

    def able(self, run: str | None) -> list[gr.Button]:
        """What can be done with the run."""
        return enable_buttons(possible_acts(self.context, run), "pause", "resume", "stop", "complete", "sounds")

    def _root(self, run: str | None) -> Path:
        if not run:
            raise UsageError("choose a training first")
        return run_named(self.context.project, run)


def _ask(root: Path, command: str) -> int:
    """Tell the training of a run what to do; its step."""
    return int(training_of(root).ask(command, {}, who=WHO)["step"])


def settings_from(
    *,
    levels: int,
    commitment_weight: float,
    preset: str,
    epochs: float | None,
    learning_rate: float | None,
    prior_epochs: float | None,
    seed: float | None,
    more: str,
) -> tuple[str, ...]:
    """The settings that differ from the defaults: then the run is that of the plain command."""
    given = {
        "vqvae.num_quantizers": levels or None,
        "vqvae.commitment_weight": None if commitment_weight == WEIGHT else commitment_weight,
        "run.preset": None if preset == RunConfig().preset else preset,
        "vqvae.epochs": int(epochs or 0) or None,
        "vqvae.learning_rate": learning_rate or None,
        "prior.epochs": int(prior_epochs or 0) or None,
        "run.seed": int(seed or 0) or None,
    }
    settings = [f"{name}={value}" for name, value in given.items() if value is not None]
    return (*settings, *(line.strip() for line in more.splitlines() if line.strip()))


def _named(text: str) -> str | None:
    """The name of the model; None where it is left to the training.

    Raises:
        UsageError: the training would not take it.
    """
    name = text.strip()
    if not name:
        return None
    try:
        return ModelConfig(name=name).name
    except ValidationError as error:
        raise UsageError(
            f"{name!r} cannot be a model's name: use up to 100 letters (a to z), digits, dots, dashes and underscores, "
            "the first a letter or digit"
        ) from error


def _usable(folder: Path) -> int:
    """How many files of a folder a training would use; of more than change anything, how many look like sounds."""
    files = count_sounds(folder)
    return files if files > MOST_HEARD else int(overview("", scan(folder))["usable"])
