"""The controls of the tab Monitor, in panels."""

import math
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill.errors import UsageError
from distill.live.parameters import Kind, Parameter, everything
from distill.ui.plain_words import Word

NAMES = {"train_vqvae": "Rebuilding (VQ-VAE)", "train_prior": "What follows what (prior)"}
SURE = "Later checkpoints and changes may be lost"
WORDS: tuple[Word, ...] = ("sharper", "smoother", "slower", "faster")
_KINDS = {
    Kind.SAFE: "SAFE: how fast it learns and how closely it is watched",
    Kind.CAREFUL: "CAREFUL: what is learned; measure before and after",
}


def stage_choice() -> gr.Radio:
    """The choice of one of a run's trainings, in the open row."""
    return gr.Radio(
        [(name, key) for key, name in NAMES.items()],
        value="train_vqvae",
        label="Which part",
        info="Each training learns both, one after the other.",
        min_width=240,
        elem_id="monitor-stage",
    )


def _answer(elem_id: str) -> gr.HTML:
    return gr.HTML(elem_id=elem_id, elem_classes="d-answer", apply_default_css=False)


@dataclass(frozen=True)
class Commands:
    """What a running training is told at once, and its answer."""

    pause: gr.Button
    resume: gr.Button
    save: gr.Button
    measure: gr.Button
    use: gr.Button
    answer: gr.HTML

    @classmethod
    def build(cls) -> "Commands":
        """Put them into the open tab."""
        with gr.Row():
            pause = gr.Button("Pause", size="sm", min_width=90, interactive=False)
            resume = gr.Button("Resume", size="sm", min_width=90, interactive=False)
            save = gr.Button("Checkpoint now", size="sm", min_width=130, interactive=False)
            measure = gr.Button("Validate now", size="sm", min_width=130, interactive=False)
            use = gr.Button("Make sounds", size="sm", variant="primary", min_width=110, interactive=False)
        return cls(pause, resume, save, measure, use, _answer("monitor-answer"))


@dataclass(frozen=True)
class Tuning:
    """Changing parameters while it learns: by words, or by a form that is applied as a whole.

    Attributes:
        words: a button for each word.
        worded: the answer to a word.
        fields: a field for each parameter that some training can change.
        note: the name of a measurement before and after.
        answer: the answer to the form.
    """

    words: dict[Word, gr.Button]
    worded: gr.HTML
    fields: dict[str, gr.Number | gr.Checkbox]
    note: gr.Textbox
    apply: gr.Button
    reload: gr.Button
    answer: gr.HTML

    @classmethod
    def build(cls) -> "Tuning":
        """Put them into the open tab."""
        gr.HTML("<p class='d-hint'>Change it while it learns:</p>", apply_default_css=False)
        with gr.Row(elem_classes="d-line"):
            words = {
                word: gr.Button(
                    word.capitalize(), size="sm", min_width=90, interactive=False, elem_id=f"monitor-{word}"
                )
                for word in WORDS
            }
        worded = _answer("monitor-worded")
        with gr.Accordion("Tune it while it runs", open=False, elem_id="monitor-tune"):
            gr.Markdown(
                "All changes here are applied together, or none of them. Each is written to the journal, so that the "
                "training can be repeated."
            )
            fields: dict[str, gr.Number | gr.Checkbox] = {}
            for kind, title in _KINDS.items():
                gr.Markdown(f"**{title}**")
                with gr.Row(elem_classes="d-form"):
                    fields |= {each.name: _field(each) for each in everything().values() if each.kind is kind}
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
            answer = _answer("tune-answer")
        return cls(words, worded, fields, note, apply, reload, answer)


@dataclass(frozen=True)
class Snapshots:
    """Checkpoints and measurements: the list, the comparison of `one` and `other`, and going back.

    Attributes:
        fold: everything.
        look: reads the list again.
        back: the step to go back to, with `settings_only` or, `sure` of it, with everything.
    """

    fold: gr.Accordion
    look: gr.Button
    table: gr.HTML
    one: gr.Dropdown
    other: gr.Dropdown
    differences: gr.HTML
    back: gr.Dropdown
    settings_only: gr.Checkbox
    sure: gr.Checkbox
    go_back: gr.Button
    answer: gr.HTML

    @classmethod
    def build(cls) -> "Snapshots":
        """Put them into the open tab."""
        with gr.Accordion("Snapshots: compare, and go back", open=False, elem_id="monitor-snapshots") as fold:
            look = gr.Button("Show what there is now", size="sm", elem_id="snapshots-look")
            table = _answer("snapshots-list")
            with gr.Row():
                one = gr.Dropdown([], label="Compare", info="A checkpoint or a measurement.", elem_id="compare-a")
                other = gr.Dropdown([], label="with", info="Another one.", elem_id="compare-b")
            differences = _answer("compare-answer")
            with gr.Row(equal_height=True):
                back = gr.Dropdown([], label="Go back to the checkpoint of step", elem_id="rollback-step")
                only = gr.Checkbox(
                    label="Only its settings", info="The training goes on from where it is.", min_width=240
                )
            sure = gr.Checkbox(
                label=SURE, info="Needed before going back.", elem_id="rollback-sure",
            )  # fmt: skip
            go_back = gr.Button("Go back", variant="stop", elem_id="rollback")
            answer = _answer("rollback-answer")
        return cls(fold, look, table, one, other, differences, back, only, sure, go_back, answer)

    @property
    def lists(self) -> list[Any]:
        """What shows the snapshots."""
        return [self.table, self.one, self.other, self.back]


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
        rounded(parameter.default),
        label=parameter.name,
        info=f"{parameter.description} {limits}.",
        precision=0 if parameter.type == "int" else None,
        step=1 if parameter.type == "int" else 10 ** math.floor(math.log10(parameter.default or 0.01)) / 10,
        min_width=230,
        elem_id=f"tune-{parameter.name}",
    )


def rounded(value: Any) -> Any:
    """A value with as many digits as are worth reading."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def typed(parameter: Parameter, value: Any) -> Any:
    """A field's value as the parameter's type.

    Raises:
        UsageError: the field is empty.
    """
    if value is None:
        raise UsageError(f"{parameter.name} is empty: give a value, or show again what is in force")
    return {"int": int, "bool": bool}.get(parameter.type, float)(value)
