"""The tab Start: from a folder of sounds to new ones in one screen, in words that need no explanation."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from distill.audio.sound import EXTENSIONS
from distill.dataset.scan import scan
from distill.errors import DataError, TrainingError
from distill.files import free_path
from distill.library.takes import Takes
from distill.params import Params, with_settings
from distill.runs import background
from distill.runs.estimates import Estimate, estimates
from distill.runs.folder import Order
from distill.runs.inputs import Inputs, as_name, source_of
from distill.runs.plans import BEST, SKETCH, plan_named
from distill.runs.stopping import stop
from distill.ui.clicks import cards_component, click_of
from distill.ui.context import Context, path_in
from distill.ui.desk import Desk
from distill.ui.failures import notice, shows_errors
from distill.ui.first_takes import finished_model
from distill.ui.handlers import AT_ONCE, QUIET, Updates
from distill.ui.sounds_table import left_out_words
from distill.ui.start_state import begin_with, set_run, standing_of
from distill.ui.start_view import NOTHING_YET, verdict
from distill.ui.studio import Studio
from distill.ui.training_choice import choose_run
from distill.versions.datasets import DATA, gather
from distill.words import about

DROPPED = "my-sounds"
TITLES = {SKETCH.name: "Sketch", BEST.name: "Best"}
PLAIN = [(title, name) for name, title in TITLES.items()]
MEASURING = "Measuring the speed of this machine …"


def build(context: Context, studio: Studio, looked_at: gr.Dropdown) -> None:
    """Put the tab's controls into the open tab.

    Args:
        context: the page's surroundings.
        studio: what leads to the tabs Generate and Codes.
        looked_at: the choice of a training in other tabs, which show the one that is begun here.
    """
    StartTab(context, studio).connect(looked_at)


@dataclass(frozen=True)
class Plans:
    """What became of the sounds, and the choice of a plan for them."""

    column: gr.Column
    verdict: gr.HTML
    plan: gr.Radio
    go: gr.Button
    other: gr.Button

    @classmethod
    def build(cls) -> "Plans":
        """Put them into the open tab."""
        with gr.Column(visible=False, elem_id="start-sounds") as column:
            verdict = gr.HTML(elem_id="start-verdict", apply_default_css=False)
            plan = gr.Radio(
                PLAIN, value=SKETCH.name, label="How well should it learn them?", info=MEASURING, elem_id="start-plan"
            )
            with gr.Row():
                go = gr.Button("Go", variant="primary", scale=3, elem_id="start-go")
                other = gr.Button("Take other sounds", scale=1, min_width=150, elem_id="start-other")
        return cls(column, verdict, plan, go, other)


@dataclass(frozen=True)
class Finished:
    """What can be done once a run has finished."""

    row: gr.Row
    more: gr.Button
    again: gr.Button
    others: gr.Button

    @classmethod
    def build(cls) -> "Finished":
        """Put them into the open tab."""
        with gr.Row(visible=False, elem_id="start-done") as row:
            more = gr.Button("Make more sounds", variant="primary", scale=2, elem_id="start-more")
            again = gr.Button("Learn them again", scale=1, min_width=160, elem_id="start-again")
            others = gr.Button("Take other sounds", scale=1, min_width=160)
        return cls(row, more, again, others)


class StartTab:
    """The tab's controls in the open tab, and what they do; the screen follows what is on the disk."""

    def __init__(self, context: Context, studio: Studio) -> None:
        self.context, self.studio, self.project = context, studio, context.project
        with gr.Column(visible=False, elem_id="start-empty") as self.empty:
            gr.HTML(NOTHING_YET, apply_default_css=False)
            self.files = gr.File(
                label="Drop your sounds here",
                file_count="multiple",
                file_types=list(EXTENSIONS),
                height=170,
                elem_id="start-files",
            )
        self.plans, self.finished = Plans.build(), Finished.build()
        self.live = cards_component("start-live", "")
        with gr.Row(visible=False, elem_id="start-going") as self.going:
            self.halt = gr.Button("Stop", size="md", scale=0, min_width=140, elem_id="start-stop")
        with gr.Row(visible=False, elem_id="start-halted") as self.halted:
            self.resuming = gr.Button("Go on", variant="primary", scale=2, elem_id="start-resume")
            self.anew = gr.Button("Choose again", scale=1, min_width=160)
        # The durations of the usable sounds.
        self.seconds = gr.State(None)
        # What is on the screen: another window may be about other sounds since.
        self.about = gr.State("")

    def connect(self, looked_at: gr.Dropdown) -> None:
        """Let the controls act."""
        studio, plans, finished = self.studio, self.plans, self.finished
        self._show_after(gr.on(None, lambda: None, None, None, **QUIET))
        self._show_after(self.files.upload(self.drop, self.files, None, **QUIET))
        started = self._show_after(plans.go.click(self.start, [plans.plan, self.about], None, **QUIET))
        started.then(self.look_at_run, None, looked_at, **QUIET)
        for button, handler in (
            (self.halt, self.stop),
            (self.resuming, self.resume),
            (self.anew, self.leave),
            (finished.again, self.leave),
            (plans.other, self.forget),
            (finished.others, self.forget),
        ):
            self._show_after(button.click(handler, None, None, **QUIET))
        finished.more.click(self.make_more, studio.desk, [*studio.choices.values(), studio.tabs], **QUIET)
        shared = [studio.arrivals, studio.tabs]
        self._show_after(self.live.pick(self.pick, [studio.desk, studio.arrivals], shared, **QUIET))

    def _show_after(self, event: Any) -> Any:
        """After what changes the disk: the screen, the sounds if they wait for a plan, how long each plan takes."""
        plans = self.plans
        parts = [self.empty, plans.column, self.live, self.going, self.halted, self.finished.row]
        verdict = [plans.verdict, self.seconds, plans.go]
        screen = [self.files, self.about, *parts, *verdict, plans.plan]
        shown = event.then(self.show, self.about, screen, **QUIET)
        judged = shown.then(self.judge, None, verdict, show_progress_on=plans.verdict, concurrency_limit=AT_ONCE)
        return judged.then(self.estimate, [self.seconds, self.about], plans.plan, concurrency_limit=AT_ONCE, **QUIET)

    def show(self, about: str) -> Updates:
        """The screen as it stands on the disk; of other sounds than those that it was about nothing is known yet."""
        standing, plans = standing_of(self.project), self.plans
        kind = standing.kind
        unknown: Updates = {
            plans.verdict: "",
            self.seconds: None,
            plans.go: gr.Button(interactive=True),
            plans.plan: gr.Radio(choices=PLAIN, info=MEASURING),
        }
        return {
            **(unknown if standing.about != about else {}),
            # What was dropped lies in the project by now, and must not come along with what is dropped next.
            self.files: None,
            self.about: standing.about,
            self.empty: gr.Column(visible=kind == "empty"),
            self.plans.column: gr.Column(visible=kind == "sounds"),
            self.live: f'<distill-start kind="{kind}" about="{escape(standing.about)}"></distill-start>',
            self.going: gr.Row(visible=kind == "running"),
            self.halted: gr.Row(visible=kind == "stopped"),
            self.finished.row: gr.Row(visible=kind == "finished"),
        }

    @shows_errors
    def judge(self, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008, Gradio's way
        """What became of the sounds that wait for a plan."""
        standing = standing_of(self.project)
        if standing.kind != "sounds" or standing.sounds is None:
            return gr.skip()
        reports = scan(standing.sounds, on_progress=lambda done, total: progress((done, total), desc="Listening"))
        if standing_of(self.project).about != standing.about:
            return gr.skip()
        seconds = [report.seconds for report in reports if report.usable]
        return {
            self.plans.verdict: verdict(standing.sounds, reports),
            self.seconds: seconds,
            self.plans.go: gr.Button(interactive=bool(seconds)),
        }

    @shows_errors
    def estimate(self, seconds: list[float] | None, shown: str) -> Any:
        """How long each plan takes with usable sounds of these durations, unless it is about others by then."""
        if not seconds:
            return gr.Radio(info="" if seconds == [] else MEASURING)
        found = estimates(self.project, seconds)
        if standing_of(self.project).about != shown:
            return gr.skip()
        choices = [(_offer(title, found[name]), name) for name, title in TITLES.items()]
        first = about(found[SKETCH.name].first)
        return gr.Radio(choices=choices, info=f"The first sounds of a sketch can be heard in {first}.")

    @shows_errors
    def look_at_run(self) -> Any:
        """Let the other tabs look at what was begun here."""
        root = standing_of(self.project).root
        return choose_run(self.context, root.name) if root else gr.skip()

    @shows_errors
    def drop(self, paths: list[str] | None) -> None:
        """Begin with dropped sounds."""
        if not paths:
            return
        target = free_path(self.project / DATA / DROPPED)
        left_out = gather(map(self.context.uploaded, paths), target)
        if left_out:
            notice(left_out_words(left_out))
        begin_with(self.project, target)

    @shows_errors
    def start(self, plan: str, shown: str) -> None:
        """Start a run of a plan for the sounds that the screen is about."""
        project, standing = self.project, standing_of(self.project)
        if standing.sounds is not None and standing.about != shown:
            raise DataError("another window has chosen other sounds; look at them first, they appear in a moment")
        if standing.sounds is None:
            raise DataError("choose sounds first")
        settings = plan_named(plan).settings
        source = source_of(project, standing.sounds)
        root = Inputs(project, source, with_settings(Params(), settings)).root
        model = None if root.is_dir() else _model_name(project, standing.sounds, plan)
        try:
            background.start(project, Order(str(standing.sounds), settings, model, None, "page"))
        except TrainingError:
            # Another window was faster: it is the same run.
            notice("These sounds are being learned already.")
        set_run(project, root)

    @shows_errors
    def stop(self) -> None:
        """Stop the run."""
        stop(self._root())

    @shows_errors
    def resume(self) -> None:
        """Let the run go on."""
        background.go_on(self.project, self._root())

    @shows_errors
    def leave(self) -> None:
        """Choose among the plans again; the run stays where it is."""
        set_run(self.project, None)

    @shows_errors
    def forget(self) -> None:
        """Take other sounds."""
        begin_with(self.project, None)

    def _root(self) -> Path:
        root = standing_of(self.project).root
        if root is None:
            raise DataError("no run has been started here yet")
        return root

    @shows_errors
    def make_more(self, desk: Desk) -> Any:
        """Go to the tab Generate with the finished model."""
        model = finished_model(self.project, self._root())
        if model is None or not model.is_relative_to(self.context.models):
            raise DataError("the model is not there any more: start again")
        return *self.studio.choose_model(desk, path_in(self.project, model)), gr.Tabs(selected="generate")

    @shows_errors
    def pick(self, desk: Desk, arrivals: int, event: gr.EventData) -> Any:
        """Open the codes of a sound that was clicked."""
        act, key = click_of(event)
        if act != "codes":
            return gr.skip()
        [take] = Takes(self.project).named([key])
        models = self.studio.models
        name = models.of_take(take)
        desk.open_file(take.path, models.load(name), name)
        return {self.studio.arrivals: arrivals + 1, self.studio.tabs: gr.Tabs(selected="codes")}


def _offer(title: str, expected: Estimate) -> str:
    return f"{title} ({about(expected.total)})"


def _model_name(project: Path, sounds: Path, plan: str) -> str:
    """What the model is called: as its sounds, a sketch as such, with a number where another model has that name."""
    stem = as_name(sounds.stem) + ("" if plan == BEST.name else f"-{plan}")
    return free_path(project / "models" / f"{stem}.distill").stem
