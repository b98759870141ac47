"""The tab Monitor: watch a training, tune it, and take it back."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gradio as gr

from distill.errors import DataError, DistillError, UsageError
from distill.live.folder import RunFolder
from distill.live.parameters import Kind, Parameter, everything, tunable
from distill.runs.folder import run_named
from distill.runs.trainings import compare, in_force, roll_back, snapshots, training_of
from distill.ui.context import Context
from distill.ui.failures import told
from distill.ui.plain_words import Word, changes_of
from distill.ui.studio import Studio
from distill.ui.tables import cell, table
from distill.ui.training_choice import (
    bring_sounds,
    chosen,
    live_component,
    live_view,
    possible,
    pressable,
    said,
    training_choice,
)
from distill.ui.training_state import CONFIGS

WHO = "page"
WAIT_SECONDS = 120.0
NAMES = {"train_vqvae": "Rebuilding (VQ-VAE)", "train_prior": "What follows what (prior)"}
CLASSES = {
    Kind.SAFE: "SAFE: how fast it learns and how closely it is watched",
    Kind.CAREFUL: "CAREFUL: what is learned; measure before and after",
}

WORDS: tuple[Word, ...] = ("sharper", "smoother", "slower", "faster")
RESOLUTION = ("sharper", "smoother")
MEANT: dict[Word, str] = {
    "sharper": "sharper: fine detail counts more",
    "smoother": "smoother: the whole counts more than fine detail",
    "slower": "slower: each step changes less",
    "faster": "faster: each step changes more",
}

Values = dict[str, Any]


def build(context: Context, studio: Studio, looked_at: gr.Dropdown) -> None:
    """Put the tab's controls into the open tab; it follows what is looked at, the training of another tab."""
    with gr.Row():
        run = training_choice(context, "monitor")
        stage = gr.Radio(
            [(name, key) for key, name in NAMES.items()],
            value="train_vqvae",
            label="Which part",
            info="Each training learns both, one after the other.",
            min_width=240,
            elem_id="monitor-stage",
        )
    with gr.Row():
        pause = gr.Button("Pause", size="sm", min_width=90, interactive=False)
        resume = gr.Button("Resume", size="sm", min_width=90, interactive=False)
        save = gr.Button("Checkpoint now", size="sm", min_width=130, interactive=False)
        measure = gr.Button("Validate now", size="sm", min_width=130, interactive=False)
        use = gr.Button("Make sounds", size="sm", variant="primary", min_width=110, interactive=False)
    answer = gr.HTML(elem_id="monitor-answer", elem_classes="d-answer", apply_default_css=False)
    live = live_component("monitor")
    gr.HTML("<p class='d-hint'>Change it while it learns:</p>", apply_default_css=False)
    with gr.Row(elem_classes="d-line"):
        words = {
            word: gr.Button(word.capitalize(), size="sm", min_width=90, interactive=False, elem_id=f"monitor-{word}")
            for word in WORDS
        }
    worded = gr.HTML(elem_id="monitor-worded", elem_classes="d-answer", apply_default_css=False)
    with gr.Accordion("Tune it while it runs", open=False, elem_id="monitor-tune"):
        gr.Markdown(
            "Everything that you change here is applied together, or nothing of it. Each change is written to the "
            "journal, so that the training can be repeated."
        )
        fields: dict[str, gr.Number | gr.Checkbox] = {}
        for kind, title in CLASSES.items():
            gr.Markdown(f"**{title}**")
            with gr.Row(elem_classes="d-form"):
                for each in everything().values():
                    if each.kind is kind:
                        fields[each.name] = _field(each)
        note = gr.Textbox(
            value="",
            label="Measure before and after, as",
            info="A name, such as softer; left empty: not measured.",
            max_lines=1,
            elem_id="tune-measure",
        )
        with gr.Row():
            apply = gr.Button("Apply", variant="primary", interactive=False, elem_id="tune-apply")
            reload = gr.Button("Show what is in force", elem_id="tune-reload")
        applied = gr.HTML(elem_id="tune-answer", elem_classes="d-answer", apply_default_css=False)
    with gr.Accordion("Snapshots: compare, and go back", open=False, elem_id="monitor-snapshots") as opened:
        look = gr.Button("Show what there is now", size="sm", elem_id="snapshots-look")
        listed = gr.HTML(elem_id="snapshots-list", elem_classes="d-answer", apply_default_css=False)
        with gr.Row():
            one = gr.Dropdown([], label="Compare", info="A checkpoint or a measurement.", elem_id="compare-a")
            other = gr.Dropdown([], label="with", info="Another one.", elem_id="compare-b")
        differing = gr.HTML(elem_id="compare-answer", elem_classes="d-answer", apply_default_css=False)
        with gr.Row(equal_height=True):
            back = gr.Dropdown([], label="Go back to the checkpoint of step", elem_id="rollback-step")
            only = gr.Checkbox(label="Only its settings", info="The training goes on from where it is.", min_width=240)
        sure = gr.Checkbox(
            label="Later checkpoints and changes may be lost", info="Needed before going back.", elem_id="rollback-sure"
        )
        go_back = gr.Button("Go back", variant="stop", elem_id="rollback")
        gone_back = gr.HTML(elem_id="rollback-answer", elem_classes="d-answer", apply_default_css=False)
    before = gr.State({})

    def folder_of(name: str | None, chosen: str) -> RunFolder:
        if not name:
            raise UsageError("choose a training first")
        return training_of(run_named(context.project, name), chosen)

    def selected(name: str | None) -> str:
        """The training that runs, or ran last."""
        with suppress(DistillError):
            return training_of(run_named(context.project, name or "")).stage
        return "train_vqvae"

    def shown(name: str | None, chosen: str) -> str:
        return live_view(name, "monitor", chosen)

    def form(name: str | None, chosen: str) -> list[Any]:
        """What is in force, in the form; parameters that the training does not have are left out of it."""
        known = tunable(CONFIGS[chosen])
        values: Values = {}
        # A run that has not come to this training has nothing in force; nobody did anything wrong.
        with suppress(DataError):
            values = in_force(folder_of(name, chosen)) if name else {}
        shown = {key: _rounded(values.get(key, known[key].default)) for key in known}
        return [
            shown,
            *(gr.update(value=shown.get(key), visible=key in known) for key in fields),
        ]

    def change(name: str | None, chosen: str, measured: str, shown: Values, *values: Any) -> tuple[Any, ...]:
        folder = folder_of(name, chosen)
        known = tunable(CONFIGS[chosen])
        given = {key: _typed(known[key], value) for key, value in zip(fields, values, strict=True) if key in known}
        changes = {key: value for key, value in given.items() if value != shown.get(key)}
        if not changes:
            raise UsageError("nothing is changed in the form")
        arguments = {"changes": changes, "validate": measured.strip() or None, "after": 100}
        told_back = folder.ask("tune", arguments, who=WHO, timeout=WAIT_SECONDS)
        done = [f"{key}: {cell(old)} → {cell(new)}" for key, (old, new) in told_back["changes"].items()]
        text = f"From step {told_back['step']}: {', '.join(done)}" if done else "It was so already."
        return said(text), {**shown, **changes}

    def paused(name: str | None, chosen: str) -> str:
        return said(f"Paused at step {ask(name, chosen, 'pause')['step']}.")

    def resumed(name: str | None, chosen: str) -> str:
        return said(f"Goes on from step {ask(name, chosen, 'resume')['step']}.")

    def saved(name: str | None, chosen: str) -> str:
        return said(f"Saved at step {ask(name, chosen, 'checkpoint')['step']}; this checkpoint is kept for good.")

    def validated(name: str | None, chosen: str) -> str:
        found = ask(name, chosen, "validate", name=None)
        figures = {
            key: found["metrics"][key]
            for key in ("validation_loss", "validation_lsd_db", "validation_perplexity")
            if key in found["metrics"]
        }
        text = ", ".join(
            f"{key.removeprefix('validation_').replace('_', ' ')} {cell(value)}" for key, value in figures.items()
        )
        return said(f"Measured as {found['name']}: held-out {text}.")

    def ask(run_name: str | None, chosen: str, command: str, **arguments: Any) -> Values:
        return folder_of(run_name, chosen).ask(command, arguments, who=WHO, timeout=WAIT_SECONDS)

    def found(name: str | None, chosen: str) -> list[Any]:
        every = snapshots(folder_of(name, chosen))
        rows = [[each["step"], f"checkpoint ({each['kind']})", *_figures(each)] for each in every["checkpoints"]]
        rows += [[each["step"], f"measured: {each['name']}", *_figures(each)] for each in every["validations"]]
        steps = [each["step"] for each in every["checkpoints"]]
        names = [(f"step {step}", str(step)) for step in steps]
        names += [(each["name"], each["name"]) for each in every["validations"]]
        rows.sort(key=lambda row: row[0])
        text = table(
            ["step", "snapshot", "error (held-out loss)", "quality", "changed since the start"], rows, "Snapshots"
        )
        return [
            text,
            *(gr.Dropdown(choices=names, value=None) for _ in range(2)),
            gr.Dropdown(choices=steps, value=None),
        ]

    def forgotten() -> list[Any]:
        return ["", *(gr.Dropdown(choices=[], value=None) for _ in range(3))]

    def compared(name: str | None, chosen: str, a: str | None, b: str | None) -> str:
        if not a or not b:
            return ""
        values = compare(folder_of(name, chosen), a, b)
        rows = [[key, *pair] for part in ("settings", "figures") for key, pair in values[part].items()]
        return table(["", a, b], rows, f"What differs between {a} and {b}") if rows else said("No difference.")

    def gone(name: str | None, chosen: str, step: int | None, settings: bool, agreed: bool) -> tuple[str, bool]:
        if step is None:
            raise UsageError("choose a checkpoint first")
        if not settings and not agreed:
            raise UsageError("say first that later checkpoints and changes may be lost")
        folder = folder_of(name, chosen)
        got = roll_back(folder, int(step), config_only=settings, who=WHO, timeout=WAIT_SECONDS)
        if settings:
            return said(f"The settings of step {step} are in force again."), False
        return said(f"Back at step {step}; {got['abandoned']} changes no longer count."), False

    def able(name: str | None, chosen: str) -> list[gr.Button]:
        """What can be done with the training that is shown; another one of the run may be the one that answers."""
        can, running = possible(context, name), False
        with suppress(DistillError):
            running = folder_of(name, chosen).running()
        # The prior has one loss alone: nothing of it can be sharper.
        of_words = ["steer" if chosen == "train_vqvae" or word not in RESOLUTION else "" for word in WORDS]
        return pressable(can if running else can & {"sounds"}, "pause", "resume", *["steer"] * 3, "sounds", *of_words)

    def say(word: Word) -> Callable[[str | None, str], str]:
        """A handler that changes what a word stands for."""

        def handler(name: str | None, chosen: str) -> str:
            folder = folder_of(name, chosen)
            changes = changes_of(word, in_force(folder), tunable(CONFIGS[chosen]))
            arguments = {"changes": changes, "validate": None, "after": 100}
            done = folder.ask("tune", arguments, who=WHO, timeout=WAIT_SECONDS)
            told_of = ", ".join(f"{key} {cell(old)} → {cell(new)}" for key, (old, new) in done["changes"].items())
            return said(f"From step {done['step']} on it is {MEANT[word]} ({told_of}).")

        return handler

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    which = [run, stage]
    form_outputs = [before, *fields.values()]
    snapshot_outputs = [listed, one, other, back]
    looked_at.change(lambda name: chosen(context, name), looked_at, run, **quiet)
    chosen_run = run.change(selected, run, stage, **quiet)
    for event in (chosen_run, stage.input(lambda: None, None, None, **quiet)):
        # One after the other, so that the form of the training before cannot come last.
        event.then(shown, which, live, **quiet).then(told(form), which, form_outputs, **quiet).then(
            forgotten, None, snapshot_outputs, **quiet
        )
    for moved in (run.change, stage.change, live.moved):
        moved(able, which, [pause, resume, save, measure, apply, use, *words.values()], **quiet)
    for word, button in words.items():
        button.click(told(say(word)), which, worded, **quiet).success(told(form), which, form_outputs, **quiet)
    bring_sounds(use, run, context, studio)
    for button, handler in ((pause, paused), (resume, resumed), (save, saved), (measure, validated)):
        button.click(told(handler), which, answer, **quiet)
    apply.click(told(change), [*which, note, before, *fields.values()], [applied, before], **quiet).success(
        told(form), which, form_outputs, **quiet
    )
    reload.click(told(form), which, form_outputs, **quiet)
    opened.expand(told(found), which, snapshot_outputs, **quiet)
    look.click(told(found), which, snapshot_outputs, **quiet)
    for trigger in (one, other):
        trigger.change(told(compared), [*which, one, other], differing, **quiet)
    go_back.click(told(gone), [*which, back, only, sure], [gone_back, sure], **quiet).success(
        told(found), which, snapshot_outputs, **quiet
    ).success(told(form), which, form_outputs, **quiet)


def _field(parameter: Parameter) -> gr.Number | gr.Checkbox:
    """A field for a parameter, with its range and what it is."""
    unit = f" {parameter.unit}" if parameter.unit else ""
    if parameter.type == "bool":
        return gr.Checkbox(
            bool(parameter.default),
            label=parameter.name,
            info=parameter.description,
            min_width=230,
            elem_id=f"tune-{parameter.name}",
        )
    below = "below " if parameter.below_high else ""
    limits = f"{parameter.low:g} to {below}{parameter.high:g}{unit}"
    return gr.Number(
        _rounded(parameter.default),
        label=parameter.name,
        info=f"{parameter.description} {limits}.",
        precision=0 if parameter.type == "int" else None,
        step=1 if parameter.type == "int" else 10 ** math.floor(math.log10(parameter.default or 0.01)) / 10,
        min_width=230,
        elem_id=f"tune-{parameter.name}",
    )


def _rounded(value: Any) -> Any:
    """A value with as many digits as anybody wants to read."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _typed(parameter: Parameter, value: Any) -> Any:
    """A field's value as the parameter's type; an empty field is no value."""
    if value is None:
        raise UsageError(f"{parameter.name} is empty: give a value, or show again what is in force")
    return {"int": int, "bool": bool}.get(parameter.type, float)(value)


def _figures(each: Values) -> list[Any]:
    return [each["loss"], each["quality"], each["changed"]]
