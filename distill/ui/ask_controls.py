"""What kind of sound is asked for: a label of the model's, and knobs of which those count that are ticked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill.artifact.manifest import Manifest
from distill.audio.knobs import KNOBS
from distill.ui.handlers import QUIET

ANY = ""
_WORDS = {
    "length": ("Length", "shortest", "longest"),
    "attack": ("Attack", "sudden", "slow"),
    "bright": ("Brightness", "dull", "bright"),
    "noisy": ("Noise", "tone", "noise"),
    "low": ("Bass", "none", "most"),
    "pitch": ("Pitch", "low", "high"),
}


@dataclass(frozen=True)
class Asks:
    """The controls, of which a model shows what it can be asked for.

    Attributes:
        group: all of them.
        label: the choice of a label.
        ticked: which knobs count.
        sliders: a slider for each of KNOBS, from 0 to 1 among the model's sounds.
    """

    group: gr.Column
    label: gr.Dropdown
    ticked: gr.CheckboxGroup
    sliders: tuple[gr.Slider, ...]

    @classmethod
    def build(cls) -> "Asks":
        """Put them into the open tab, unseen until a model can be asked."""
        with gr.Column(visible=False, elem_id="generate-asks") as group:
            with gr.Row():
                label = gr.Dropdown([("any", ANY)], value=ANY, label="Kind", min_width=200, elem_id="generate-label")
                ticked = gr.CheckboxGroup(
                    [], label="Also ask for", info="The range is that of your own sounds.", scale=3,
                    elem_id="generate-knobs",
                )  # fmt: skip
            with gr.Row():
                sliders = tuple(
                    gr.Slider(
                        0, 1, 0.5, step=0.05, label=words[0], info=f"0: {words[1]}, 1: {words[2]}.", visible=False,
                        min_width=150,
                    )
                    for words in _WORDS.values()
                )  # fmt: skip
        ticked.change(_visible, ticked, list(sliders), **QUIET)
        return cls(group, label, ticked, sliders)

    @property
    def inputs(self) -> list[gr.components.Component]:
        """The arguments of `kind_settings`, in its order."""
        return [self.label, self.ticked, *self.sliders]

    @property
    def outputs(self) -> list[Any]:
        """What `show_kinds` fills, in its order."""
        return [self.group, self.label, self.ticked]


def kind_settings(label: str | None, ticked: Sequence[str], *ranks: float) -> dict[str, Any]:
    """The settings of a request."""
    knobs = {name: rank for name, rank in zip(KNOBS, ranks, strict=True) if name in ticked}
    return {"label": label or None, **knobs}


def show_kinds(manifest: Manifest, *, new: bool, kept: Mapping[str, Any] | None = None) -> list[Any]:
    """What a model can be asked for, with the choices that were `kept`; only new sounds can be asked for anything."""
    kept = kept or {}
    conditions = None if manifest.prior_config is None or not new else manifest.prior_config.conditions
    if conditions is None:
        return [gr.update(visible=False), gr.update(value=ANY), gr.update(value=[])]
    labels = [("any", ANY), *((label, label) for label in conditions.labels)]
    knobs = [(_WORDS[name][0], name) for name in KNOBS if name in conditions.knobs]
    label = kept.get("label") if kept.get("label") in conditions.labels else ANY
    ticked = [name for name in kept.get("ticked") or [] if name in conditions.knobs]
    return [
        gr.update(visible=True),
        gr.update(choices=labels, value=label, visible=len(labels) > 1),
        gr.update(choices=knobs, value=ticked, visible=bool(knobs)),
    ]


def _visible(ticked: Sequence[str]) -> list[Any]:
    return [gr.update(visible=name in ticked) for name in KNOBS]
