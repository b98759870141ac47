"""The tab Library: the models of the project, in files and in the registry."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from distill.artifact.model_file import EXTENSION
from distill.errors import DistillError, UsageError
from distill.registry.catalogue import Entry, catalogue, deletable, delete, export, import_file, select
from distill.registry.promotion import NotPromoted, promote
from distill.registry.registration import register
from distill.registry.registry import CHAMPION, is_file_reference
from distill.ui.auditions import audition
from distill.ui.cards import empty_hint, row_of
from distill.ui.clicks import cards_component, click_of
from distill.ui.context import Context, path_in
from distill.ui.desk import Desk
from distill.ui.failures import notice, shows_errors, shows_errors_while
from distill.ui.handlers import AT_ONCE, QUIET, Updates
from distill.ui.library_controls import ANY, SAVE, Comparison, Details, Filters, Import
from distill.ui.library_view import Shelf, View, differences_shown
from distill.ui.shelf import card_of, details_of, key_of, places_of
from distill.ui.studio import Studio

_EMPTY = "No models here. The tab Train makes one; a file from elsewhere can be imported below."
_NONE_FOUND = "No model matches."


def build(context: Context, studio: Studio, tab: gr.Tab) -> None:
    """Put the tab's controls into the open tab."""
    LibraryTab(context, studio).connect(tab)


class LibraryTab:
    """The tab's controls in the open tab, and what they do; handlers return updates by component."""

    def __init__(self, context: Context, studio: Studio) -> None:
        self.context, self.studio, self.project = context, studio, context.project
        self.shelf, self.view = gr.State(Shelf()), gr.State(View())
        self.filters = Filters.build()
        self.trouble = gr.HTML(visible=False, elem_classes="d-hint", apply_default_css=False, elem_id="library-trouble")
        self.cards = cards_component("library-cards", _EMPTY)
        self.comparison, self.details, self.importing = Comparison.build(), Details.build(), Import.build()
        self.link = gr.Textbox("", visible="hidden")

    def connect(self, tab: gr.Tab) -> None:
        """Let the controls act."""
        filters, details, comparison, importing = self.filters, self.details, self.comparison, self.importing
        seen = [self.shelf, self.view]
        files_first = self._list_after(tab.select(self.read_files, None, self._found(), **QUIET))
        listed = self._list_after(files_first.then(self.read_all, filters.dataset, self._found(), **QUIET))
        listed.success(self.close_gone, seen, self._shown(), **QUIET)
        self._compare_after(listed)
        search: dict[str, Any] = {"inputs_kwargs": self._listed(), "outputs": self.cards, **QUIET}
        for control in (filters.verdict, filters.dataset, filters.sort):
            control.input(self.search, **search)
        filters.words.change(self.search, **search, trigger_mode="always_last")
        opened = [*self._shown(), details.heard]
        compared = [comparison.differences, comparison.hear, comparison.heard]
        hearing: dict[str, Any] = {"show_progress": "minimal", "concurrency_limit": AT_ONCE}
        heard = [
            details.hear.click(self.hear_one, seen, details.heard, **hearing),
            comparison.hear.click(self.hear_both, seen, comparison.heard, **hearing),
        ]
        # What is still to be heard of one model must not come under another one's name.
        self.cards.pick(
            self.pick, inputs_kwargs=self._listed(), outputs=[self.view, self.cards, *compared, *opened],
            trigger_mode="multiple", cancels=heard, **QUIET,
        )  # fmt: skip
        choices = [*self.studio.choices.values(), self.studio.tabs]
        details.use.click(self.use, [*seen, self.studio.desk], choices)
        asking = [self.view, details.question, details.asked, details.yes]
        placed = [self.view, details.place]
        wait: dict[str, Any] = {"show_progress_on": details.place}
        self._read_after(details.register.click(self.register, details.place, None, **wait))
        self._read_after(details.promote.click(self.promote, placed, asking, **wait))
        saved = details.save.click(self.save, [self.studio.desk, *seen, details.place], self.link)
        saved.success(None, self.link, None, js=SAVE)
        details.delete.click(self.ask_delete, placed, asking, **QUIET)
        self._read_after(details.yes.click(self.confirm, self.view, asking))
        details.no.click(self.calm, self.view, asking, **QUIET)
        details.place.change(self.able, details.place, [details.register, details.promote], **QUIET)
        brought = importing.go.click(
            self.bring, [importing.file, importing.name], importing.file, show_progress_on=importing.file
        )
        self._read_after(brought)
        importing.file.change(
            lambda path: gr.Button(interactive=path is not None), importing.file, importing.go, **QUIET
        )

    def _shown(self) -> list[Any]:
        details = self.details
        return [details.column, details.text, details.place, details.question, details.hear]

    def _found(self) -> list[Any]:
        return [self.shelf, self.trouble, self.filters.dataset]

    def _listed(self) -> dict[str, Any]:
        return {"shelf": self.shelf, "view": self.view, **self.filters.inputs}

    def _list_after(self, event: Any) -> Any:
        """After models were read: the cards as the filters are by then, since reading may have taken a while."""
        return event.success(self.search, inputs_kwargs=self._listed(), outputs=self.cards, **QUIET)

    def _read_after(self, event: Any) -> None:
        """After models changed: the list, and what is open and compared as far as it is still there."""
        read = event.success(self.read_all, self.filters.dataset, self._found(), **QUIET)
        listed = self._list_after(read)
        listed.success(self.show_details, [self.shelf, self.view], self._shown(), **QUIET)
        self._compare_after(listed)

    def _compare_after(self, listed: Any) -> None:
        comparison = self.comparison
        compared = [self.view, comparison.differences, comparison.hear, comparison.heard]
        listed.success(self.compare_again, [self.shelf, self.view], compared, **QUIET)

    def _read(self, *, registry: bool, dataset: str | None = None) -> Updates:
        entries, unreadable = catalogue(self.project, registry=registry)
        datasets = sorted({entry.manifest.metadata.dataset for entry in entries})
        reasons = "".join(f"<li>left out: {escape(each.reason)}</li>" for each in unreadable)
        return {
            self.shelf: Shelf(tuple(entries)),
            self.trouble: gr.HTML(f"<ul>{reasons}</ul>", visible=bool(unreadable)),
            **({} if dataset is None else {self.filters.dataset: _datasets(datasets, dataset)}),
        }

    @shows_errors
    def read_files(self) -> Updates:
        """Read the models in files, which are found at once."""
        return self._read(registry=False)

    @shows_errors
    def read_all(self, dataset: str | None) -> Updates:
        """Read all models; where the chosen dataset is that of none, every one is chosen again."""
        return self._read(registry=True, dataset=dataset or ANY)

    @shows_errors
    def search(self, shelf: Shelf, view: View, words: str | None, verdict: str, dataset: str, sort: str) -> str:
        """The cards of the models that the filters let through."""
        models = select(
            shelf.entries,
            words=(words or "").split(),
            verdict=None if verdict == ANY else verdict,
            dataset=None if dataset == ANY else dataset,
            sort=sort,
        )
        if not models:
            return empty_hint(_NONE_FOUND if shelf.entries else _EMPTY)
        return row_of(
            [
                card_of(entry, self.project, shown=key == view.shown, compared=key in view.compared)
                for entry in models
                for key in [key_of(entry)]
            ]
        )

    @shows_errors
    def pick(self, shelf: Shelf, view: View, event: gr.EventData, **filters: str) -> Updates:
        """Open or close the details of a model, or compare it."""
        act, key = click_of(event)
        if shelf.entry(key) is None:
            raise UsageError("this model is not here any more: open the tab again")
        if act == "compare":
            rest = tuple(each for each in view.compared if each != key)
            view = replace(view, compared=rest if key in view.compared else (*rest[-1:], key))
            updates = self._compare(shelf, view)
        else:
            view = replace(view, shown="" if view.shown == key else key, asked=None)
            updates = {self.details.heard: "", **self.show_details(shelf, view)}
        return {self.view: view, self.cards: self.search(shelf, view, **filters), **updates}

    def _compare(self, shelf: Shelf, view: View) -> Updates:
        entries = shelf.compared(view)
        both = len(entries) == 2 and all(entry.manifest.prior_metadata for entry in entries)
        return {
            self.comparison.differences: differences_shown(shelf, view, self.project),
            self.comparison.hear: gr.Button(visible=both),
            self.comparison.heard: "",
        }

    @shows_errors
    def compare_again(self, shelf: Shelf, view: View) -> Any:
        """Compare what is left, where a model that was compared is gone."""
        left = tuple(key for key in view.compared if shelf.entry(key))
        if left == view.compared:
            return gr.skip()
        view = replace(view, compared=left)
        return {self.view: view, **self._compare(shelf, view)}

    def close_gone(self, shelf: Shelf, view: View) -> Any:
        """Close the details of a model that is gone; what is open and here stays as it is."""
        return gr.skip() if not view.shown or shelf.entry(view.shown) else self.show_details(shelf, view)

    @shows_errors
    def show_details(self, shelf: Shelf, view: View) -> Updates:
        """The details of the model that is open; none if it is gone."""
        details, entry = self.details, shelf.entry(view.shown)
        if entry is None:
            return {details.column: gr.Column(visible=False), details.text: "", details.question: gr.Row(visible=False)}
        places = places_of(entry, self.project)
        # Only what is in the registry can be promoted: it comes first.
        value = next((reference for _, reference in places if not is_file_reference(reference)), places[0][1])
        return {
            details.column: gr.Column(visible=True),
            details.text: details_of(entry, self.context),
            details.place: gr.Dropdown(choices=places, value=value),
            details.question: gr.Row(visible=view.asked is not None),
            details.hear: gr.Button(interactive=entry.manifest.prior_metadata is not None),
        }

    def _hear(self, entries: list[Entry]) -> Iterator[str]:
        names = [self.studio.models.name_of(entry) for entry in entries]
        yield from audition([(name, self.studio.models.path(name)) for name in names], self.context)

    @shows_errors_while
    def hear_one(self, shelf: Shelf, view: View) -> Iterator[str]:
        """Make sounds of the model that is open."""
        yield from self._hear([shelf.opened(view)])

    @shows_errors_while
    def hear_both(self, shelf: Shelf, view: View) -> Iterator[str]:
        """Make sounds of both compared models by the same seeds."""
        entries = shelf.compared(view)
        if not entries:
            raise UsageError("choose models to compare first")
        yield from self._hear(entries)

    @shows_errors
    def use(self, shelf: Shelf, view: View, desk: Desk) -> Any:
        """Choose the open model in the tabs Generate and Codes."""
        # The same weights in several places are one choice, and only what is among the choices stays chosen.
        model = self.studio.models.name_of(shelf.opened(view))
        notice(f"The tabs Generate and Codes now use {model}.", 4)
        return *self.studio.choose_model(desk, model), gr.Tabs(selected="generate")

    @shows_errors
    def save(self, desk: Desk, shelf: Shelf, view: View, place: str) -> str:
        """The address of a verified copy, and the name under which the browser saves it."""
        entry = shelf.entry(view.shown)
        target = export(place, desk.new_file(f"model{EXTENSION}"), self.project)
        name = entry.manifest.metadata.name if entry else "model"
        return json.dumps({"address": self.context.link(target), "name": f"{name}{EXTENSION}"})

    @shows_errors
    def register(self, place: str) -> None:
        """Register a file."""
        if not is_file_reference(place):
            raise UsageError(f"{place} is registered already")
        version = register(Path(place), self.project)
        notice(f"{version.reference}{'' if version.created else ' was there already'}")

    @shows_errors
    def promote(self, view: View, place: str) -> Updates:
        """Promote a version, or ask if something speaks against it."""
        if is_file_reference(place):
            raise UsageError(f"{Path(place).name} is a file: register it first, then promote the version")
        try:
            version = promote(place, self.project)
        except NotPromoted as error:
            question = f"Reasons not to promote <b>{escape(place)}</b>: {escape('; '.join(error.reasons))}."
            return self._ask(replace(view, asked=("promote", place)), question, "Promote all the same")
        notice(f"{version.name}@champion is {version.reference}")
        return self.calm(view)

    @shows_errors
    def ask_delete(self, view: View, place: str) -> Updates:
        """Ask whether a file or version is to be deleted."""
        found = deletable(place, self.project, force=True)
        what, champion = path_in(self.project, found) if isinstance(found, Path) else found.reference, ""
        if not isinstance(found, Path) and CHAMPION in found.aliases:
            champion = " It is the one in use (champion) of its name."
        question = f"Delete <b>{escape(what)}</b> for good?{champion}"
        return self._ask(replace(view, asked=("delete", place)), question, "Delete for good")

    def _ask(self, view: View, question: str, yes: str) -> Updates:
        details = self.details
        return {
            self.view: view,
            details.question: gr.Row(visible=True),
            details.asked: f"<p role='status'>{question}</p>",
            details.yes: gr.Button(yes),
        }

    @shows_errors
    def confirm(self, view: View) -> Updates:
        """Do what was asked about."""
        if view.asked is not None:
            act, reference = view.asked
            if act == "promote":
                version = promote(reference, self.project, force=True)
                notice(f"{version.name}@champion is {version.reference}")
            else:
                removed = delete(reference, self.project, force=True)
                notice(f"Deleted {Path(removed).name if is_file_reference(removed) else removed}.")
        return self.calm(view)

    def calm(self, view: View) -> Updates:
        """No question is open."""
        details = self.details
        return {self.view: replace(view, asked=None), details.question: gr.Row(visible=False), details.asked: ""}

    def able(self, place: str | None) -> Updates:
        """What can be done with a model where it is: files are registered, versions are promoted."""
        file = bool(place) and is_file_reference(place or "")
        return {
            self.details.register: gr.Button(interactive=file),
            self.details.promote: gr.Button(interactive=bool(place) and not file),
        }

    @shows_errors
    def bring(self, upload: str | None, name: str | None) -> None:
        """Import an uploaded file; its field is emptied."""
        if upload is None:
            raise UsageError("drop a model file first")
        file = self.context.uploaded(upload)
        try:
            path = import_file(file, self.project, name=(name or "").strip() or None)
        except DistillError as error:
            raise type(error)(str(error).replace(str(file), file.name)) from error
        notice(f"Imported as {path.relative_to(self.project).as_posix()}.")


def _datasets(known: Sequence[str], chosen: str) -> gr.Dropdown:
    return gr.Dropdown(choices=[ANY, *known], value=chosen if chosen in known else ANY)
