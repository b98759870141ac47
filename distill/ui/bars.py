"""How long a new sound is in bars, and whether it goes round."""

from dataclasses import dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class Bars:
    """The controls.

    Attributes:
        group: all of them.
        bpm: the tempo; 0: the duration is not told in bars.
        bars: how many.
        loop: whether a sound goes round.
    """

    group: gr.Accordion
    bpm: gr.Number
    bars: gr.Slider
    loop: gr.Checkbox

    @classmethod
    def build(cls) -> "Bars":
        """Put them into the open tab."""
        with gr.Accordion("Bars and loops", open=False, elem_id="generate-bars") as group, gr.Row():
            bpm = gr.Number(0, label="Tempo", info="In beats a minute. 0: as long as the duration says.", minimum=0)
            bars = gr.Slider(1, 16, 2, step=1, label="Bars", info="Of four beats, to the sample.")
            loop = gr.Checkbox(False, label="Loop: the end leads into the beginning", elem_id="generate-loop")
        return cls(group, bpm, bars, loop)

    @property
    def inputs(self) -> list[gr.components.Component]:
        """The arguments of `length_settings`, in its order."""
        return [self.bpm, self.bars, self.loop]


def length_settings(bpm: float | None, bars: float, loop: bool, seconds: float, *, natural: bool) -> dict[str, Any]:
    """The settings of a request: bars where there is a tempo, else seconds."""
    if bpm:
        return {"bpm": bpm, "bars": int(bars), "loop": loop}
    return {"seconds": seconds, "loop": loop, "natural": natural and not loop}
