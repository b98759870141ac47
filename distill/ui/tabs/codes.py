"""The tab Codes: a sound as a grid of codes to look at, hear, edit, blend and save."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from distill.codes.blend import blend
from distill.codes.edits import Edit
from distill.codes.exchange import swap
from distill.codes.selection import EVERYTHING
from distill.errors import UsageError
from distill.library.takes import Takes, filter_takes
from distill.ui import codes_edits
from distill.ui.codes_controls import MINE, MOST_LEVELS, OTHER, Edits, Levels, Second, SheetControls
from distill.ui.context import Context
from distill.ui.desk import Desk, Which
from distill.ui.failures import notice, shows_errors
from distill.ui.grid import CALM, event_values, value_of
from distill.ui.grid_requests import selection_of, wish_of
from distill.ui.grid_words import history_of, words_of
from distill.ui.handlers import AT_ONCE, QUIET, Updates
from distill.ui.studio import Studio

# The others are found in the tab Takes.
MOST_TAKES = 300
# The browser knows what is selected: it fills the second and the third input.
_WITH_SELECTION = f"""(...given) => {{
  given[1] = JSON.stringify(document.querySelector("#{MINE} distill-grid")?.selection ?? null);
  given[2] = JSON.stringify(document.querySelector("#{OTHER} distill-grid")?.chosen ?? null);
  return given;
}}"""


def build(context: Context, studio: Studio, tab: gr.Tab) -> None:
    """Put the tab's controls into the open tab."""
    CodesTab(context, studio).connect(tab)


class CodesTab:
    """The tab's controls in the open tab, and what they do; handlers return updates by component."""

    def __init__(self, context: Context, studio: Studio) -> None:
        self.context, self.studio = context, studio
        self.sheet = SheetControls.build(studio.codes_model)
        self.edits, self.levels, self.second = Edits.build(), Levels.build(), Second.build()
        with gr.Accordion("What was done", open=False):
            self.done = gr.HTML(history_of(None), elem_id="codes-done", apply_default_css=False)
        edits = self.edits
        # What can be pressed once there is a grid, and what also takes a second one.
        self.with_grid = (
            self.sheet.save_sound,
            self.sheet.save_grid,
            edits.reverse,
            edits.move,
            edits.repeat,
            edits.draw,
        )
        self.with_two = self.second.blend, self.second.swap

    def connect(self, tab: gr.Tab) -> None:
        """Let the controls act."""
        studio, sheet, second = self.studio, self.sheet, self.second
        desk, outputs = studio.desk, self._outputs()
        tab.select(shows_errors(partial(studio.offer, "codes")), desk, studio.codes_model, **QUIET)
        arrived = [*outputs, studio.codes_model]
        # Nobody waits for what another one opens, plays or edits.
        beside: dict[str, Any] = {"concurrency_limit": AT_ONCE}
        uploaded = sheet.file.upload(
            self.open_file,
            [desk, studio.codes_model, sheet.file],
            [*outputs, sheet.file],
            show_progress_on=sheet.file,
            **beside,
        )
        for event in (
            studio.arrivals.change(self.arrive, desk, arrived),
            studio.returned.change(self.arrive, desk, arrived),
            sheet.back.click(self.go_back, desk, arrived, **QUIET),
            uploaded,
        ):
            self._draw_after(event, "mine", "other", anew=True)
        for looked in (second.fold.expand, second.take.focus):
            looked(self.list_takes, None, second.take, **QUIET)
        opened = [second.grid, second.take, second.file, *self.with_two]
        from_file = second.file.upload(
            self.open_second, [desk, second.file], opened, show_progress_on=second.file, **beside
        )
        # Its event `input` comes as well where somebody only looks into the list.
        from_take = second.take.change(
            self.open_take, [desk, second.take], opened, show_progress_on=second.take, **beside
        )
        # What was not opened can be chosen again, or something else in its place.
        for opening, field in ((from_take, second.take), (from_file, second.file), (uploaded, sheet.file)):
            opening.failure(lambda: None, None, field, **QUIET)
        for event in (from_file, from_take):
            self._draw_after(event, "other", anew=True)
        # A grid asks for one thing after the other.
        quick: dict[str, Any] = {"trigger_mode": "multiple", **beside, **QUIET}
        asked = sheet.grid.wish(self.fulfil, [desk, sheet.hear], outputs, **quick)
        asked.failure(None, js=CALM)
        self._draw_after(asked, "mine", "other")
        second.grid.wish(self.fulfil_second, desk, second.grid, **quick).failure(None, js=CALM)
        sheet.save_sound.click(self.save_sound, [desk, sheet.format], sheet.grid, show_progress_on=sheet.grid, **beside)
        sheet.save_grid.click(self.save_grid, desk, sheet.grid, show_progress_on=sheet.grid)
        self._connect_edits(outputs)

    def _connect_edits(self, outputs: list[Any]) -> None:
        sheet, edits, levels, second = self.sheet, self.edits, self.levels, self.second
        given = [self.studio.desk, sheet.selection, sheet.other_selection, sheet.hear]
        slow: dict[str, Any] = {"js": _WITH_SELECTION, "show_progress_on": sheet.grid, "concurrency_limit": AT_ONCE}
        for button, edit, values in (
            (edits.reverse, codes_edits.reverse, []),
            (edits.move, codes_edits.move, [edits.columns]),
            (edits.repeat, codes_edits.repeat, [edits.times]),
            (edits.draw, codes_edits.draw, [edits.temperature, edits.seed]),
            (levels.rename, codes_edits.rename, [levels.level, levels.label]),
        ):
            self._draw_after(button.click(self.editing(edit), [*given, *values], outputs, **slow), "mine")
        freeze = self.editing(codes_edits.freeze)
        levels.frozen.input(
            freeze, [*given, levels.frozen], outputs, js=_WITH_SELECTION, trigger_mode="multiple", **QUIET
        )
        levels.level.change(
            lambda level: gr.Button(interactive=level is not None), levels.level, levels.rename, **QUIET
        )
        second.single.change(lambda on: gr.Row(visible=on), second.single, second.each_level, **QUIET)
        weights = [second.weight, second.single, *second.weights]
        self._draw_after(second.blend.click(self.blend, [*given, *weights], outputs, **slow), "mine")
        swapped = second.swap.click(self.swap, given, outputs, **slow)
        self._draw_after(swapped, "mine", "other")

    def _outputs(self) -> list[Any]:
        """What a change of the desk may show."""
        levels = [self.levels.frozen, self.levels.level, *self.second.weights]
        grids = self.sheet.grid, self.second.grid
        said = [self.sheet.words, self.sheet.back, self.done]
        return [*grids, self.second.take, *said, *levels, *self.with_grid, *self.with_two]

    def _draw_after(self, event: Any, *grids: Which, anew: bool = False) -> None:
        """After what changes the sound of grids: how it looks; it is decoded then, so that playing it does not wait."""
        for which in grids:
            outline = self.sheet.outline if which == "mine" else self.second.outline
            draw = partial(self.outline, which, anew)
            event.success(draw, self.studio.desk, outline, concurrency_limit=AT_ONCE, **QUIET)

    def about(self, desk: Desk) -> Updates:
        """What a change of the desk shows besides the grid."""
        buttons: Updates = {button: gr.Button(interactive=True) for button in self.with_grid}
        buttons |= {button: gr.Button(interactive="other" in desk.sheets) for button in self.with_two}
        earlier = [sheet.name for sheet in desk.earlier]
        buttons[self.sheet.back] = gr.Button(f"Back to {earlier[-1]}" if earlier else "Back", visible=bool(earlier))
        return {self.sheet.words: words_of(desk), self.done: history_of(desk), **self._by_level(desk), **buttons}

    def _second(self, desk: Desk) -> Updates:
        """The second grid; one of another model than the first has left the desk."""
        if "other" in desk.sheets:
            return {self.second.grid: value_of(desk.view("other"))}
        return {self.second.grid: value_of(None), self.second.take: None}

    def _by_level(self, desk: Desk) -> Updates:
        """What names the grid's levels: which are frozen, which is renamed, how much of each is blended."""
        grid = desk.sheet().work.grid
        frozen = [grid.labels[level] for level in grid.frozen]
        labels = [*grid.labels, *[None] * (MOST_LEVELS - grid.levels)]
        return {
            self.levels.frozen: gr.CheckboxGroup(choices=list(grid.labels), value=frozen),
            self.levels.level: gr.Dropdown(choices=[(label, level) for level, label in enumerate(grid.labels)]),
            **{
                slider: gr.Slider(visible=False) if label is None else gr.Slider(label=label, visible=True)
                for slider, label in zip(self.second.weights, labels, strict=True)
            },
        }

    @shows_errors
    def outline(self, which: Which, anew: bool, desk: Desk) -> Any:
        """How the sound of a grid looks, unless it still looks as it did and is not asked for anew."""
        found = desk.draw_outline(which, anew=anew) if which in desk.sheets else None
        return value_of(found) if found else gr.skip()

    @shows_errors
    def open_file(self, desk: Desk, model: str | None, path: str | None) -> Any:
        """Open a file that was uploaded."""
        if path is None:
            return gr.skip()
        desk.open_file(self.context.uploaded(path), self.studio.models.load(model), model or "")
        shown = {self.sheet.grid: value_of(desk.view()), **self.about(desk), **self._second(desk)}
        # An empty field takes the next file.
        return {**shown, self.sheet.file: None}

    @shows_errors
    def arrive(self, desk: Desk) -> Any:
        """Show what another tab put on the desk, or what lay there before a reload."""
        if "mine" not in desk.sheets:
            return gr.skip()
        model = {self.studio.codes_model: desk.sheet().model_name}
        return {self.sheet.grid: value_of(desk.view()), **self.about(desk), **model, **self._second(desk)}

    @shows_errors
    def go_back(self, desk: Desk) -> Any:
        """Show the edited grid whose place this one took."""
        desk.go_back()
        return self.arrive(desk)

    @shows_errors
    def list_takes(self) -> Any:
        """The newest takes: the name of each with its folder, and its id."""
        found = filter_takes(Takes(self.context.project).all(), "all")[:MOST_TAKES]
        return gr.Dropdown(choices=[(f"{take.name} · {take.id.rpartition('/')[0]}", take.id) for take in found])

    @shows_errors
    def open_second(self, desk: Desk, path: str | None) -> Any:
        """Open a second file that was uploaded."""
        if path is None:
            return gr.skip()
        return {**self._open_beside(desk, self.context.uploaded(path)), self.second.file: None, self.second.take: None}

    @shows_errors
    def open_take(self, desk: Desk, take: str | None) -> Any:
        """Open a take as the second grid."""
        if not take:
            return gr.skip()
        [found] = Takes(self.context.project).named([take])
        return self._open_beside(desk, found.path)

    def _open_beside(self, desk: Desk, path: Path) -> Updates:
        mine = desk.sheet()
        desk.open_file(path, mine.work.model, mine.model_name, "other")
        buttons = {button: gr.Button(interactive=True) for button in self.with_two}
        return {self.second.grid: value_of(desk.view("other")), **buttons}

    @shows_errors
    def fulfil(self, desk: Desk, hear: bool, event: gr.EventData) -> Updates:
        """Do what the grid asks for."""
        wish = wish_of(event_values(event))
        view = value_of(desk.fulfil(wish, hear=hear))
        if wish.what in ("undo", "redo"):
            return {self.sheet.grid: view, **self.about(desk), **self._second(desk)}
        return {self.sheet.grid: view, self.sheet.words: words_of(desk), self.done: history_of(desk)}

    @shows_errors
    def fulfil_second(self, desk: Desk, event: gr.EventData) -> str:
        """Do what the second grid asks for, which is only heard."""
        wish = wish_of(event_values(event))
        if wish.what not in ("hear", "play"):
            raise UsageError("the second grid is only heard; edit the first")
        return value_of(desk.fulfil(wish, hear=False, which="other"))

    @shows_errors
    def save_sound(self, desk: Desk, kind: str) -> str:
        """Let the browser save the decoded sound."""
        return value_of(desk.save_sound(kind))

    @shows_errors
    def save_grid(self, desk: Desk) -> str:
        """Let the browser save the grid file."""
        return value_of(desk.save_grid())

    def editing(self, edit: Callable[..., Edit | None]) -> Callable[..., Any]:
        """A handler that does the edit that `edit` gives for work, selection and further values."""

        @shows_errors
        def handler(desk: Desk, selection: str | None, other: str | None, hear: bool, *values: Any) -> Any:
            with desk.lock:
                work = desk.sheet().work
                found = edit(work, selection_of(selection) or EVERYTHING, *values)
                if found is None:
                    return gr.skip()
                desk.change(work.do(found))
                return self._edited(desk, hear)

        return handler

    @shows_errors
    def swap(self, desk: Desk, selection: str | None, other: str | None, hear: bool) -> Updates:
        """Exchange the selected codes of both grids."""
        with desk.lock:
            mine, theirs = desk.sheet(), desk.sheet("other")
            region, first = selection_of(selection) or EVERYTHING, _first(other)
            found = swap(mine.work.grid, theirs.work.grid, region, first, names=(mine.name, theirs.name))
            both = mine.work.do(found.edit), theirs.work.do(found.other_edit)
            desk.change(both[0])
            desk.change(both[1], "other")
            _tell_left_out(found.overlap.left_out)
            return {**self._edited(desk, hear), **self._second(desk)}

    @shows_errors
    def blend(
        self, desk: Desk, selection: str | None, other: str | None, hear: bool, weight: float, single: bool,
        *weights: float,
    ) -> Updates:  # fmt: skip
        """Blend the selected codes of both grids."""
        with desk.lock:
            mine, theirs = desk.sheet(), desk.sheet("other")
            found = blend(
                mine.work.model,
                mine.work.grid,
                theirs.work.grid,
                weights[: mine.work.grid.levels] if single else weight,
                selection_of(selection) or EVERYTHING,
                _first(other),
                name=theirs.name,
            )
            desk.change(mine.work.do(found.edit))
            _tell_left_out(found.overlap.left_out)
            return self._edited(desk, hear)

    def _edited(self, desk: Desk, hear: bool) -> Updates:
        view = desk.view(clip=desk.sheet().work.hear_change() if hear else None)
        return {self.sheet.grid: value_of(view), **self.about(desk)}


def _first(selection: str | None) -> int | None:
    """The first selected column."""
    found = selection_of(selection)
    return None if found is None or found.columns is None else found.columns[0]


def _tell_left_out(columns: int) -> None:
    if columns:
        notice(f"{columns} selected columns have no counterpart in the other grid and stay as they are.")
