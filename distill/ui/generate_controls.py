"""The controls of the tab Generate, in panels."""

from dataclasses import dataclass

import gradio as gr

from distill.generation import TOP_P
from distill.generation.export import BITS, FORMATS, SAMPLE_RATES
from distill.models.levels import MOST_LEVELS
from distill.ui.clicks import cards_component

NEW, CONTINUE, FILL, VARY = "generate", "continue", "fill", "vary"
ACTIONS = [
    ("New sounds", NEW),
    ("Continue a sound", CONTINUE),
    ("Fill a part", FILL),
    ("Vary a sound", VARY),
]
ENDS, EXACT = "natural", "chain"
EMPTY = "No sounds yet. Each becomes a card that plays; the tab Takes finds all of them again."
_KEEP = [("nothing", ""), ("how it begins", "attack"), ("its coarsest level", "structure")]
_ENDINGS = [("Where the model ends it", ENDS), ("After exactly this long, with several in a chain", EXACT)]
_OWN_RATE = ("the sound's own", 0)


@dataclass(frozen=True)
class Source:
    """The sound that is continued, filled or varied, and how.

    Attributes:
        row: everything; hidden for new sounds.
        sound: the uploaded sound.
        fill: what only filling needs: `begin` and `end` in s, and `renewed`, the levels that are made anew.
        vary: what only a variation needs: `strength` and `keep`.
    """

    row: gr.Row
    sound: gr.Audio
    fill: gr.Column
    begin: gr.Number
    end: gr.Number
    renewed: gr.CheckboxGroup
    vary: gr.Column
    strength: gr.Slider
    keep: gr.Radio

    @classmethod
    def build(cls) -> "Source":
        """Put them into the open tab."""
        with gr.Row(visible=False) as row:
            sound = gr.Audio(
                label="Sound", sources=["upload"], type="filepath", elem_id="generate-given", scale=3, buttons=[]
            )
            with gr.Column(visible=False, scale=2) as fill:
                with gr.Row():
                    begin = gr.Number(0, label="From", info="In s.", minimum=0, min_width=90, elem_id="generate-from")
                    end = gr.Number(0, label="To", info="In s.", minimum=0, min_width=90, elem_id="generate-to")
                renewed = gr.CheckboxGroup([], label="Only these levels", info="None: all of them.")
            with gr.Column(visible=False, scale=2) as vary:
                strength = gr.Slider(
                    0, 1, 0.3, step=0.05, label="Strength", info="How much is new: 0 nothing, 1 all of it."
                )
                keep = gr.Radio(_KEEP, value="", label="Always keep", elem_id="generate-keep")
        return cls(row, sound, fill, begin, end, renewed, vary, strength, keep)


@dataclass(frozen=True)
class Amount:
    """How long the sounds are, how many, from which seed on, and where a sound ends."""

    seconds: gr.Slider
    count: gr.Slider
    seed: gr.Number
    ending: gr.Radio

    @classmethod
    def build(cls) -> "Amount":
        """Put them into the open tab."""
        with gr.Row():
            seconds = gr.Slider(
                0.2, 60, 3, step=0.1, label="Duration", info="In s: at most, or exactly.", min_width=200
            )
            count = gr.Slider(1, 16, 4, step=1, label="Number of sounds", min_width=200)
            seed = gr.Number(
                0, precision=0, minimum=0, label="Seed", min_width=200,
                info="Seed of the first sound; each further sound gets the next one.",
            )  # fmt: skip
        ending = gr.Radio(_ENDINGS, value=EXACT, label="A sound ends", elem_id="generate-ending")
        return cls(seconds, count, seed, ending)


@dataclass(frozen=True)
class Choice:
    """How a code is drawn from what is likely: of all levels, or of one."""

    temperature: gr.Slider
    top_k: gr.Slider
    top_p: gr.Slider

    @classmethod
    def build(cls) -> "Choice":
        """Put those of all levels into the open tab."""
        with gr.Row():
            return cls(
                gr.Slider(
                    0, 2, 1, step=0.05, label="Surprise (temperature)",
                    info="Higher: more of it. 0: always what is likeliest.", min_width=200,
                ),
                gr.Slider(
                    0, 128, 0, step=1, label="Choice (top-k)",
                    info="Only so many of the likeliest codes can come. 0: all.", min_width=200,
                ),
                gr.Slider(
                    0.05, 1, TOP_P, step=0.01, label="Share of the choice (top-p)",
                    info="Only the likeliest codes that make up this share can come. 1: all.", min_width=200,
                ),
            )  # fmt: skip

    @classmethod
    def of_level(cls) -> "Choice":
        """Put those of one level into the open row."""
        return cls(
            gr.Slider(0, 2, 1, step=0.05, label="Surprise (temperature)", min_width=220),
            gr.Slider(0, 256, 0, step=1, label="Choice (top-k)", min_width=220),
            gr.Slider(0.05, 1, TOP_P, step=0.01, label="Share of the choice (top-p)", min_width=220),
        )

    @property
    def controls(self) -> tuple[gr.Slider, gr.Slider, gr.Slider]:
        """All three."""
        return self.temperature, self.top_k, self.top_p


@dataclass(frozen=True)
class ByLevel:
    """The same for each level that a model may have; a row is hidden until a model has that level."""

    single: gr.Checkbox
    rows: tuple[gr.Row, ...]
    choices: tuple[Choice, ...]

    @classmethod
    def build(cls) -> "ByLevel":
        """Put them into the open tab."""
        rows, choices = [], []
        with gr.Accordion("Each level by itself", open=False):
            single = gr.Checkbox(False, label="Use these in place of the three above", container=False)
            for _ in range(MOST_LEVELS):
                with gr.Row(visible=False) as row:
                    choices.append(Choice.of_level())
                rows.append(row)
        return cls(single, tuple(rows), tuple(choices))


@dataclass(frozen=True)
class Output:
    """How the files are written; the least chance is here because it is seldom needed."""

    format: gr.Dropdown
    rate: gr.Dropdown
    bits: gr.Dropdown
    least: gr.Slider
    raw: gr.Checkbox

    @classmethod
    def build(cls) -> "Output":
        """Put them into the open tab."""
        rates = [_OWN_RATE, *((f"{each} Hz", each) for each in SAMPLE_RATES)]
        with gr.Accordion("File and finish", open=False):
            with gr.Row():
                kind = gr.Dropdown(list(FORMATS), value="wav", label="Format", min_width=200)
                rate = gr.Dropdown(rates, value=0, label="Sample rate", min_width=200)
                bits = gr.Dropdown(
                    [("usual", ""), *BITS], value="", label="Bits", info="wav and flac only.", min_width=200
                )
                least = gr.Slider(
                    0, 0.2, 0, step=0.005, label="Least chance (min-p)",
                    info="Leaves out codes that are less likely. 0: none.", min_width=200,
                )  # fmt: skip
            raw = gr.Checkbox(
                False,
                label="As made: new sounds untrimmed, without a fade-in, and as loud as they came out",
                elem_id="generate-as-made",
            )
        return cls(kind, rate, bits, least, raw)


@dataclass(frozen=True)
class Making:
    """What starts and stops the making, and what was made."""

    go: gr.Button
    again: gr.Button
    stop: gr.Button
    status: gr.HTML
    cards: gr.HTML

    @classmethod
    def build(cls) -> "Making":
        """Put them into the open tab."""
        with gr.Row(elem_classes="d-line"):
            go = gr.Button("Generate", variant="primary", size="md", scale=3, interactive=False, elem_id="generate-go")
            again = gr.Button(
                "With another seed", size="md", scale=2, min_width=150, interactive=False, elem_id="generate-again"
            )
            stop = gr.Button("Stop", size="md", scale=1, min_width=80, interactive=False, elem_id="generate-stop")
        status = gr.HTML(elem_id="generate-status", apply_default_css=False)
        return cls(go, again, stop, status, cards_component("generate-cards", EMPTY))

    @property
    def buttons(self) -> list[gr.Button]:
        """What begins."""
        return [self.go, self.again]

    @property
    def outputs(self) -> list[gr.components.Component]:
        """All of them."""
        return [self.cards, self.status, *self.buttons, self.stop]
