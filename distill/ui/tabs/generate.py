"""The tab Generate: new sounds, sounds that go on, and parts made anew, each as a card."""

import random
from collections.abc import Iterator
from typing import Any

import gradio as gr

from distill.artifact.model_file import read_manifest
from distill.errors import UsageError
from distill.generation import TOP_P
from distill.generation.export import BITS, FORMATS, SAMPLE_RATES, ExportSettings
from distill.generation.production import Destination, produce
from distill.generation.request import Request
from distill.models.labels import MOST_LEVELS, level_labels
from distill.ui.cards import cards_component, nothing, picked, row_of
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.failures import told, told_while
from distill.ui.results import Result, batch_folder, given_file
from distill.ui.studio import Studio

MOST_COUNT = 32
MOST_SECONDS = 300.0
# More than these leave the page; their files stay.
MOST_SHOWN = 48
NEW, CONTINUE, FILL = "generate", "continue", "fill"
_ACTIONS = [("New sounds", NEW), ("Go on from a sound", CONTINUE), ("Make a part anew", FILL)]
_EMPTY = "No sounds yet. Each becomes a card with a player here; its file stays in the project's folder generated."

Results = tuple[Result, ...]


def build(context: Context, studio: Studio, tab: gr.Tab) -> None:
    """Put the tab's controls into the open tab."""
    results = gr.State(())
    with gr.Row():
        studio.generate_model.render()
        action = gr.Radio(_ACTIONS, value=NEW, label="What", scale=3, min_width=260, elem_id="generate-what")
    with gr.Row(visible=False) as given_row:
        given = gr.Audio(
            label="Sound", sources=["upload"], type="filepath", elem_id="generate-given", scale=3, buttons=[]
        )
        with gr.Column(visible=False, scale=2) as fill_column:
            with gr.Row():
                begin = gr.Number(0.5, label="From", info="In s.", minimum=0, min_width=90)
                end = gr.Number(1.0, label="To", info="In s.", minimum=0, min_width=90)
            renewed = gr.CheckboxGroup([], label="Only these levels", info="None: all of them.")
    with gr.Row():
        seconds = gr.Slider(0.2, 60, 3, step=0.1, label="Duration", info="Of what is new, in s.", min_width=200)
        count = gr.Slider(1, 16, 4, step=1, label="Number of sounds", min_width=200)
        seed = gr.Number(
            0, precision=0, minimum=0, label="Seed", info="The first sound's; each further has the next.", min_width=200
        )
    with gr.Row():
        temperature = gr.Slider(
            0,
            2,
            1,
            step=0.05,
            label="Temperature",
            info="Higher: more surprise. 0: always the likeliest.",
            min_width=200,
        )
        top_k = gr.Slider(
            0, 128, 0, step=1, label="Top-k", info="Only so many likeliest codes can come. 0: all.", min_width=200
        )
        top_p = gr.Slider(
            0.05,
            1,
            TOP_P,
            step=0.01,
            label="Top-p",
            info="Only the likeliest that make up this share. 1: all.",
            min_width=200,
        )
    with gr.Accordion("Each level by itself", open=False):
        single = gr.Checkbox(False, label="Use these in place of the three above", container=False)
        rows, level_controls = _level_rows()
    with gr.Accordion("File and ending", open=False):
        with gr.Row():
            kind = gr.Dropdown(list(FORMATS), value="wav", label="Format", min_width=200)
            rate = gr.Dropdown(
                [("the sound's own", 0), *((f"{each} Hz", each) for each in SAMPLE_RATES)],
                value=0,
                label="Sample rate",
                min_width=200,
            )
            bits = gr.Dropdown([("usual", ""), *BITS], value="", label="Bits", info="wav and flac only.", min_width=200)
            least = gr.Slider(
                0, 0.2, 0, step=0.005, label="Min-p", info="Leaves out the least likely. 0: nobody.", min_width=200
            )
        natural = gr.Checkbox(False, label="End each sound where the model ends it; the duration is then the greatest")
    with gr.Row(elem_classes="d-line"):
        go = gr.Button("Generate", variant="primary", size="md", scale=3, elem_id="generate-go")
        again = gr.Button("With another seed", size="md", scale=2, min_width=150)
        stop = gr.Button("Stop", size="md", scale=1, min_width=80)
    status = gr.Markdown("", elem_id="generate-status")
    cards = cards_component("generate-cards", _EMPTY)

    sampling = [temperature, top_k, top_p, least, single, *level_controls]
    inputs = [
        studio.desk, results, studio.generate_model, action, given, begin, end, renewed, seconds, natural,
        count, seed, kind, rate, bits, *sampling,
    ]  # fmt: skip

    @told_while
    def make(
        desk: Desk,
        results: Results,
        name: str | None,
        action: str,
        given: str | None,
        begin: float | None,
        end: float | None,
        renewed: list[str],
        seconds: float,
        natural: bool,
        count: int,
        seed: int | None,
        kind: str,
        rate: int,
        bits: str,
        *sampling: Any,
    ) -> Iterator[Any]:
        model = studio.models.path(name)
        labels = level_labels(read_manifest(model).vqvae_config.num_quantizers)
        if count > MOST_COUNT or seconds > MOST_SECONDS:
            raise UsageError(
                f"at most {MOST_COUNT} sounds of {MOST_SECONDS:g} s at once here; distill generate has no end"
            )
        chosen = _sampling(len(labels), *sampling)
        if action == FILL:
            levels = tuple(labels.index(label) for label in renewed if label in labels) or None
            request = Request(action=FILL, start=begin or 0.0, end=end or 0.0, levels=levels, **chosen)
        else:
            request = Request(
                action=CONTINUE if action == CONTINUE else NEW, seconds=seconds, natural=natural, **chosen
            )
        settings = ExportSettings(kind, rate or None, bits or None)
        folder = batch_folder(context)
        source = None if action == NEW else given_file(given, context, folder)
        yield results, gr.skip(), f"Making {_sounds(int(count))} …"
        before: Results = results
        fresh: Results = ()
        made = produce(
            model, request, Destination(folder, settings), count=int(count), seed=int(seed or 0), source=source
        )
        for number, written in enumerate(made, 1):
            words = f"seed {written.seed} · {written.seconds:.2f} s · {name}"
            result = Result.of(written, model, name or "", words, desk, whole=action == NEW)
            fresh = (*fresh, result)
            results = (*fresh, *before)[:MOST_SHOWN]
            yield results, _cards(results), f"{number} of {_sounds(int(count))}"
        place = folder.relative_to(context.project).as_posix()
        yield results, gr.skip(), f"{_sounds(int(count))} in `{place}`"

    def _cards(results: Results) -> str:
        return row_of([result.card(context) for result in results]) if results else nothing(_EMPTY)

    @told
    def pick(desk: Desk, results: Results, arrivals: int, event: gr.EventData) -> Any:
        act, key = picked(event)
        found = next((result for result in results if result.key == key), None)
        if found is None or act != "codes":
            raise UsageError("this sound is not on the page any more")
        found.to_desk(desk, studio.models.load(found.model_name))
        return arrivals + 1, gr.Tabs(selected="codes")

    @told
    def look(name: str | None) -> Any:
        """What depends on the model: the names of its levels, and how many codes there are."""
        if name is None:
            # Where there is no model yet, nobody chose one, and nobody did anything wrong.
            return [gr.skip()] * (2 + 3 * MOST_LEVELS)
        config = read_manifest(studio.models.path(name)).vqvae_config
        labels = level_labels(config.num_quantizers)
        shown = [gr.Row(visible=level < len(labels)) for level in range(MOST_LEVELS)]
        names = [gr.Slider(label=f"{label}: temperature") for label in labels]
        names += [gr.skip()] * (MOST_LEVELS - len(labels))
        sizes = [gr.Slider(maximum=config.codebook_size)] * (1 + MOST_LEVELS)
        return gr.CheckboxGroup(choices=list(labels), value=[]), *sizes, *shown, *names

    outputs = [results, cards, status]
    event = go.click(make, inputs, outputs, show_progress="minimal")
    event_again = again.click(_another_seed, None, seed, show_progress="hidden").then(
        make, inputs, outputs, show_progress="minimal"
    )
    stop.click(lambda: "Stopped.", None, status, cancels=[event, event_again], show_progress="hidden")
    cards.pick(pick, [studio.desk, results, studio.arrivals], [studio.arrivals, studio.tabs])
    action.change(_given_of, action, [given_row, fill_column, seconds], show_progress="hidden")
    tab.select(told(studio.offered), None, studio.generate_model, show_progress="hidden")
    studio.generate_model.change(
        look,
        studio.generate_model,
        [renewed, top_k, *level_controls[1::3], *rows, *level_controls[::3]],
        show_progress="hidden",
    )


def _level_rows() -> tuple[list[gr.Row], list[gr.Slider]]:
    """A row of controls for each level that a model may have."""
    rows, controls = [], []
    for _ in range(MOST_LEVELS):
        # The model that is chosen says which levels there are, and what they are called.
        with gr.Row(visible=False) as row:
            controls.append(gr.Slider(0, 2, 1, step=0.05, label="Temperature", min_width=220))
            controls.append(gr.Slider(0, 256, 0, step=1, label="Top-k", min_width=220))
            controls.append(gr.Slider(0.05, 1, TOP_P, step=0.01, label="Top-p", min_width=220))
        rows.append(row)
    return rows, controls


def _sampling(
    levels: int, temperature: float, top_k: float, top_p: float, least: float, single: bool, *each: float
) -> dict[str, Any]:
    """The settings of a request: one for all levels, or those of each level."""
    if not single:
        return {"temperature": temperature, "top_k": int(top_k), "top_p": top_p, "min_p": least}
    return {
        "temperature": tuple(map(float, each[0 : 3 * levels : 3])),
        "top_k": tuple(map(int, each[1 : 3 * levels : 3])),
        "top_p": tuple(map(float, each[2 : 3 * levels : 3])),
        "min_p": least,
    }


def _given_of(action: str) -> tuple[Any, ...]:
    """What is asked for depends on what is made: a sound, a part of it, or a duration."""
    fills = action == FILL
    return gr.Row(visible=action != NEW), gr.Column(visible=fills), gr.Slider(visible=not fills)


def _another_seed() -> int:
    return random.randrange(1_000_000)


def _sounds(count: int) -> str:
    return "1 sound" if count == 1 else f"{count} sounds"
