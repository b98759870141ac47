"""The tab Generate: new sounds, sounds that go on, and parts made anew, each as a card."""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr

from distill.artifact.model_file import read_manifest
from distill.audio.knobs import KNOBS
from distill.audio.sound import seconds_of
from distill.errors import UsageError
from distill.generation import TOP_P
from distill.generation.ending import ends_by_itself
from distill.generation.export import BITS, FORMATS, SAMPLE_RATES, ExportSettings
from distill.generation.sound_request import request_of
from distill.library.takes import Takes
from distill.models.levels import MOST_LEVELS, level_labels
from distill.ui.ask_controls import Asks, asked, shown
from distill.ui.bars import Bars, measured_in
from distill.ui.cards import nothing, row_of
from distill.ui.clicks import cards_component, picked
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.failures import notice, told, told_while
from distill.ui.forms import Form
from distill.ui.jobs import Job
from distill.ui.sound_jobs import Order, like, part_of
from distill.ui.space import Space, placed_as
from distill.ui.space import shown as placing
from distill.ui.studio import Studio

NEW, CONTINUE, FILL, VARY = "generate", "continue", "fill", "vary"
_ACTIONS = [
    ("New sounds", NEW),
    ("Go on from a sound", CONTINUE),
    ("Make a part anew", FILL),
    ("Vary a sound", VARY),
]
_KEEP = [("nothing", ""), ("how it begins", "attack"), ("its coarsest level", "structure")]
ENDS, EXACT = "natural", "chain"
_ENDINGS = [("Where the model ends it", ENDS), ("After exactly this long, with several in a chain", EXACT)]
_EMPTY = "No sounds yet. Each becomes a card that plays; the tab Takes finds all of them again."


def build(context: Context, studio: Studio, tab: gr.Tab) -> None:
    """Put the tab's controls into the open tab."""
    with gr.Row():
        studio.generate_model.render()
        action = gr.Radio(_ACTIONS, value=NEW, label="What", scale=3, min_width=260, elem_id="generate-what")
    with gr.Row(visible=False) as given_row:
        given = gr.Audio(
            label="Sound", sources=["upload"], type="filepath", elem_id="generate-given", scale=3, buttons=[]
        )
        with gr.Column(visible=False, scale=2) as fill_column:
            with gr.Row():
                begin = gr.Number(0, label="From", info="In s.", minimum=0, min_width=90, elem_id="generate-from")
                end = gr.Number(0, label="To", info="In s.", minimum=0, min_width=90, elem_id="generate-to")
            renewed = gr.CheckboxGroup([], label="Only these levels", info="None: all of them.")
        with gr.Column(visible=False, scale=2) as vary_column:
            strength = gr.Slider(
                0, 1, 0.3, step=0.05, label="Strength", info="How much is new: 0 nothing, 1 all of it."
            )
            keep = gr.Radio(_KEEP, value="", label="Always keep", elem_id="generate-keep")
    with gr.Row():
        seconds = gr.Slider(0.2, 60, 3, step=0.1, label="Duration", info="In s: at most, or exactly.", min_width=200)
        count = gr.Slider(1, 16, 4, step=1, label="Number of sounds", min_width=200)
        seed = gr.Number(
            0, precision=0, minimum=0, label="Seed", info="The first sound's; each further has the next.", min_width=200
        )
    ending = gr.Radio(_ENDINGS, value=EXACT, label="A sound ends", elem_id="generate-ending")
    with gr.Row():
        temperature = gr.Slider(
            0,
            2,
            1,
            step=0.05,
            label="Surprise (temperature)",
            info="Higher: more of it. 0: always what is likeliest.",
            min_width=200,
        )
        top_k = gr.Slider(
            0,
            128,
            0,
            step=1,
            label="Choice (top-k)",
            info="Only so many of the likeliest codes can come. 0: all.",
            min_width=200,
        )
        top_p = gr.Slider(
            0.05,
            1,
            TOP_P,
            step=0.01,
            label="Share of the choice (top-p)",
            info="Only the likeliest codes that make up this share can come. 1: all.",
            min_width=200,
        )
    asks = Asks.build()
    measures = Bars.build()
    space = Space.build()
    with gr.Accordion("Each level by itself", open=False):
        single = gr.Checkbox(False, label="Use these in place of the three above", container=False)
        rows, level_controls = _level_rows()
    with gr.Accordion("File and finish", open=False):
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
                0,
                0.2,
                0,
                step=0.005,
                label="Least chance (min-p)",
                info="Leaves out codes that are less likely. 0: none.",
                min_width=200,
            )
        raw = gr.Checkbox(
            False,
            label="As made: new sounds untrimmed, without a fade-in, and as loud as they came out",
            elem_id="generate-as-made",
        )
    with gr.Row(elem_classes="d-line"):
        go = gr.Button("Generate", variant="primary", size="md", scale=3, interactive=False, elem_id="generate-go")
        again = gr.Button(
            "With another seed", size="md", scale=2, min_width=150, interactive=False, elem_id="generate-again"
        )
        stop = gr.Button("Stop", size="md", scale=1, min_width=80, interactive=False, elem_id="generate-stop")
    status = gr.Markdown("", elem_id="generate-status")
    cards = cards_component("generate-cards", _EMPTY)

    sampling = [temperature, top_k, top_p, least, single, *level_controls]
    form = Form(
        "generate",
        {
            "action": action,
            "ending": ending,
            "seconds": seconds,
            "count": count,
            "seed": seed,
            "format": kind,
            "sample_rate": rate,
            "bits": bits,
            "as_made": raw,
            **{f"sampling_{number}": control for number, control in enumerate(sampling)},
            "label": asks.label,
            "ticked": asks.ticked,
            "strength": strength,
            "keep": keep,
            "bpm": measures.bpm,
            "bars": measures.bars,
            "loop": measures.loop,
            "width": space.width,
            "mono": space.mono,
            **dict(zip(KNOBS, asks.sliders, strict=True)),
        },
    )
    inputs = [
        studio.desk, studio.generate_model, action, given, begin, end, renewed, seconds, ending, raw,
        count, seed, kind, rate, bits, strength, keep, *measures.inputs, *space.inputs, *asks.inputs, *sampling,
    ]  # fmt: skip

    @told_while
    def ordered(
        desk: Desk,
        name: str | None,
        action: str,
        given: str | None,
        begin: float | None,
        end: float | None,
        renewed: list[str],
        seconds: float,
        ending: str,
        raw: bool,
        count: int,
        seed: int | None,
        kind: str,
        rate: int,
        bits: str,
        strength: float,
        keep: str,
        bpm: float | None,
        bars: float,
        loop: bool,
        width: float,
        mono: bool,
        *others: Any,
    ) -> Iterator[Any]:
        wishes, sampling = others[: len(asks.inputs)], others[len(asks.inputs) :]
        manifest = read_manifest(studio.models.path(name))
        labels = manifest.level_labels
        chosen = _sampling(manifest.vqvae_config.num_quantizers, *sampling)
        chosen |= placed_as(manifest, width, mono, given=action in (CONTINUE, FILL))
        if action == FILL:
            levels = tuple(labels.index(label) for label in renewed if label in labels) or None
            where = {"start": begin or 0.0, "end": end or 0.0, "levels": levels}
            request = request_of({"action": FILL, **where, **chosen})
        elif action == VARY:
            request = request_of({"action": VARY, "strength": strength, "keep": keep or None, **chosen})
        else:
            new = action != CONTINUE
            natural = ending == ENDS
            lasts = measured_in(bpm, bars, loop, seconds, natural=natural)
            of_new = {**lasts, **asked(*wishes)} if new else {"seconds": seconds, "natural": natural}
            action = NEW if new else CONTINUE
            request = request_of({"action": action, "finish": new and not raw, **of_new, **chosen})
        settings = ExportSettings(kind, rate or None, bits or None)
        upload = None if action == NEW else given
        yield from running(Order(name or "", request, int(count), int(seed or 0), settings, upload), desk)

    @told_while
    def more_ordered(desk: Desk) -> Iterator[Any]:
        if desk.order is None:
            raise UsageError("choose a sound first")
        yield from running(desk.order, desk)

    def running(order: Order, desk: Desk) -> Iterator[Any]:
        if desk.job is not None and not desk.job.over:
            raise UsageError("sounds are being made: wait for them, or stop that")
        desk.job = Job(order, context, studio.models, desk)
        yield from following(desk)

    def following(desk: Desk) -> Iterator[Any]:
        """What is made, card by card, with how far it is and which buttons can act meanwhile."""
        job: Job = desk.job
        made = 0
        yield gr.skip(), f"Making {_sounds(job.count)} …", *_busy()
        try:
            for made in job.followed():
                yield _cards(desk), f"{made} of {_sounds(job.count)}", *[gr.skip()] * 3
        finally:
            if job.over and desk.job is job:
                desk.job = None
        stopped = "Stopped: " if job.stopped else ""
        place = "" if job.folder is None else job.folder.relative_to(context.project).as_posix()
        yield gr.skip(), f"{stopped}{_sounds(made)} in `{place}`; the tab Takes has them", *_free()

    @told_while
    def follow_again(desk: Desk) -> Iterator[Any]:
        """What was still being made when the tab was loaded anew."""
        if desk.job is None:
            yield [gr.skip()] * 5
        else:
            yield from following(desk)

    def stopped(desk: Desk) -> Any:
        if desk.job is None:
            return "", *_free()
        desk.job.stop()
        return "Stopping …", *[gr.skip()] * 3

    def _cards(desk: Desk) -> str:
        return row_of([result.card(context) for result in desk.results]) if desk.results else nothing(_EMPTY)

    @told
    def pick(desk: Desk, arrivals: int, more: int, event: gr.EventData) -> Any:
        act, key = picked(event)
        found = next((result for result in desk.results if result.key == key), None)
        if found is None:
            raise UsageError("this sound is not on the page any more; the tab Takes has it")
        if act == "codes":
            found.to_desk(desk, studio.models.load(found.model_name))
            return gr.skip(), arrivals + 1, gr.skip(), gr.Tabs(selected="codes")
        if act == "more":
            desk.order = like(found.path, found.model_name)
            return gr.skip(), gr.skip(), more + 1, gr.skip()
        takes, name = Takes(context.project), found.path.relative_to(context.generated).as_posix()
        if act == "drop":
            takes.mark([name], dropped=True)
            desk.results = tuple(each for each in desk.results if each.key != key)
            notice(f"{found.path.stem} is in the bin of the tab Takes.", 4)
        else:
            takes.mark([name], kept=not found.kept)
            changed = replace(found, kept=not found.kept)
            desk.results = tuple(changed if each.key == key else each for each in desk.results)
        return _cards(desk), gr.skip(), gr.skip(), gr.skip()

    @told
    def look(desk: Desk, name: str | None, action: str) -> Any:
        """What depends on the model: the names of its levels, how many codes there are, how its sounds end."""
        if name is None:
            # Where there is no model yet, nobody chose one, and nobody did anything wrong.
            return [gr.skip()] * (7 + 3 * MOST_LEVELS)
        manifest = read_manifest(studio.models.path(name))
        config = manifest.vqvae_config
        labels = level_labels(config.num_quantizers)
        renewable = gr.CheckboxGroup(choices=list(manifest.level_labels), value=[])
        visible = [gr.Row(visible=level < len(labels)) for level in range(MOST_LEVELS)]
        names = [gr.Slider(label=f"{label}: surprise (temperature)") for label in labels]
        names += [gr.skip()] * (MOST_LEVELS - len(labels))
        sizes = [gr.Slider(maximum=config.codebook_size)] * (1 + MOST_LEVELS)
        kept = form.kept(desk)
        ends = ENDS if action == NEW and ends_by_itself(manifest) else EXACT
        # Where nobody had picked a model, the newest is chosen.
        was = studio.left(desk, "generate") or studio.models.newest()
        came_back = (was, kept.get("action")) == (name, action)
        if came_back:
            ends = kept.get("ending", ends)
        kinds = shown(manifest, new=action == NEW, kept=kept if came_back else None)
        return ends, *kinds, placing(manifest), renewable, *sizes, *visible, *names

    @told
    def measured(path: str | None) -> Any:
        """Which part of a sound that was given is made anew, unless somebody says otherwise."""
        length = seconds_of(context.uploaded(path)) if path else None
        if not length:
            return gr.skip(), gr.skip()
        first, last = part_of(length)
        info = f"In s; it lasts {length:.2f} s."
        return gr.Number(value=first, maximum=last, info=info), gr.Number(value=last, maximum=last)

    def ready(desk: Desk, name: str | None, action: str, given: str | None) -> tuple[Any, Any]:
        """Whether there is all that it takes, and nothing is being made."""
        can = bool(name) and (action == NEW or bool(given)) and (desk.job is None or desk.job.over)
        return gr.Button(interactive=can), gr.Button(interactive=can)

    def come_back(desk: Desk) -> Any:
        """The sounds that were made, and the form."""
        return _cards(desk), *form.back(desk)

    quiet: dict[str, Any] = {"show_progress": "hidden"}
    buttons = [go, again, stop]
    outputs = [cards, status, *buttons]
    event = go.click(ordered, inputs, outputs, show_progress="minimal")
    event_again = again.click(_another_seed, None, seed, **quiet).then(
        ordered, inputs, outputs, show_progress="minimal"
    )
    event_more = studio.more.change(more_ordered, studio.desk, outputs, show_progress="minimal")
    event_back = studio.returned.change(follow_again, studio.desk, outputs, **quiet)
    for each in (event, event_again, event_more, event_back):
        each.failure(lambda: ("", *_free()), None, [status, *buttons], **quiet)
    stop.click(stopped, studio.desk, [status, *buttons], **quiet)
    cards.pick(
        pick,
        [studio.desk, studio.arrivals, studio.more],
        [cards, studio.arrivals, studio.more, studio.tabs],
        trigger_mode="multiple",
        **quiet,
    )
    studio.on_return.append((come_back, [cards, *form.components]))
    form.keep(studio)
    action.change(_given_of, action, [given_row, fill_column, vary_column, seconds, ending, measures.group], **quiet)
    given.change(measured, given, [begin, end], **quiet)
    tab.select(told(partial(studio.offered, "generate")), studio.desk, studio.generate_model, **quiet)
    levels = [renewed, top_k, *level_controls[1::3], *rows, *level_controls[::3]]
    for control in (studio.generate_model, action):
        control.change(
            look, [studio.desk, studio.generate_model, action], [ending, *asks.outputs, space.group, *levels], **quiet
        )
    for needed in (studio.generate_model, action, given):
        needed.change(ready, [studio.desk, studio.generate_model, action, given], [go, again], **quiet)


def _level_rows() -> tuple[list[gr.Row], list[gr.Slider]]:
    """A row of controls for each level that a model may have."""
    rows, controls = [], []
    for _ in range(MOST_LEVELS):
        # The model that is chosen says which levels there are, and what they are called.
        with gr.Row(visible=False) as row:
            controls.append(gr.Slider(0, 2, 1, step=0.05, label="Surprise (temperature)", min_width=220))
            controls.append(gr.Slider(0, 256, 0, step=1, label="Choice (top-k)", min_width=220))
            controls.append(gr.Slider(0.05, 1, TOP_P, step=0.01, label="Share of the choice (top-p)", min_width=220))
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
    """What is asked for depends on what is made: a sound, a part of it, a strength, or a duration."""
    lasts = action in (NEW, CONTINUE)
    return (
        gr.Row(visible=action != NEW),
        gr.Column(visible=action == FILL),
        gr.Column(visible=action == VARY),
        gr.Slider(visible=lasts),
        gr.Radio(visible=lasts),
        gr.Accordion(visible=action == NEW),
    )


def _busy() -> tuple[Any, Any, Any]:
    """The buttons while sounds are made."""
    return gr.Button(interactive=False), gr.Button(interactive=False), gr.Button(interactive=True)


def _free() -> tuple[Any, Any, Any]:
    """The buttons when nothing is made."""
    return gr.Button(interactive=True), gr.Button(interactive=True), gr.Button(interactive=False)


def _another_seed() -> int:
    return random.randrange(1_000_000)


def _sounds(count: int) -> str:
    return "1 sound" if count == 1 else f"{count} sounds"
