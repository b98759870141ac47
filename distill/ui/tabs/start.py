"""The tab Start: from a folder of sounds to new ones in one screen, in words that need no explanation."""

from pathlib import Path
from typing import Any

import gradio as gr

from distill.audio.sound import EXTENSIONS
from distill.dataset.scan import scan
from distill.errors import DataError, TrainingError, UsageError
from distill.library.takes import Takes
from distill.params import BEST, SKETCH, Params, plan_named, with_settings
from distill.runs import background
from distill.runs.estimates import Estimate, estimates
from distill.runs.folder import Order
from distill.runs.inputs import Inputs, as_name, source_of
from distill.runs.stopping import stop
from distill.ui.clicks import cards_component, picked
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.failures import notice, told
from distill.ui.first_takes import finished_model, library_name
from distill.ui.start_state import begin_with, begun, standing_of
from distill.ui.start_view import NOTHING_YET, verdict
from distill.ui.studio import Studio
from distill.ui.training_choice import chosen
from distill.versions.datasets import DATA, gather
from distill.words import in_words

DROPPED = "my-sounds"
TITLES = {SKETCH.name: "Sketch", BEST.name: "Best"}
MEASURING = "Looking how fast this machine is …"


def build(context: Context, studio: Studio, looked_at: gr.Dropdown) -> None:
    """Put the tab's controls into the open tab.

    Args:
        context: the page's surroundings.
        studio: what leads to the tabs Generate and Codes.
        looked_at: the choice of a training in other tabs, which show the one that is begun here.
    """
    project = context.project
    with gr.Column(visible=False, elem_id="start-empty") as empty:
        gr.HTML(NOTHING_YET, apply_default_css=False)
        files = gr.File(
            label="Drop your sounds here",
            file_count="multiple",
            file_types=list(EXTENSIONS),
            height=170,
            elem_id="start-files",
        )
    with gr.Column(visible=False, elem_id="start-sounds") as ready:
        heard = gr.HTML(elem_id="start-verdict", apply_default_css=False)
        plan = gr.Radio(
            [(title, name) for name, title in TITLES.items()],
            value=SKETCH.name,
            label="How well shall it learn them?",
            info=MEASURING,
            elem_id="start-plan",
        )
        with gr.Row():
            go = gr.Button("Go", variant="primary", scale=3, elem_id="start-go")
            other = gr.Button("Take other sounds", scale=1, min_width=150, elem_id="start-other")
    with gr.Row(visible=False, elem_id="start-done") as done:
        more = gr.Button("Make more sounds", variant="primary", scale=2, elem_id="start-more")
        again = gr.Button("Learn them again", scale=1, min_width=160, elem_id="start-again")
        others = gr.Button("Take other sounds", scale=1, min_width=160)
    live = cards_component("start-live", "")
    with gr.Row(visible=False, elem_id="start-going") as going:
        halt = gr.Button("Stop", size="md", scale=0, min_width=140, elem_id="start-stop")
    with gr.Row(visible=False, elem_id="start-halted") as halted:
        resume = gr.Button("Go on", variant="primary", scale=2, elem_id="start-resume")
        anew = gr.Button("Choose again", scale=1, min_width=160)

    def shown() -> list[Any]:
        """Everything as it stands on the disk."""
        kind = standing_of(project).kind
        return [
            gr.Column(visible=kind == "empty"),
            gr.Column(visible=kind == "sounds"),
            f'<distill-start kind="{kind}"></distill-start>',
            gr.Row(visible=kind == "running"),
            gr.Row(visible=kind == "stopped"),
            gr.Row(visible=kind == "finished"),
        ]

    def judged(progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008, Gradio's way
        standing = standing_of(project)
        if standing.kind != "sounds" or standing.sounds is None:
            return gr.skip(), gr.skip(), gr.skip()
        reports = scan(standing.sounds, on_progress=lambda done, total: progress((done, total), desc="Listening"))
        seconds = [report.seconds for report in reports if report.usable]
        return verdict(standing.sounds, reports), seconds, gr.Button(interactive=bool(seconds))

    def estimated(seconds: list[float] | None) -> Any:
        if not seconds:
            return gr.skip()
        found = estimates(project, seconds)
        choices = [(_offer(title, found[name]), name) for name, title in TITLES.items()]
        first = in_words(found[SKETCH.name].first)
        return gr.Radio(choices=choices, info=f"The first sounds of a sketch can be heard in about {first}.")

    def dropped(paths: list[str] | None) -> None:
        if not paths:
            return
        target = _free(project / DATA, DROPPED)
        left_out = gather(map(context.uploaded, paths), target)
        if not target.is_dir():
            raise UsageError(f"none of these files looks like a sound ({', '.join(EXTENSIONS)})")
        if left_out:
            notice(f"Left out, because they do not look like sounds: {', '.join(left_out)}")
        begin_with(project, target)

    def started(name: str) -> None:
        standing = standing_of(project)
        if standing.sounds is None:
            raise DataError("choose sounds first")
        settings = plan_named(name).settings
        source = source_of(project, standing.sounds)
        root = Inputs(project, source, with_settings(Params(), settings)).root
        model = None if root.is_dir() else _model_name(project, standing.sounds, name)
        try:
            background.start(project, Order(str(standing.sounds), settings, model, None, "page"))
        except TrainingError:
            # Somebody was faster, in another window: it is the same run.
            notice("These sounds are being learned already.")
        begun(project, root)

    def stopped() -> None:
        stop(_root())

    def resumed() -> None:
        background.go_on(project, _root())

    def leave() -> None:
        """Choose among the plans again; the run stays where it is."""
        begun(project, None)

    def forget() -> None:
        begin_with(project, None)

    def make_more(desk: Desk) -> Any:
        model = finished_model(project, _root())
        if model is None or not model.is_relative_to(context.models):
            raise DataError("the model is not there any more: start again")
        return *studio.taken(desk, library_name(project, model)), gr.Tabs(selected="generate")

    def pick(desk: Desk, arrivals: int, event: gr.EventData) -> Any:
        act, key = picked(event)
        if act != "codes":
            return gr.skip(), gr.skip()
        [take] = Takes(project).named([key])
        said = take.sidecar()
        if said is None:
            raise UsageError(f"{take.name}: nothing beside it says which model made it")
        name = studio.models.with_digest(said.model_file.digest, said.model_name)
        desk.open_file(take.path, studio.models.load(name), name)
        return arrivals + 1, gr.Tabs(selected="codes")

    def _root() -> Path:
        root = standing_of(project).root
        if root is None:
            raise DataError("nothing was begun here so far")
        return root

    def known_run() -> Any:
        """What was begun here is what the other tabs look at."""
        root = standing_of(project).root
        return chosen(context, root.name) if root else gr.skip()

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    screen = [empty, ready, live, going, halted, done]
    usable = gr.State(None)

    def follow(event: Any) -> Any:
        """After what moves it: the screen, the sounds if they wait for a plan, and then how long each plan takes."""
        return (
            event.then(shown, None, screen, **quiet)
            .then(told(judged), None, [heard, usable, go], show_progress_on=heard, api_visibility="private")
            .then(told(estimated), usable, plan, **quiet)
        )

    follow(gr.on(None, lambda: None, None, None, **quiet))
    follow(files.upload(told(dropped), files, None, **quiet))
    follow(go.click(told(started), plan, None, **quiet)).then(known_run, None, looked_at, **quiet)
    acts = ((halt, stopped), (resume, resumed), (anew, leave), (again, leave), (other, forget), (others, forget))
    for button, handler in acts:
        follow(button.click(told(handler), None, None, **quiet))
    more.click(told(make_more), studio.desk, [*studio.choices.values(), studio.tabs], **quiet)
    moved = live.pick(told(pick), [studio.desk, studio.arrivals], [studio.arrivals, studio.tabs], **quiet)
    follow(moved)


def _offer(title: str, expected: Estimate) -> str:
    return f"{title} (about {in_words(expected.total)})"


def _free(folder: Path, name: str) -> Path:
    """The first folder of that name, with a number behind it if there is one."""
    number, path = 1, folder / name
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}"
    return path


def _model_name(project: Path, sounds: Path, plan: str) -> str:
    """What the model is called: as its sounds, a sketch as such, with a number where another model has that name."""
    stem = as_name(sounds.stem) + ("" if plan == BEST.name else f"-{plan}")
    number, name = 1, stem
    while (project / "models" / f"{name}.distill").exists():
        number += 1
        name = f"{stem}-{number}"
    return name
