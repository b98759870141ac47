"""The tab Codes: a sound as a grid of codes that is looked at, heard, edited, blended and saved."""

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from distill.audio.sound import EXTENSIONS
from distill.codes.blend import blend
from distill.codes.edits import MAX_LABEL, Edit, Freeze, Rename, Repeat, Reverse, Transpose, Unfreeze
from distill.codes.exchange import swap
from distill.codes.randomize import randomize
from distill.codes.selection import EVERYTHING, Selection
from distill.codes.session import EditSession
from distill.errors import UsageError
from distill.generation.sampler import SamplingConfig
from distill.library.takes import Takes
from distill.library.takes import filter_takes as takes_shown
from distill.models.levels import MOST_LEVELS as LEVELS_OF_SOUND
from distill.ui.context import Context
from distill.ui.desk import GRID_EXTENSION, Desk, Which, Wish, selection_of, wish_of
from distill.ui.failures import notice, told
from distill.ui.grid import CALM, grid_component, outline_component, shown, wished
from distill.ui.studio import Studio

MINE, OTHER = "codes-grid", "codes-other"
FORMATS = ("wav", "flac", "ogg", "mp3")
# More than anybody looks through; the rest is in the tab Takes.
MOST_TAKES = 300
_TAKEN = [*EXTENSIONS, GRID_EXTENSION]
# The selections are the browser's: they come along with the second and the third input.
_WITH_SELECTION = f"""(...given) => {{
  given[1] = JSON.stringify(document.querySelector("#{MINE} distill-grid")?.selection ?? null);
  given[2] = JSON.stringify(document.querySelector("#{OTHER} distill-grid")?.chosen ?? null);
  return given;
}}"""
_EMPTY = "Open a sound or a grid file, or send a sound here from the tab Generate."
# Those that a sound is made of, and that of space.
_MOST_LEVELS = LEVELS_OF_SOUND + 1


def build(context: Context, studio: Studio, tab: gr.Tab) -> None:
    """Put the tab's controls into the open tab."""
    desk = studio.desk
    with gr.Row():
        studio.codes_model.render()
        opened = gr.File(
            label="Sound or grid file", file_types=_TAKEN, height=130, scale=3, min_width=260, elem_id="codes-file"
        )
    said = gr.HTML(f"<p>{_EMPTY}</p>", elem_id="codes-said", apply_default_css=False)
    grid, line = grid_component(MINE), outline_component(MINE)
    chosen = gr.Textbox("", visible="hidden")
    at = gr.Textbox("", visible="hidden")
    with gr.Row(elem_classes="d-line"):
        hear = gr.Checkbox(True, label="Hear each edit", container=False, scale=2, min_width=260)
        kind = gr.Dropdown(
            FORMATS, value="wav", label="Format of the sound", show_label=False, container=False, min_width=120, scale=0
        )
        save_sound = gr.Button(
            "Save sound", size="sm", min_width=110, scale=0, interactive=False, elem_id="codes-save-sound"
        )
        save_grid = gr.Button(
            "Save grid", size="sm", min_width=110, scale=0, interactive=False, elem_id="codes-save-grid"
        )

    given = [desk, chosen, at, hear]
    shows = [grid, said]

    with gr.Accordion("Change the selection", open=False, elem_id="codes-edits"), gr.Row():
        with gr.Column(min_width=200):
            reverse = gr.Button("Turn round in time", size="sm", interactive=False)
        with gr.Column(min_width=200):
            columns = gr.Number(1, precision=0, label="Columns", info="Negative: earlier.")
            move = gr.Button("Move in time", size="sm", interactive=False)
        with gr.Column(min_width=200):
            times = gr.Number(1, precision=0, minimum=1, label="Copies", info="Of the selected columns, all levels.")
            repeat = gr.Button("Repeat", size="sm", interactive=False)
        with gr.Column(min_width=200):
            temperature = gr.Slider(0, 2, 1, step=0.05, label="Surprise (temperature)", info="Higher: more of it.")
            seed = gr.Number(0, precision=0, minimum=0, label="Seed")
            draw = gr.Button("Let the model draw it anew", size="sm", interactive=False)
    with gr.Accordion("Freeze and rename levels", open=False, elem_id="codes-levels"), gr.Row():
        with gr.Column(min_width=220):
            frozen = gr.CheckboxGroup([], label="Frozen levels", info="Edits leave them as they are.")
        with gr.Column(min_width=220):
            level = gr.Dropdown([], label="Level", elem_id="codes-level")
        with gr.Column(min_width=220):
            label = gr.Textbox("", label="Is called", max_lines=1, max_length=MAX_LABEL, elem_id="codes-label")
            rename = gr.Button("Rename", size="sm", interactive=False, elem_id="codes-rename")
    with gr.Accordion("Swap and blend with a second grid", open=False, elem_id="codes-second") as beside:
        with gr.Row():
            take = gr.Dropdown(
                [],
                value=None,
                label="Second sound: a take",
                info="Whatever was generated here, the newest first; type to search.",
                scale=1,
                min_width=260,
                elem_id="codes-second-take",
            )
            second = gr.File(
                label="or a sound or grid file",
                file_types=_TAKEN,
                height=110,
                scale=1,
                min_width=260,
                elem_id="codes-second-file",
            )
        other, other_line = grid_component(OTHER, plain=True), outline_component(OTHER)
        gr.Markdown(
            "What is selected above goes together with the same columns of the second grid, or with those from the "
            "cell on that you choose in it.",
            elem_classes="d-hint",
        )
        with gr.Row():
            weight = gr.Slider(
                0, 1, 0.5, step=0.01, label="Blend", info="0: the first grid, 1: the second.", scale=3, min_width=220
            )
            with gr.Column(min_width=180):
                single = gr.Checkbox(False, label="A weight for each level", container=False, elem_id="codes-single")
                blended = gr.Button("Blend the selection", size="sm", interactive=False, elem_id="codes-blend")
                swapped = gr.Button("Swap the selection", size="sm", interactive=False, elem_id="codes-swap")
        with gr.Row(visible=False, elem_id="codes-weights") as each_level:
            weights = [gr.Slider(0, 1, 0.5, step=0.01, label="Blend", min_width=200) for _ in range(_MOST_LEVELS)]
    with gr.Accordion("What was done", open=False):
        done = gr.HTML(_history(None), elem_id="codes-done", apply_default_css=False)

    # What there is only with a grid, and what takes a second one.
    with_grid, with_two = [save_sound, save_grid, reverse, move, repeat, draw], [blended, swapped]
    by_level = [frozen, level, *weights, *with_grid, *with_two]
    outputs = [*shows, done, *by_level]

    # What a change of the desk shows besides the grid.
    def about(desk: Desk) -> Any:
        can = (
            [gr.Button(interactive=True)] * len(with_grid),
            [gr.Button(interactive="other" in desk.sheets)] * len(with_two),
        )
        return _words(desk), _history(desk), *_by_level(desk), *can[0], *can[1]

    @told
    def open_file(desk: Desk, name: str | None, path: str | None) -> Any:
        if path is None:
            return _nothing(outputs)
        desk.open_file(context.uploaded(path), studio.models.load(name), name or "")
        return shown(desk.view()), *about(desk)

    @told
    def arrive(desk: Desk) -> Any:
        if "mine" not in desk.sheets:
            return _nothing(arrived)
        second = shown(desk.view("other")) if "other" in desk.sheets else gr.skip()
        return shown(desk.view()), *about(desk), desk.sheet().model_name, second

    def looking(which: Which, *, anew: bool) -> Callable[[Desk], Any]:
        """A handler that tells how the sound of a grid looks; it is decoded then, so that playing it does not wait."""

        @told
        def look(desk: Desk) -> Any:
            found = desk.outlined(which, anew=anew) if which in desk.sheets else None
            return shown(found) if found else gr.skip()

        return look

    def takes_now() -> Any:
        return gr.Dropdown(choices=_takes(context))

    def open_beside(desk: Desk, path: Path) -> Any:
        mine = desk.sheet()
        desk.open_file(path, mine.work.model, mine.model_name, "other")
        return shown(desk.view("other")), *[gr.Button(interactive=True)] * len(with_two)

    @told
    def open_second(desk: Desk, path: str | None) -> Any:
        if path is None:
            return _nothing([other, *with_two])
        return open_beside(desk, context.uploaded(path))

    @told
    def open_take(desk: Desk, chosen: str | None) -> Any:
        if not chosen:
            return _nothing([other, *with_two])
        [found] = Takes(context.project).named([chosen])
        return open_beside(desk, found.path)

    @told
    def fulfil(desk: Desk, hear: bool, event: gr.EventData) -> Any:
        wish = wish_of(wished(event))
        view = desk.fulfil(wish, hear=hear)
        if wish.what in ("undo", "redo"):
            return shown(view), *about(desk)
        return shown(view), _words(desk), _history(desk), *_nothing(by_level)

    @told
    def fulfil_other(desk: Desk, event: gr.EventData) -> Any:
        return shown(desk.fulfil(_heard_only(wish_of(wished(event))), hear=False, which="other"))

    def editing(edit: Callable[..., Edit | None]) -> Callable[..., Any]:
        """A handler that does the edit that `edit` gives for work, selection and further values."""

        @told
        def handler(desk: Desk, chosen: str | None, at: str | None, hear: bool, *values: Any) -> Any:
            with desk.lock:
                work = desk.sheet().work
                found = edit(work, selection_of(chosen) or EVERYTHING, *values)
                if found is None:
                    return _nothing(outputs)
                desk.change(work.do(found))
                view = desk.view(clip=desk.sheet().work.hear_change() if hear else None)
                return shown(view), *about(desk)

        return handler

    @told
    def do_swap(desk: Desk, chosen: str | None, at: str | None, hear: bool) -> Any:
        with desk.lock:
            mine, theirs = desk.sheet(), desk.sheet("other")
            found = swap(
                mine.work.grid,
                theirs.work.grid,
                selection_of(chosen) or EVERYTHING,
                _first(at),
                names=(mine.name, theirs.name),
            )
            both = mine.work.do(found.edit), theirs.work.do(found.other_edit)
            desk.change(both[0])
            desk.change(both[1], "other")
            _tell_left_out(found.overlap.left_out)
            view = desk.view(clip=both[0].hear_change() if hear else None)
            return shown(view), *about(desk), shown(desk.view("other"))

    @told
    def do_blend(
        desk: Desk, chosen: str | None, at: str | None, hear: bool, weight: float, single: bool, *weights: float
    ) -> Any:
        with desk.lock:
            mine, theirs = desk.sheet(), desk.sheet("other")
            found = blend(
                mine.work.model,
                mine.work.grid,
                theirs.work.grid,
                weights[: mine.work.grid.levels] if single else weight,
                selection_of(chosen) or EVERYTHING,
                _first(at),
                name=theirs.name,
            )
            desk.change(mine.work.do(found.edit))
            _tell_left_out(found.overlap.left_out)
            view = desk.view(clip=desk.sheet().work.hear_change() if hear else None)
            return shown(view), *about(desk)

    @told
    def do_save_sound(desk: Desk, kind: str) -> Any:
        return shown(desk.saved_sound(kind))

    @told
    def do_save_grid(desk: Desk) -> Any:
        return shown(desk.saved_grid())

    quick: dict[str, Any] = {"trigger_mode": "multiple", "show_progress": "hidden"}

    def see(event: Any, *, anew: bool = True) -> None:
        event.success(looking("mine", anew=anew), desk, line, show_progress="hidden")

    def see_other(event: Any, *, anew: bool = True) -> None:
        event.success(looking("other", anew=anew), desk, other_line, show_progress="hidden")

    tab.select(told(partial(studio.offered, "codes")), desk, studio.codes_model, show_progress="hidden")
    arrived = [*outputs, studio.codes_model, other]
    for event in (
        studio.arrivals.change(arrive, desk, arrived),
        studio.returned.change(arrive, desk, arrived),
        opened.upload(open_file, [desk, studio.codes_model, opened], outputs, show_progress_on=opened),
    ):
        see(event)
        see_other(event)
    for opening in (beside.expand, take.focus):
        opening(told(takes_now), None, take, show_progress="hidden")
    see_other(second.upload(open_second, [desk, second], [other, *with_two], show_progress_on=second))
    see_other(take.input(open_take, [desk, take], [other, *with_two], show_progress_on=take))
    level.change(lambda chosen: gr.Button(interactive=chosen is not None), level, rename, show_progress="hidden")
    wish = grid.wish(fulfil, [desk, hear], outputs, **quick)
    wish.failure(None, js=CALM)
    see(wish, anew=False)
    other.wish(fulfil_other, desk, other, **quick).failure(None, js=CALM)
    for button, edit, values in (
        (reverse, _reverse, []),
        (move, _move, [columns]),
        (repeat, _repeat, [times]),
        (draw, _draw, [temperature, seed]),
        (rename, _rename, [level, label]),
    ):
        edited = button.click(editing(edit), [*given, *values], outputs, js=_WITH_SELECTION, show_progress_on=grid)
        see(edited, anew=False)
    frozen.input(editing(_freeze), [*given, frozen], outputs, js=_WITH_SELECTION, **quick)
    single.change(lambda on: gr.Row(visible=on), single, each_level, show_progress="hidden")
    mixed = blended.click(
        do_blend, [*given, weight, single, *weights], outputs, js=_WITH_SELECTION, show_progress_on=grid
    )
    exchanged = swapped.click(do_swap, given, [*outputs, other], js=_WITH_SELECTION, show_progress_on=grid)
    for event in (mixed, exchanged):
        see(event, anew=False)
    see_other(exchanged, anew=False)
    save_sound.click(do_save_sound, [desk, kind], grid, show_progress_on=grid)
    save_grid.click(do_save_grid, desk, grid, show_progress_on=grid)


def _reverse(work: EditSession, selection: Selection) -> Edit:
    return Reverse(selection=selection)


def _move(work: EditSession, selection: Selection, columns: float | None) -> Edit:
    return Transpose(selection=selection, columns=_whole(columns, "columns"))


def _repeat(work: EditSession, selection: Selection, times: float | None) -> Edit:
    return Repeat(columns=selection.columns or (0, len(work.grid)), times=max(1, _whole(times, "copies")))


def _draw(work: EditSession, selection: Selection, temperature: float, seed: float | None) -> Edit:
    config = SamplingConfig(temperature=temperature)
    return randomize(work.model, work.grid, selection, seed=_whole(seed, "seed"), config=config)


def _freeze(work: EditSession, selection: Selection, labels: list[str]) -> Edit | None:
    wanted = {level for level, label in enumerate(work.grid.labels) if label in labels}
    more, less = wanted - set(work.grid.frozen), set(work.grid.frozen) - wanted
    if more:
        return Freeze(levels=tuple(sorted(more)))
    return Unfreeze(levels=tuple(sorted(less))) if less else None


def _rename(work: EditSession, selection: Selection, level: int | None, label: str | None) -> Edit:
    if level is None:
        raise UsageError("open a sound or a grid file first")
    return Rename(level=level, label=(label or "").strip())


def _whole(value: float | None, what: str) -> int:
    if value is None:
        raise UsageError(f"{what}: give a whole number")
    return int(value)


def _first(at: str | None) -> int | None:
    found = selection_of(at)
    return None if found is None or found.columns is None else found.columns[0]


def _heard_only(wish: Wish) -> Wish:
    if wish.what not in ("hear", "play"):
        raise UsageError("the second grid is only heard; edit the first")
    return wish


def _tell_left_out(columns: int) -> None:
    if columns:
        notice(f"{columns} selected columns have no counterpart in the other grid and stay as they are.")


def _takes(context: Context) -> list[tuple[str, str]]:
    """The newest takes: what people call each with where it lies, and its id."""
    found = takes_shown(Takes(context.project).all(), "all")[:MOST_TAKES]
    return [(f"{take.name} · {take.id.rpartition('/')[0]}", take.id) for take in found]


def _nothing(outputs: Sequence[Any]) -> list[Any]:
    return [gr.skip() for _ in outputs]


def _by_level(desk: Desk) -> list[Any]:
    """What names the grid's levels: which are frozen, which is renamed, how much of each is blended."""
    grid = desk.sheet().work.grid
    frozen = gr.CheckboxGroup(choices=list(grid.labels), value=[grid.labels[level] for level in grid.frozen])
    choices = [(label, level) for level, label in enumerate(grid.labels)]
    weights = [gr.Slider(label=label, visible=True) for label in grid.labels]
    return [frozen, gr.Dropdown(choices=choices), *weights, *[gr.Slider(visible=False)] * (_MOST_LEVELS - grid.levels)]


def _words(desk: Desk) -> str:
    sheet = desk.sheet()
    grid, history = sheet.work.grid, sheet.work.history
    edits = f"{history.position} of {len(history.edits)} edits done" if history.edits else "no edits yet"
    time = f"{len(grid)} columns of {1000 * grid.seconds_per_column:.0f} ms"
    codes = f"{grid.bands} bands, {grid.levels} levels of {grid.codebook_size} codes"
    return f"<p><b>{escape(sheet.name)}</b>: {time}, {codes}; {edits}.</p>"


def _history(desk: Desk | None) -> str:
    if desk is None or "mine" not in desk.sheets or not desk.sheet().work.words:
        return '<p class="d-hint">Nothing yet.</p>'
    work = desk.sheet().work
    lines = (
        f"<li{'' if number < work.history.position else ' class=undone'}>{escape(words)}</li>"
        for number, words in enumerate(work.words)
    )
    return f'<ol class="d-done">{"".join(lines)}</ol>'
