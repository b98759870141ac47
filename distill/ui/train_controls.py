"""The controls of the tab Train, in panels."""

from dataclasses import dataclass

import gradio as gr

from distill.configs import VQVAEConfig

ALL, FIRST = "All of it", "Only to rebuild sounds (VQ-VAE)"
WEIGHT = VQVAEConfig().commitment_weight
# An empty field of numbers comes back as 0 once the page has shown it.
_PLANNED = "0: planned."


@dataclass(frozen=True)
class Settings:
    """The settings that are seldom changed."""

    commitment_weight: gr.Slider
    preset: gr.Radio
    epochs: gr.Number
    learning_rate: gr.Number
    prior_epochs: gr.Number
    seed: gr.Number
    more: gr.Textbox

    @classmethod
    def build(cls) -> "Settings":
        """Put them into the open column."""
        with gr.Accordion("More settings", open=False):
            return cls(
                commitment_weight=gr.Slider(
                    0.01, 1.0, WEIGHT, step=0.01, label="Commitment weight",
                    info="How firmly the encoder is held to the codes.", elem_id="train-commitment",
                ),
                preset=gr.Radio(
                    ["tuned", "sharp", "reference"], value="tuned", label="Preset", elem_id="train-preset",
                    info="tuned: what measurement shows better; sharp: nearer to your sounds, with finer steps in time "
                    "and four levels, at nearly three times the work; reference: the plain table.",
                ),
                epochs=gr.Number(
                    label="Rounds of rebuilding (epochs of the VQ-VAE)", info=_PLANNED, precision=0, value=0,
                    elem_id="train-epochs",
                ),
                learning_rate=gr.Number(
                    label="Learning rate", info=_PLANNED, value=0, step=0.0001, elem_id="train-rate"
                ),
                prior_epochs=gr.Number(
                    label="Rounds of what follows what (epochs of the prior)", info=_PLANNED, precision=0, value=0,
                    elem_id="train-prior-epochs",
                ),
                seed=gr.Number(
                    label="Seed", info="Of everything random.", precision=0, value=0, elem_id="train-seed"
                ),
                more=gr.Textbox(
                    value="", label="Any other parameter", lines=2, elem_id="train-more",
                    info="section.key=value, one a line, such as vqvae.codebook_size=256",
                ),
            )  # fmt: skip


@dataclass(frozen=True)
class TrainingForm:
    """What is to be trained; `size` only shows what follows from the sounds."""

    sounds: gr.Dropdown
    name: gr.Textbox
    levels: gr.Radio
    size: gr.Textbox
    what: gr.Radio
    settings: Settings
    start: gr.Button

    @classmethod
    def build(cls, sounds: gr.Dropdown) -> "TrainingForm":
        """Put them into the open column, with the choice of sounds."""
        sounds.render()
        name = gr.Textbox(
            value="", label="Name of the model", info="Left empty: the folder's name and the time.", max_lines=1,
            elem_id="train-name",
        )  # fmt: skip
        levels = gr.Radio(
            [("as planned", 0), 2, 3, 4], value=0, label="Levels", elem_id="train-levels",
            info="Planned are 3, and 4 with the preset sharp. Fewer are faster, more give finer detail.",
        )  # fmt: skip
        size = gr.Textbox(
            value="", label="Building blocks of a level (codebook size)", info="Follows from the number of files.",
            interactive=False, elem_id="train-codebook",
        )  # fmt: skip
        what = gr.Radio([ALL, FIRST], value=ALL, label="What to train", elem_id="train-what")
        settings = Settings.build()
        return cls(
            sounds, name, levels, size, what, settings, gr.Button("Start", variant="primary", elem_id="train-start")
        )

    @property
    def fields(self) -> dict[str, gr.components.Component]:
        """The fields of the form by name."""
        return {
            "sounds": self.sounds, "name": self.name, "what": self.what, "levels": self.levels, **vars(self.settings)
        }  # fmt: skip


@dataclass(frozen=True)
class Commands:
    """What can be done with the chosen training, and the answer."""

    pause: gr.Button
    resume: gr.Button
    stop: gr.Button
    go_on: gr.Button
    use: gr.Button
    answer: gr.HTML

    @classmethod
    def build(cls) -> "Commands":
        """Put them into the open column."""
        with gr.Row():
            pause, resume, stop, go_on = (
                gr.Button(words, size="sm", min_width=80, interactive=False)
                for words in ("Pause", "Resume", "Stop", "Learn the rest")
            )
            use = gr.Button(
                "Make sounds", size="sm", variant="primary", min_width=110, interactive=False,
                elem_id="train-sounds-of",
            )  # fmt: skip
        answer = gr.HTML(elem_id="train-answer", elem_classes="d-answer", apply_default_css=False)
        return cls(pause, resume, stop, go_on, use, answer)
