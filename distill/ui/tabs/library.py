"""The tab Library: the models of the project, in files and in the registry."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from distill.artifact.model_file import EXTENSION
from distill.errors import DistillError, UsageError
from distill.registry.catalogue import (
    SORTS,
    VERDICTS,
    Entry,
    catalogue,
    compare,
    deletable,
    delete,
    export,
    import_file,
    select,
)
from distill.registry.promotion import NotPromoted, promote
from distill.registry.registration import register
from distill.registry.registry import CHAMPION, is_file_reference
from distill.ui.auditions import auditioned
from distill.ui.cards import nothing, row_of
from distill.ui.clicks import cards_component, picked
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.failures import notice, told, told_while
from distill.ui.shelf import card_of, details_of, differences_of, key_of, places_of
from distill.ui.studio import Studio

_ANY = "any"
_EMPTY = "No models here. The tab Train makes one; a file from elsewhere can be imported below."
_NONE_FOUND = "No model matches."
_SORTED = {
    "name": "name",
    "distance": "distance on sounds kept aside (held-out)",
    "loss": "error on sounds kept aside (held-out loss)",
    "perplexity": "choices left open (held-out perplexity)",
    "dataset": "dataset",
    "sounds": "number of sounds",
}
_SAVE = """(text) => {
  const { address, name } = JSON.parse(text);
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}"""


@dataclass(frozen=True)
class Shelf:
    """The models as they were last read; reading takes a while, and changes nothing else."""

    entries: tuple[Entry, ...] = ()

    def entry(self, key: str) -> Entry | None:
        """The model with a key, if it is still there."""
        return next((entry for entry in self.entries if key_of(entry) == key), None)


@dataclass(frozen=True)
class View:
    """What somebody has opened in one browser; only what is pressed changes it.

    Attributes:
        shown: key of the model whose details are open; empty: none.
        compared: keys of up to two models that are compared.
        asked: what the open question is about: to delete or to promote all the same, and the reference.
    """

    shown: str = ""
    compared: tuple[str, ...] = ()
    asked: tuple[Literal["delete", "promote"], str] | None = None


def build(context: Context, studio: Studio, tab: gr.Tab) -> None:
    """Put the tab's controls into the open tab."""
    project = context.project
    shelf, view = gr.State(Shelf()), gr.State(View())
    with gr.Row():
        words = gr.Textbox(
            "", label="Search", placeholder="name, dataset, tag, alias …", scale=3, elem_id="library-search"
        )
        verdict = gr.Dropdown([_ANY, *VERDICTS], value=_ANY, label="Copies (memorization)", min_width=120)
        dataset = gr.Dropdown([_ANY], value=_ANY, label="Dataset", min_width=120)
        sort = gr.Dropdown([(_SORTED[each], each) for each in SORTS], value="name", label="Sorted by", min_width=140)
    trouble = gr.HTML(visible=False, elem_classes="d-hint", apply_default_css=False, elem_id="library-trouble")
    cards = cards_component("library-cards", _EMPTY)
    differences = gr.HTML(apply_default_css=False, elem_id="library-differences")
    both = gr.Button("Hear both, by the same seeds", size="md", visible=False, elem_id="library-hear-both")
    heard_both = gr.HTML(apply_default_css=False, elem_id="library-heard-both")
    with gr.Column(visible=False, elem_id="library-details") as opened:
        with gr.Row(elem_classes="d-line"):
            place = gr.Dropdown(
                [], label="Where", info="Files and versions in the registry with these weights.", scale=3, min_width=260
            )
            use = gr.Button("Make sounds", size="md", variant="primary", min_width=120, elem_id="library-use")
            enter = gr.Button("Register", size="md", min_width=100, elem_id="library-register")
            rise = gr.Button("Promote", size="md", min_width=100, elem_id="library-promote")
            save = gr.Button("Download", size="md", min_width=100, elem_id="library-download")
            remove = gr.Button("Delete …", size="md", min_width=100, elem_id="library-delete")
        with gr.Row(visible=False, elem_classes="d-line", elem_id="library-question") as question:
            asked = gr.HTML(apply_default_css=False)
            yes = gr.Button("Yes", variant="stop", scale=0, min_width=120, elem_id="library-yes")
            no = gr.Button("No, leave it", scale=0, min_width=120, elem_id="library-no")
        hear = gr.Button("Hear eight sounds of it", size="md", elem_id="library-hear")
        heard = gr.HTML(apply_default_css=False, elem_id="library-heard")
        details = gr.HTML(apply_default_css=False)
    with gr.Accordion("Import a model file", open=False), gr.Row():
        upload = gr.File(
            label="Model file", file_types=[EXTENSION], height=130, elem_id="library-file", scale=3, min_width=260
        )
        name = gr.Textbox(
            "", label="Name", info="Empty: the model's own.", max_length=100, scale=2, elem_id="library-name"
        )
        bring = gr.Button("Import", size="md", interactive=False, scale=0, min_width=120, elem_id="library-import")
    link = gr.Textbox("", visible="hidden")

    filters = [words, verdict, dataset, sort]
    found = [shelf, trouble, dataset]

    def listing(shelf: Shelf, view: View, words: str | None, verdict: str, dataset: str, sort: str) -> str:
        models = select(
            shelf.entries,
            words=(words or "").split(),
            verdict=None if verdict == _ANY else verdict,
            dataset=None if dataset == _ANY else dataset,
            sort=sort,
        )
        if not models:
            return nothing(_NONE_FOUND if shelf.entries else _EMPTY)
        return row_of(
            [
                card_of(entry, project, shown=key_of(entry) == view.shown, compared=key_of(entry) in view.compared)
                for entry in models
            ]
        )

    def read(*, registry: bool) -> Any:
        entries, unreadable = catalogue(project, registry=registry)
        datasets = sorted({entry.manifest.metadata.dataset for entry in entries})
        reasons = "".join(f"<li>left out: {escape(each.reason)}</li>" for each in unreadable)
        trouble = gr.HTML(f"<ul>{reasons}</ul>", visible=bool(unreadable))
        return Shelf(tuple(entries)), trouble, gr.Dropdown(choices=[_ANY, *datasets])

    @told
    def read_files() -> Any:
        return read(registry=False)

    @told
    def read_all() -> Any:
        return read(registry=True)

    @told
    def search(shelf: Shelf, view: View, *filters: str) -> Any:
        return listing(shelf, view, *filters)

    @told
    def pick(shelf: Shelf, view: View, words: str, verdict: str, dataset: str, sort: str, event: gr.EventData) -> Any:
        filters = words, verdict, dataset, sort
        act, key = picked(event)
        entry = shelf.entry(key)
        if entry is None:
            raise UsageError("this model is not here any more: open the tab again")
        if act == "compare":
            rest = tuple(each for each in view.compared if each != key)
            view = replace(view, compared=rest if key in view.compared else (*rest[-1:], key))
            two = gr.Button(visible=len(view.compared) == 2)
            different = _compared(shelf, view, project)
            return view, listing(shelf, view, *filters), different, two, "", gr.skip(), *_skipped(4)
        view = replace(view, shown="" if view.shown == key else key, asked=None)
        return view, listing(shelf, view, *filters), *_skipped(3), "", *_details(shelf, view, context)

    def heard_of(shelf: Shelf, keys: tuple[str, ...]) -> Iterator[str]:
        entries = [entry for entry in map(shelf.entry, keys) if entry is not None]
        if not entries:
            raise UsageError("open the details of a model first")
        names = [studio.models.name_of(entry) for entry in entries]
        yield from auditioned([(name, studio.models.path(name)) for name in names], context)

    @told_while
    def hear_one(shelf: Shelf, view: View) -> Iterator[str]:
        yield from heard_of(shelf, (view.shown,))

    @told_while
    def hear_both(shelf: Shelf, view: View) -> Iterator[str]:
        yield from heard_of(shelf, view.compared)

    @told
    def choose(shelf: Shelf, view: View, desk: Desk) -> Any:
        entry = shelf.entry(view.shown)
        if entry is None:
            raise UsageError("open the details of a model first")
        # The same weights in several places are one choice, and only what is among the choices stays chosen.
        model = studio.models.name_of(entry)
        notice(f"The tabs Generate and Codes now use {model}.", 4)
        return *studio.taken(desk, model), gr.Tabs(selected="generate")

    @told
    def do_register(place: str) -> None:
        if not is_file_reference(place):
            raise UsageError(f"{place} is registered already")
        version = register(Path(place), project)
        notice(f"{version.reference}{'' if version.created else ' was there already'}")

    @told
    def do_promote(view: View, place: str) -> Any:
        if is_file_reference(place):
            raise UsageError(f"{Path(place).name} is a file: register it first, then promote the version")
        try:
            version = promote(place, project)
        except NotPromoted as error:
            view = replace(view, asked=("promote", place))
            question = f"<p>Against <b>{escape(place)}</b> speaks: {escape('; '.join(error.reasons))}.</p>"
            return view, gr.Row(visible=True), question, gr.Button("Promote all the same")
        notice(f"{version.name}@champion is {version.reference}")
        return _calm(view)

    @told
    def do_save(desk: Desk, shelf: Shelf, view: View, place: str) -> str:
        entry = shelf.entry(view.shown)
        target = export(place, desk.new_file(f"model{EXTENSION}"), project)
        called = entry.manifest.metadata.name if entry else "model"
        return json.dumps({"address": context.link(target), "name": f"{called}{EXTENSION}"})

    @told
    def ask_delete(view: View, place: str) -> Any:
        found = deletable(place, project, force=True)
        what = found.relative_to(project).as_posix() if isinstance(found, Path) else found.reference
        champion = (
            ""
            if isinstance(found, Path) or CHAMPION not in found.aliases
            else " It is the one in use (champion) of its name."
        )
        view = replace(view, asked=("delete", place))
        question = f"<p>Delete <b>{escape(what)}</b> for good?{champion}</p>"
        return view, gr.Row(visible=True), question, gr.Button("Delete for good")

    @told
    def answer_yes(view: View) -> Any:
        if view.asked is None:
            return _calm(view)
        act, reference = view.asked
        if act == "promote":
            version = promote(reference, project, force=True)
            notice(f"{version.name}@champion is {version.reference}")
        else:
            removed = delete(reference, project, force=True)
            notice(f"Deleted {Path(removed).name if is_file_reference(removed) else removed}.")
        return _calm(view)

    @told
    def take(upload: str | None, name: str | None) -> Any:
        if upload is None:
            raise UsageError("drop a model file first")
        file = context.uploaded(upload)
        try:
            path = import_file(file, project, name=(name or "").strip() or None)
        except DistillError as error:
            raise type(error)(str(error).replace(str(file), file.name)) from error
        notice(f"It is {path.relative_to(project).as_posix()} now.")
        return None

    hidden: dict[str, Any] = {"show_progress": "hidden"}
    shown = [opened, details, place, question]

    def listed(event: Any) -> Any:
        """After models were read: the cards by what is searched for by then, as reading may have taken a while."""
        return event.success(search, [shelf, view, *filters], cards, **hidden)

    def again(event: Any) -> None:
        """After what changes models: the list anew, and the details of what is still there."""
        details_of_rest = told(lambda shelf, view: _details(shelf, view, context))
        listed(event.success(read_all, None, found, **hidden)).success(details_of_rest, [shelf, view], shown, **hidden)

    files_first = listed(tab.select(read_files, None, found, **hidden))
    listed(files_first.then(read_all, None, found, **hidden))
    for control in (verdict, dataset, sort):
        control.input(search, [shelf, view, *filters], cards, **hidden)
    words.change(search, [shelf, view, *filters], cards, trigger_mode="always_last", **hidden)
    picked_outputs = [view, cards, differences, both, heard_both, heard, *shown]
    cards.pick(pick, [shelf, view, *filters], picked_outputs, trigger_mode="multiple", **hidden)
    hear.click(hear_one, [shelf, view], heard, show_progress="minimal")
    both.click(hear_both, [shelf, view], heard_both, show_progress="minimal")
    use.click(choose, [shelf, view, studio.desk], [*studio.choices.values(), studio.tabs])
    again(enter.click(do_register, place, None, show_progress_on=place))
    asking = [view, question, asked, yes]
    again(rise.click(do_promote, [view, place], asking, show_progress_on=place))
    save.click(do_save, [studio.desk, shelf, view, place], link).success(None, link, None, js=_SAVE)
    remove.click(ask_delete, [view, place], asking, **hidden)
    again(yes.click(answer_yes, view, asking))
    no.click(_calm, view, asking, **hidden)
    again(bring.click(take, [upload, name], upload, show_progress_on=upload))
    upload.change(lambda path: gr.Button(interactive=path is not None), upload, bring, **hidden)
    place.change(_able, place, [enter, rise], **hidden)


def _details(shelf: Shelf, view: View, context: Context) -> tuple[Any, Any, Any, Any]:
    entry = shelf.entry(view.shown)
    if entry is None:
        return gr.Column(visible=False), "", gr.skip(), gr.Row(visible=False)
    places = places_of(entry, context.project)
    # What is promoted lies in the registry: it comes first.
    value = next((reference for _, reference in places if not is_file_reference(reference)), places[0][1])
    waits = view.asked is not None
    shown = details_of(entry, context)
    return gr.Column(visible=True), shown, gr.Dropdown(choices=places, value=value), gr.Row(visible=waits)


def _able(place: str | None) -> tuple[Any, Any]:
    """What can be done with a model where it is: files are registered, versions are promoted."""
    if not place:
        return gr.Button(interactive=False), gr.Button(interactive=False)
    file = is_file_reference(place)
    return gr.Button(interactive=file), gr.Button(interactive=not file)


def _compared(shelf: Shelf, view: View, project: Path) -> str:
    entries = [entry for entry in map(shelf.entry, view.compared) if entry is not None]
    if len(entries) < 2:
        return nothing("Choose a second model to compare with.") if entries else ""
    references = [places_of(entry, project)[0][1] for entry in entries]
    names = [f"{entry.manifest.metadata.name} ({places_of(entry, project)[0][0]})" for entry in entries]
    return differences_of(compare(references, project), names)


def _calm(view: View) -> tuple[Any, Any, Any, Any]:
    """No question is open."""
    return replace(view, asked=None), gr.Row(visible=False), "", gr.skip()


def _skipped(count: int) -> list[Any]:
    return [gr.skip() for _ in range(count)]
