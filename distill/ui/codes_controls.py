"""The controls of the tab Codes, in panels."""

from dataclasses import dataclass

import gradio as gr

from distill.audio.sound import EXTENSIONS
from distill.codes.edits import MAX_LABEL
from distill.generation.export import FORMATS
from distill.models.levels import MOST_LEVELS as LEVELS_OF_SOUND
from distill.ui.grid import grid_component, outline_component
from distill.ui.grid_files import GRID_EXTENSION

MINE, OTHER = "codes-grid", "codes-other"
EMPTY = "Open a sound or a grid file, or send a sound here from the tab Generate."
# Those that a sound is made of, and that of space.
MOST_LEVELS = LEVELS_OF_SOUND + 1
_FILES = [*EXTENSIONS, GRID_EXTENSION]


def _action(words: str, elem_id: str | None = None) -> gr.Button:
    """A button that cannot be pressed before there is a grid."""
    return gr.Button(words, size="sm", interactive=False, elem_id=elem_id)


@dataclass(frozen=True)
class SheetControls:
    """The grid that is edited.

    Attributes:
        file: a sound or a grid file to open.
        words: what the grid is.
        back: to the edited grid whose place this one took.
        grid: the element.
        outline: how its sound looks.
        selection: what is selected in it, as the browser writes it down.
        other_selection: the same of the second grid.
        hear: whether each edit is heard.
        format: of the saved sound.
    """

    file: gr.File
    words: gr.HTML
    back: gr.Button
    grid: gr.HTML
    outline: gr.HTML
    selection: gr.Textbox
    other_selection: gr.Textbox
    hear: gr.Checkbox
    format: gr.Dropdown
    save_sound: gr.Button
    save_grid: gr.Button

    @classmethod
    def build(cls, model: gr.Dropdown) -> "SheetControls":
        """Put them into the open tab, beside the choice of a model."""
        with gr.Row():
            model.render()
            file = gr.File(
                label="Sound or grid file", file_types=_FILES, height=130, scale=3, min_width=260, elem_id="codes-file"
            )
        with gr.Row(elem_classes="d-line"):
            words = gr.HTML(f"<p>{EMPTY}</p>", elem_id="codes-said", apply_default_css=False)
            back = gr.Button("Back", size="sm", min_width=140, scale=0, visible=False, elem_id="codes-back")
        grid, outline = grid_component(MINE), outline_component(MINE)
        selections = gr.Textbox("", visible="hidden"), gr.Textbox("", visible="hidden")
        with gr.Row(elem_classes="d-line"):
            hear = gr.Checkbox(True, label="Hear each edit", container=False, scale=2, min_width=260)
            kind = gr.Dropdown(
                list(FORMATS), value="wav", label="Format of the sound", show_label=False, container=False,
                min_width=120, scale=0,
            )  # fmt: skip
            save_sound, save_grid = (
                gr.Button(f"Save {what}", size="sm", min_width=110, scale=0, interactive=False,
                          elem_id=f"codes-save-{what}")
                for what in ("sound", "grid")
            )  # fmt: skip
        return cls(file, words, back, grid, outline, *selections, hear, kind, save_sound, save_grid)


@dataclass(frozen=True)
class Edits:
    """What changes the selection: each button with the values that it uses."""

    reverse: gr.Button
    columns: gr.Number
    move: gr.Button
    times: gr.Number
    repeat: gr.Button
    temperature: gr.Slider
    seed: gr.Number
    draw: gr.Button

    @classmethod
    def build(cls) -> "Edits":
        """Put them into the open tab."""
        with gr.Accordion("Change the selection", open=False, elem_id="codes-edits"), gr.Row():
            with gr.Column(min_width=200):
                reverse = _action("Turn round in time")
            with gr.Column(min_width=200):
                columns = gr.Number(1, precision=0, label="Columns", info="Negative: earlier.")
                move = _action("Move in time")
            with gr.Column(min_width=200):
                times = gr.Number(
                    1, precision=0, minimum=1, label="Copies", info="Of the selected columns, all levels."
                )
                repeat = _action("Repeat")
            with gr.Column(min_width=200):
                temperature = gr.Slider(0, 2, 1, step=0.05, label="Surprise (temperature)", info="Higher: more of it.")
                seed = gr.Number(0, precision=0, minimum=0, label="Seed")
                draw = _action("Redraw with the model")
        return cls(reverse, columns, move, times, repeat, temperature, seed, draw)

    @property
    def buttons(self) -> tuple[gr.Button, ...]:
        """What does the edits."""
        return self.reverse, self.move, self.repeat, self.draw


@dataclass(frozen=True)
class Levels:
    """Which levels are frozen, and what they are called."""

    frozen: gr.CheckboxGroup
    level: gr.Dropdown
    label: gr.Textbox
    rename: gr.Button

    @classmethod
    def build(cls) -> "Levels":
        """Put them into the open tab."""
        with gr.Accordion("Freeze and rename levels", open=False, elem_id="codes-levels"), gr.Row():
            with gr.Column(min_width=220):
                frozen = gr.CheckboxGroup([], label="Frozen levels", info="Edits leave them as they are.")
            with gr.Column(min_width=220):
                level = gr.Dropdown([], label="Level", elem_id="codes-level")
            with gr.Column(min_width=220):
                label = gr.Textbox("", label="New name", max_lines=1, max_length=MAX_LABEL, elem_id="codes-label")
                rename = _action("Rename", "codes-rename")
        return cls(frozen, level, label, rename)


@dataclass(frozen=True)
class Second:
    """The second grid, which is swapped and blended with the first.

    Attributes:
        fold: everything.
        take: a take to open.
        file: a sound or a grid file to open.
        weight: of the blend, on all levels.
        single: whether `weights`, in the row `each_level`, count instead.
    """

    fold: gr.Accordion
    take: gr.Dropdown
    file: gr.File
    grid: gr.HTML
    outline: gr.HTML
    weight: gr.Slider
    single: gr.Checkbox
    blend: gr.Button
    swap: gr.Button
    each_level: gr.Row
    weights: tuple[gr.Slider, ...]

    @classmethod
    def build(cls) -> "Second":
        """Put them into the open tab."""
        with gr.Accordion("Swap and blend with a second grid", open=False, elem_id="codes-second") as fold:
            with gr.Row():
                take = gr.Dropdown(
                    [], value=None, label="Second sound: a take", scale=1, min_width=260, elem_id="codes-second-take",
                    info="Whatever was generated here, the newest first; type to search.",
                )  # fmt: skip
                file = gr.File(
                    label="or a sound or grid file", file_types=_FILES, height=110, scale=1, min_width=260,
                    elem_id="codes-second-file",
                )  # fmt: skip
            grid, outline = grid_component(OTHER, plain=True), outline_component(OTHER)
            gr.Markdown(
                "What is selected above goes together with the same columns of the second grid, or with those from the "
                "cell on that you choose in it.",
                elem_classes="d-hint",
            )
            with gr.Row():
                weight = gr.Slider(
                    0, 1, 0.5, step=0.01, label="Blend", info="0: the first grid, 1: the second.", scale=3,
                    min_width=220,
                )  # fmt: skip
                with gr.Column(min_width=180):
                    single = gr.Checkbox(
                        False, label="A weight for each level", container=False, elem_id="codes-single"
                    )
                    blend = _action("Blend the selection", "codes-blend")
                    swap = _action("Swap the selection", "codes-swap")
            with gr.Row(visible=False, elem_id="codes-weights") as each_level:
                weights = [gr.Slider(0, 1, 0.5, step=0.01, label="Blend", min_width=200) for _ in range(MOST_LEVELS)]
        return cls(fold, take, file, grid, outline, weight, single, blend, swap, each_level, tuple(weights))
