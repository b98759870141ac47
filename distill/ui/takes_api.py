"""The JSON API of the takes: what the tab Takes lists, and what it does with them."""

import secrets
from typing import get_args

from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from distill.files import plain_name
from distill.library.takes import Shown, Take, Takes, copy_takes, filter_takes, heard_of, write_zip
from distill.ui.answers import Answer, Link, Number, json_answer
from distill.ui.cards import place_values
from distill.ui.context import Context

PAGE = 24
MOST_AT_ONCE = 5000
# What was asked for, as people say it.
_ACTIONS = {
    "generate": "new",
    "continue": "goes on from",
    "fill": "made anew in",
    "vary": "a variation of",
    "morph": "between",
}


class Placement(Answer):
    """Where a stereo sound lies, as the bar of its card shows it."""

    place: str = Field(description="in words")
    left: Number = Field(description="of the bar, in percent")
    breadth: Number = Field(description="of the bar, in percent")
    stereo: str


class TakeAnswer(Answer):
    """A generated sound."""

    id: str = Field(description="the path of its file below generated/")
    name: str
    file: str = Field(description="the name under which a browser saves it")
    kept: bool
    dropped: bool
    made: float = Field(description="when its file was written, in s since 1970")
    words: str = Field(description="the model, what was asked for, and the seed")
    model: bool = Field(description="whether it is known what made it")
    seconds: float
    lufs: Number = Field(description="loudness of the loudest 400 ms")
    wave: str = Field(description="outline of the waveform, as a path of SVG")
    place: Placement | None = Field(description="null: it is mono")
    sound: Link


class Counts(Answer):
    """How many takes there are to show."""

    all: int
    kept: int
    bin: int


class Marked(Answer):
    """Takes as they are noted now."""

    takes: list[TakeAnswer]


class There(Answer):
    """Takes that can still be exported."""

    takes: list[str] = Field(description="their ids")


class TakesPage(Marked):
    """One page of the takes that fit a search, the newest first."""

    page: int = Field(description="from 0")
    pages: int
    found: int
    counts: Counts


class Download(Answer):
    """A file to save."""

    address: Link
    name: str


class Copied(Answer):
    """A folder with copies of takes."""

    folder: str = Field(description="from the project's folder on")


class Chosen(BaseModel):
    """Takes by their ids."""

    model_config = ConfigDict(extra="forbid")
    takes: list[str] = Field(max_length=MOST_AT_ONCE)


class Marks(Chosen):
    """What is noted of takes; what is left out stays as it is."""

    kept: bool | None = None
    dropped: bool | None = None
    name: str | None = None


def add_takes(app: FastAPI, context: Context) -> None:
    """Add the routes below `/api/takes` to an application."""
    router = APIRouter(prefix="/api/takes")
    takes = Takes(context.project)

    @router.get("", response_model=TakesPage)
    def listed(show: Shown = "all", words: str = Query("", max_length=200), page: int = Query(0, ge=0)) -> Response:
        every = takes.all()
        found = filter_takes(every, show, words)
        pages = max(1, -(-len(found) // PAGE))
        page = min(page, pages - 1)
        return json_answer(
            TakesPage(
                takes=[_take(take) for take in found[page * PAGE : (page + 1) * PAGE]],
                page=page,
                pages=pages,
                found=len(found),
                counts=Counts(**{each: len(filter_takes(every, each)) for each in get_args(Shown)}),
            ),
            context,
        )

    @router.post("", response_model=Marked)
    def mark(marks: Marks) -> Response:
        takes.mark(marks.takes, kept=marks.kept, dropped=marks.dropped, name=marks.name)
        return json_answer(Marked(takes=[_take(take) for take in takes.named(marks.takes)]), context)

    @router.post("/there", response_model=There)
    def there(chosen: Chosen) -> Response:
        known = {take.id for take in filter_takes(takes.all(), "all")}
        return json_answer(There(takes=[each for each in chosen.takes if each in known]), context)

    @router.post("/export", response_model=Download)
    def export(chosen: Chosen) -> Response:
        found = takes.named(chosen.takes)
        target = context.files / "exports" / f"{secrets.token_hex(8)}.zip"
        write_zip(found, target)
        name = f"{plain_name(context.project.name)}-{len(found)}-sounds.zip"
        return json_answer(Download(address=target, name=name), context)

    @router.post("/kit", response_model=Download)
    def kit(chosen: Chosen) -> Response:
        # It brings torch along.
        from distill.kits.kit import kit_of
        from distill.kits.pads import pads_named

        found = takes.named(chosen.takes)
        folder = context.files / "exports" / secrets.token_hex(8) / f"{plain_name(context.project.name)}-kit"
        made = kit_of([take.path for take in found], pads_named([take.name for take in found]), folder)
        return json_answer(Download(address=made.archive, name=made.archive.name), context)

    @router.post("/folder", response_model=Copied)
    def folder(chosen: Chosen) -> Response:
        place = copy_takes(takes.named(chosen.takes), context.project / "exports")
        return json_answer(Copied(folder=place.relative_to(context.project).as_posix()), context)

    app.include_router(router)


def _take(take: Take) -> TakeAnswer:
    heard, sidecar = heard_of(take.path), take.sidecar()
    words = []
    if sidecar is not None:
        request = sidecar.request
        files = [each.path.rpartition("/")[2] for each in (sidecar.given_file, sidecar.other_file) if each]
        words = [sidecar.model_name, f"{_ACTIONS[request.action]} {' and '.join(files)}".strip()]
        words += [] if request.action == "morph" else [f"seed {sidecar.sound.seed}"]
    return TakeAnswer(
        id=take.id,
        name=take.name,
        file=f"{plain_name(take.name)}{take.path.suffix.lower()}",
        kept=take.note.kept,
        dropped=take.note.dropped,
        made=take.made,
        words=" · ".join(words),
        model=sidecar is not None,
        seconds=heard.seconds,
        lufs=heard.lufs,
        wave=heard.wave,
        place=None if heard.place is None else Placement.model_validate(place_values(heard.place)),
        sound=take.path,
    )
