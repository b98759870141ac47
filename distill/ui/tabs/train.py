"""The tab Train: start trainings, and see and hear how they get on."""

from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import ValidationError

from distill.adaptive import get_adaptive_vqvae_config
from distill.configs import ModelConfig, RunConfig, VQVAEConfig
from distill.dataset.overview import overview
from distill.dataset.scan import scan
from distill.errors import DistillError, UsageError
from distill.live.folder import RunFolder
from distill.runs import background
from distill.runs.folder import Order, read_order, run_named
from distill.runs.progress import alive
from distill.runs.stopping import stop as stop_run
from distill.runs.trainings import training_of
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.failures import told
from distill.ui.forms import Form
from distill.ui.run_removal import removing
from distill.ui.studio import Studio
from distill.ui.training_choice import (
    bring_sounds,
    chosen,
    dataset_choices,
    live_component,
    live_view,
    possible,
    pressable,
    said,
    training_choice,
)
from distill.versions.datasets import count_sounds

BOTH, FIRST = "All of it", "Only to rebuild sounds (VQ-VAE)"
# An empty field of numbers comes back as 0 once the page has shown it.
PLANNED = "0: planned."
LEVELS, WEIGHT = VQVAEConfig().num_quantizers, VQVAEConfig().commitment_weight
WAIT_SECONDS = 120.0
FIELDS = (
    "sounds", "name", "what", "levels", "commitment_weight", "preset", "epochs", "learning_rate", "prior_epochs",
    "seed", "more",
)  # fmt: skip
# Larger datasets all get the same settings.
MOST_HEARD = 2000


def build(context: Context, studio: Studio, sounds: gr.Dropdown) -> gr.Dropdown:
    """Put the tab's controls into the open tab, with the choice of sounds; the choice of a training, for others."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            sounds.render()
            name = gr.Textbox(
                value="",
                label="Name of the model",
                info="Left empty: the folder's name and the time.",
                max_lines=1,
                elem_id="train-name",
            )
            levels = gr.Slider(
                2,
                4,
                LEVELS,
                step=1,
                label="Levels",
                elem_id="train-levels",
                info="Fewer levels = faster, more levels = finer detail",
            )
            size = gr.Textbox(
                value="",
                label="Building blocks of a level (codebook size)",
                info="Follows from the number of files.",
                interactive=False,
                elem_id="train-codebook",
            )
            what = gr.Radio([BOTH, FIRST], value=BOTH, label="What to train", elem_id="train-what")
            with gr.Accordion("More settings", open=False):
                weight = gr.Slider(
                    0.01,
                    1.0,
                    WEIGHT,
                    step=0.01,
                    label="Commitment weight",
                    info="How firmly the encoder is held to the codes.",
                    elem_id="train-commitment",
                )
                preset = gr.Radio(
                    ["tuned", "sharp", "reference"],
                    value="tuned",
                    label="Preset",
                    info="tuned: what measurement shows better; sharp: the same with finer steps in time, for hits, at "
                    "twice the work; reference: the plain table.",
                    elem_id="train-preset",
                )
                epochs = gr.Number(
                    label="Rounds of rebuilding (epochs of the VQ-VAE)",
                    info=PLANNED,
                    precision=0,
                    value=0,
                    elem_id="train-epochs",
                )
                rate = gr.Number(label="Learning rate", info=PLANNED, value=0, step=0.0001, elem_id="train-rate")
                prior = gr.Number(
                    label="Rounds of what follows what (epochs of the prior)",
                    info=PLANNED,
                    precision=0,
                    value=0,
                    elem_id="train-prior-epochs",
                )
                seed = gr.Number(label="Seed", info="Of everything random.", precision=0, value=0, elem_id="train-seed")
                more = gr.Textbox(
                    value="",
                    label="Any other parameter",
                    info="section.key=value, one a line, such as vqvae.codebook_size=256",
                    lines=2,
                    elem_id="train-more",
                )
            begin = gr.Button("Start", variant="primary", elem_id="train-start")
        with gr.Column(scale=3, min_width=320):
            run = training_choice(context, "train")
            with gr.Row():
                pause = gr.Button("Pause", size="sm", min_width=80, interactive=False)
                resume = gr.Button("Resume", size="sm", min_width=80, interactive=False)
                stop = gr.Button("Stop", size="sm", min_width=80, interactive=False)
                go_on = gr.Button("Learn the rest", size="sm", min_width=80, interactive=False)
                use = gr.Button(
                    "Make sounds",
                    size="sm",
                    variant="primary",
                    min_width=110,
                    interactive=False,
                    elem_id="train-sounds-of",
                )
            answer = gr.HTML(elem_id="train-answer", elem_classes="d-answer", apply_default_css=False)
            live = live_component("train")
            removing(context, run, live)

    fields = [sounds, name, what, levels, weight, preset, epochs, rate, prior, seed, more]
    form = Form("train", dict(zip(FIELDS, fields, strict=True)))

    def opened(desk: Desk) -> list[Any]:
        choices = dataset_choices(context)
        first = choices[0][1] if choices else None
        return [gr.Dropdown(choices=choices, value=form.kept(desk).get("sounds") or first), *form.back(desk)[1:]]

    def sized(folder: str | None) -> str:
        if not folder:
            return ""
        try:
            files = _usable(context.named(folder))
        except DistillError as error:
            return str(error)
        return f"auto: {get_adaptive_vqvae_config(files).codebook_size} for {files} usable files"

    def started(folder: str | None, model: str, until: str, *values: Any) -> tuple[gr.Dropdown, str]:
        if not folder:
            raise UsageError("choose the sounds first: a dataset, or a folder")
        source = context.named(folder)
        if not count_sounds(source):
            raise UsageError(f"{folder}: no file in it looks like a sound")
        last = "train_vqvae" if until == FIRST else None
        order = Order(str(source), _settings(*values), _named(model), last, "page")
        root = background.start(context.project, order)
        return chosen(context, root.name), said(f"{root.name} has begun. It goes on when this page is closed.")

    def paused(name: str | None) -> str:
        step = _steered(_root(context, name)).ask("pause", {}, who="page", timeout=WAIT_SECONDS)["step"]
        return said(f"Paused at step {step}.")

    def resumed(name: str | None) -> str:
        root = _root(context, name)
        if alive(root):
            step = _steered(root).ask("resume", {}, who="page", timeout=WAIT_SECONDS)["step"]
            return said(f"Goes on from step {step}.")
        order = read_order(root)
        background.go_on(context.project, root, until=order.until if order else None)
        return said("Goes on from where it stopped.")

    def stopped(name: str | None) -> str:
        stop_run(_root(context, name))
        return said("It saves its state and ends; Resume goes on from there.")

    def trained_prior(name: str | None) -> str:
        background.go_on(context.project, _root(context, name))
        return said("It learns what follows what (the prior); then the model is written.")

    def able(name: str | None) -> list[gr.Button]:
        return pressable(possible(context, name), "pause", "resume", "stop", "complete", "sounds")

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    studio.on_return.append((opened, form.components))
    # Other tabs choose sounds, too.
    form.keep(studio, sounds.change)
    sounds.change(sized, sounds, size, **quiet)
    begin.click(told(started), form.components, [run, answer], **quiet)
    for button, handler in ((pause, paused), (resume, resumed), (stop, stopped), (go_on, trained_prior)):
        button.click(told(handler), run, answer, **quiet)
    run.change(lambda name: live_view(name, "train"), run, live, **quiet)
    for event in (run.change, live.moved):
        event(able, run, [pause, resume, stop, go_on, use], **quiet)
    bring_sounds(use, run, context, studio)
    return run


def _settings(
    levels: int,
    weight: float,
    preset: str,
    epochs: float | None,
    rate: float | None,
    prior: float | None,
    seed: float | None,
    more: str,
) -> tuple[str, ...]:
    """What is not as it is by default: then the same as the plain command, in the same workspace."""
    given = {
        "vqvae.num_quantizers": None if int(levels) == LEVELS else int(levels),
        "vqvae.commitment_weight": None if weight == WEIGHT else weight,
        "run.preset": None if preset == RunConfig().preset else preset,
        "vqvae.epochs": int(epochs or 0) or None,
        "vqvae.learning_rate": rate or None,
        "prior.epochs": int(prior or 0) or None,
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


def _root(context: Context, name: str | None) -> Path:
    if not name:
        raise UsageError("choose a training first")
    return run_named(context.project, name)


def _steered(root: Path) -> RunFolder:
    return training_of(root)
