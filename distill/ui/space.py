"""How far apart the two channels of new sounds are, where a model knows space."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill.artifact.manifest import Manifest


@dataclass(frozen=True)
class Space:
    """The controls, which a model of mono sounds does not show.

    Attributes:
        group: all of them.
        width: by how much what tells the channels apart is scaled.
        mono: whether there is one channel.
    """

    group: gr.Row
    width: gr.Slider
    mono: gr.Checkbox

    @classmethod
    def build(cls) -> "Space":
        """Put them into the open tab."""
        with gr.Row(visible=False, elem_id="generate-space") as group:
            width = gr.Slider(
                0, 1.5, 1, step=0.05, label="Width", info="Of the stereo image. 0: none, 1: as learned.", min_width=200
            )
            mono = gr.Checkbox(False, label="Mono: one channel", elem_id="generate-mono")
        return cls(group, width, mono)

    @property
    def inputs(self) -> list[gr.components.Component]:
        """The arguments of `space_settings`, in its order."""
        return [self.width, self.mono]


def space_settings(manifest: Manifest, width: float, mono: bool, *, given: bool) -> dict[str, Any]:
    """The settings of a request; `given`: what goes on with a sound has that one's channels."""
    if manifest.space_config is None:
        return {}
    if mono and not given:
        return {"channels": 1}
    return {"width": 0.0 if mono else width}


def show_space(manifest: Manifest) -> Any:
    """Whether a model has such controls."""
    return gr.Row(visible=manifest.space_config is not None)
