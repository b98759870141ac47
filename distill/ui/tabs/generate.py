"""The tab Generate: new sounds, sounds that go on, and parts made anew, each as a card."""

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from distill.artifact.model_file import read_manifest
from distill.audio.knobs import KNOBS
from distill.audio.sound import seconds_of
from distill.errors import DistillError, UsageError
from distill.generation.ending import ends_by_itself
from distill.library.takes import Takes
from distill.models.levels import MOST_LEVELS, level_labels
from distill.ui.ask_controls import Asks, show_kinds
from distill.ui.bars import Bars
from distill.ui.cards import empty_hint, row_of
from distill.ui.clicks import click_of
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.failures import notice, shows_errors, shows_errors_while
from distill.ui.forms import Form
from distill.ui.generate_controls import (
    ACTIONS,
    CONTINUE,
    EMPTY,
    ENDS,
    EXACT,
    FILL,
    NEW,
    VARY,
    Amount,
    ByLevel,
    Choice,
    Making,
    Output,
    Source,
)
from distill.ui.generate_form import order_from
from distill.ui.handlers import AT_ONCE, QUIET, Updates
from distill.ui.jobs import Job
from distill.ui.sound_jobs import SoundOrder, order_like, part_of
from distill.ui.space import Space, show_space
from distill.ui.studio import Studio


def build(context: Context, studio: Studio, tab: gr.Tab) -> None:
    """Put the tab's controls into the open tab."""
    GenerateTab(context, studio).connect(tab)


class GenerateTab:
    """The tab's controls in the open tab, and what they do; handlers return updates by component."""

    def __init__(self, context: Context, studio: Studio) -> None:
        self.context, self.studio = context, studio
        with gr.Row():
            studio.generate_model.render()
            self.action = gr.Radio(ACTIONS, value=NEW, label="What", scale=3, min_width=260, elem_id="generate-what")
        self.source, self.amount, self.choice = Source.build(), Amount.build(), Choice.build()
        self.asks, self.bars, self.space = Asks.build(), Bars.build(), Space.build()
        self.by_level, self.output, self.making = ByLevel.build(), Output.build(), Making.build()
        self.form = Form("generate", self._fields())

    def _fields(self) -> dict[str, gr.components.Component]:
        by_level = [control for choice in self.by_level.choices for control in choice.controls]
        sampling = [*self.choice.controls, self.output.least, self.by_level.single, *by_level]
        return {
            "action": self.action,
            "ending": self.amount.ending,
            "seconds": self.amount.seconds,
            "count": self.amount.count,
            "seed": self.amount.seed,
            "format": self.output.format,
            "sample_rate": self.output.rate,
            "bits": self.output.bits,
            "as_made": self.output.raw,
            **{f"sampling_{number}": control for number, control in enumerate(sampling)},
            "label": self.asks.label,
            "ticked": self.asks.ticked,
            "strength": self.source.strength,
            "keep": self.source.keep,
            "bpm": self.bars.bpm,
            "bars": self.bars.bars,
            "loop": self.bars.loop,
            "width": self.space.width,
            "mono": self.space.mono,
            **dict(zip(KNOBS, self.asks.sliders, strict=True)),
        }

    def connect(self, tab: gr.Tab) -> None:
        """Let the controls act."""
        studio, making = self.studio, self.making
        inputs: dict[str, Any] = {
            "desk": studio.desk, "model": studio.generate_model, "sound": self.source.sound,
            "begin": self.source.begin, "end": self.source.end, "renewed": self.source.renewed, **self.form.fields,
        }  # fmt: skip
        make: dict[str, Any] = {"inputs_kwargs": inputs, "outputs": making.outputs, "show_progress": "minimal"}
        make["concurrency_limit"] = AT_ONCE
        again = making.again.click(lambda: random.randrange(1_000_000), None, self.amount.seed, **QUIET)
        self.form.keep_after(again, studio)
        for event in (
            making.go.click(self.make, **make),
            again.then(self.make, **make),
            studio.more.change(
                self.make_more, studio.desk, making.outputs, show_progress="minimal", concurrency_limit=AT_ONCE
            ),
            studio.returned.change(self.follow_again, studio.desk, making.outputs, concurrency_limit=AT_ONCE, **QUIET),
            making.stop.click(self.stop, studio.desk, making.outputs, **QUIET),
        ):
            failed = event.failure(self.reset, studio.desk, making.outputs, **QUIET)
            # Asked once more: an answer of while sounds were being made may arrive after their end.
            for ended in (event, failed):
                ended.then(self.ready, [studio.desk, *self.needed], making.buttons, **QUIET)
        shared = [studio.desk, studio.arrivals, studio.more]
        picked_outputs = [making.cards, studio.arrivals, studio.more, studio.tabs]
        making.cards.pick(self.pick, shared, picked_outputs, trigger_mode="multiple", **QUIET)
        studio.on_return.append((self.come_back, [making.cards, *self.form.components]))
        self.form.keep(studio)
        self._connect_choices(tab)

    def _connect_choices(self, tab: gr.Tab) -> None:
        studio, source, making = self.studio, self.source, self.making
        tab.select(shows_errors(partial(studio.offer, "generate")), studio.desk, studio.generate_model, **QUIET)
        tab.select(self.cards, studio.desk, making.cards, **QUIET)
        parts = [source.row, source.fill, source.vary, self.amount.seconds, self.amount.ending, self.bars.group]
        self.action.change(self.show_action, self.action, parts, **QUIET)
        source.sound.change(self.show_part, source.sound, [source.begin, source.end], **QUIET)
        by_level = [control for choice in self.by_level.choices for control in choice.controls]
        of_model = [
            self.amount.ending, *self.asks.outputs, self.space.group, source.renewed, self.choice.top_k,
            *self.by_level.rows, *by_level,
        ]  # fmt: skip
        given = [studio.desk, studio.generate_model, self.action, *self.top_k]
        for control in (studio.generate_model, self.action):
            # Gradio would refuse more than the greatest choice of the model before, which is what is to be mended.
            control.change(self.show_model, given, of_model, preprocess=False, **QUIET)
        for each in self.needed:
            each.change(self.ready, [studio.desk, *self.needed], making.buttons, **QUIET)

    @property
    def top_k(self) -> list[gr.Slider]:
        """How many codes can come: for all levels, and for each."""
        return [each.top_k for each in (self.choice, *self.by_level.choices)]

    @property
    def needed(self) -> tuple[gr.Dropdown, gr.Radio, gr.Audio]:
        """What must be filled before sounds can be made."""
        return self.studio.generate_model, self.action, self.source.sound

    @shows_errors_while
    def make(
        self, desk: Desk, model: str | None, sound: str | None, begin: float | None, end: float | None,
        renewed: list[str], **form: Any,
    ) -> Iterator[Updates]:  # fmt: skip
        """Make what the form says; its fields come by name."""
        manifest = read_manifest(self.studio.models.path(model))
        source = {"sound": sound, "begin": begin, "end": end, "renewed": renewed}
        yield from self._run(order_from(model, manifest, form, source), desk)

    @shows_errors_while
    def make_more(self, desk: Desk) -> Iterator[Updates]:
        """Make what another tab ordered."""
        if desk.order is None:
            raise UsageError("choose a sound first")
        yield from self._run(desk.order, desk)

    def _run(self, order: SoundOrder, desk: Desk) -> Iterator[Updates]:
        if desk.job is not None and not desk.job.over:
            raise UsageError("sounds are being made: wait for them, or stop that")
        desk.job = Job(order, self.context, self.studio.models, desk)
        yield from self._follow(desk)

    def _follow(self, desk: Desk) -> Iterator[Updates]:
        """Each sound as a card, with how many are made and which buttons can act meanwhile."""
        job: Job = desk.job
        cards, status, made = self.making.cards, self.making.status, 0
        off, on = gr.Button(interactive=False), gr.Button(interactive=True)
        yield {
            status: _told(f"Making {_sounds(job.count)} …"),
            **dict.fromkeys(self.making.buttons, off),
            self.making.stop: on,
        }
        try:
            for made in job.follow():
                yield {cards: self.cards(desk), status: _told(f"{made} of {_sounds(job.count)}")}
        finally:
            if job.over and desk.job is job:
                desk.job = None
        stopped = "Stopped: " if job.stopped else ""
        place = "" if job.folder is None else job.folder.relative_to(self.context.project).as_posix()
        text = f"{stopped}{_sounds(made)} in {place}; the tab Takes has them"
        yield {status: _told(text), self.making.stop: gr.Button(interactive=False)}

    @shows_errors_while
    def follow_again(self, desk: Desk) -> Iterator[Any]:
        """Follow what was still being made when the tab was reloaded."""
        if desk.job is None:
            yield gr.skip()
        else:
            yield from self._follow(desk)

    def stop(self, desk: Desk) -> Updates:
        """Make no further sound."""
        if desk.job is None:
            return self.reset(desk)
        desk.job.stop()
        return {self.making.status: _told("Stopping …")}

    def reset(self, desk: Desk) -> Updates:
        """No word and nothing to stop, unless other sounds are being made."""
        if desk.job is not None and not desk.job.over:
            return {self.making.stop: gr.Button(interactive=True)}
        return {self.making.status: "", self.making.stop: gr.Button(interactive=False)}

    def cards(self, desk: Desk) -> str:
        """The sounds on a desk, without those that were dropped in the tab Takes."""
        dropped = set()
        # Whoever opens the tab Takes is told.
        with suppress(DistillError):
            dropped = Takes(self.context.project).dropped()
        shown = [result.card(self.context) for result in desk.results if result.path not in dropped]
        return row_of(shown) if shown else empty_hint(EMPTY)

    @shows_errors
    def pick(self, desk: Desk, arrivals: int, more: int, event: gr.EventData) -> Updates:
        """Do what was clicked in a card."""
        studio = self.studio
        act, key = click_of(event)
        found = next((result for result in desk.results if result.key == key), None)
        if found is None:
            raise UsageError("this sound is not on the page any more; the tab Takes has it")
        if act == "codes":
            found.to_desk(desk, studio.models.load(found.model_name))
            return {studio.arrivals: arrivals + 1, studio.tabs: gr.Tabs(selected="codes")}
        if act == "more":
            desk.order = order_like(found.path, found.model_name)
            return {studio.more: more + 1}
        takes, name = Takes(self.context.project), found.path.relative_to(self.context.generated).as_posix()
        if act == "drop":
            takes.mark([name], dropped=True)
            desk.results = tuple(each for each in desk.results if each.key != key)
            notice(f"{found.path.stem} is in the bin of the tab Takes.", 4)
        else:
            takes.mark([name], kept=not found.kept)
            changed = replace(found, kept=not found.kept)
            desk.results = tuple(changed if each.key == key else each for each in desk.results)
        return {self.making.cards: self.cards(desk)}

    def come_back(self, desk: Desk) -> list[Any]:
        """The sounds that were made, and the form."""
        return [self.cards(desk), *self.form.bring_back(desk)]

    def show_action(self, action: str) -> Updates:
        """What is asked for depends on what is made: a sound, a part of it, a strength, or a duration."""
        source, lasts = self.source, action in (NEW, CONTINUE)
        return {
            source.row: gr.Row(visible=action != NEW),
            source.fill: gr.Column(visible=action == FILL),
            source.vary: gr.Column(visible=action == VARY),
            self.amount.seconds: gr.Slider(visible=lasts),
            self.amount.ending: gr.Radio(visible=lasts),
            self.bars.group: gr.Accordion(visible=action == NEW),
        }

    @shows_errors
    def show_part(self, path: str | None) -> Any:
        """The part of an uploaded sound that is made anew unless another one is given."""
        length = seconds_of(self.context.uploaded(path)) if path else None
        if not length:
            return gr.skip()
        first, last = part_of(length)
        info = f"In s; it lasts {length:.2f} s."
        return {
            self.source.begin: gr.Number(value=first, info=info),
            self.source.end: last,
        }

    @shows_errors
    def show_model(self, desk: Desk, model: str | None, action: str, *top_k: float) -> Any:
        """What depends on the model: the names of its levels, how many codes there are, how its sounds end.

        Of each choice among the codes, the number that was chosen before is given.
        """
        if model is None:
            # Without any model there is nothing to choose, and nothing wrong.
            return gr.skip()
        manifest = read_manifest(self.studio.models.path(model))
        config = manifest.vqvae_config
        left = self.form.values_left(desk)
        # Before a model is picked, the newest is chosen.
        before = self.studio.model_left(desk, "generate") or self.studio.models.newest()
        came_back = (before, left.get("action")) == (model, action)
        ends = ENDS if action == NEW and ends_by_itself(manifest) else EXACT
        kinds = show_kinds(manifest, new=action == NEW, kept=left if came_back else None)
        updates: Updates = {
            self.amount.ending: left.get("ending", ends) if came_back else ends,
            **dict(zip(self.asks.outputs, kinds, strict=True)),
            self.space.group: show_space(manifest),
            self.source.renewed: gr.CheckboxGroup(choices=list(manifest.level_labels), value=[]),
        }
        most = config.codebook_size
        # A choice that fits is left alone: it may be another one by now.
        less: dict[gr.components.Component, Any] = {
            slider: most for slider, chosen in zip(self.top_k, top_k, strict=True) if chosen > most
        }
        self.form.change(desk, less)
        for slider in self.top_k:
            changed: dict[str, Any] = {"value": most} if slider in less else {}
            updates[slider] = gr.update(maximum=most, **changed)
        labels = [*level_labels(config.num_quantizers), *[None] * MOST_LEVELS]
        for row, choice, label in zip(self.by_level.rows, self.by_level.choices, labels, strict=False):
            updates[row] = gr.Row(visible=label is not None)
            if label is not None:
                for control in choice.controls:
                    updates[control] = {**updates.get(control, gr.update()), "label": f"{label}: {control.label}"}
        return updates

    def ready(self, desk: Desk, model: str | None, action: str, sound: str | None) -> Updates:
        """Whether everything needed is there, and nothing is being made."""
        can = False
        with suppress(DistillError):
            self.studio.models.maker(model)
            can = (action == NEW or bool(sound)) and (desk.job is None or desk.job.over)
        return {button: gr.Button(interactive=can) for button in self.making.buttons}


def _told(text: str) -> str:
    """What is told to those who cannot see it as well."""
    return f"<p role='status'>{escape(text)}</p>"


def _sounds(count: int) -> str:
    return "1 sound" if count == 1 else f"{count} sounds"
