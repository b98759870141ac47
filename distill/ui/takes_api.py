"""The JSON API of the takes: what the tab Takes lists, and what it does with them."""

import secrets
from typing import Any

from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from distill.files import plain_name
from distill.library.takes import Shown, Take, Takes, copy_takes, filter_takes, write_zip
from distill.ui.api import json_answer
from distill.ui.cards import placed
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

    @router.get("")
    def listed(show: Shown = "all", words: str = Query("", max_length=200), page: int = Query(0, ge=0)) -> Response:
        every = takes.all()
        found = filter_takes(every, show, words)
        page = min(page, max(0, -(-len(found) // PAGE) - 1))
        return json_answer(
            {
                "takes": [_values(take, context) for take in found[page * PAGE : (page + 1) * PAGE]],
                "page": page,
                "pages": max(1, -(-len(found) // PAGE)),
                "found": len(found),
                "counts": {each: len(filter_takes(every, each)) for each in ("all", "kept", "bin")},
            }
        )

    @router.post("")
    def mark(marks: Marks) -> Response:
        takes.mark(marks.takes, kept=marks.kept, dropped=marks.dropped, name=marks.name)
        return json_answer({"takes": [_values(take, context) for take in takes.named(marks.takes)]})

    @router.post("/export")
    def export(chosen: Chosen) -> Response:
        found = takes.named(chosen.takes)
        target = context.files / "exports" / f"{secrets.token_hex(8)}.zip"
        write_zip(found, target)
        name = f"{plain_name(context.project.name)}-{len(found)}-sounds.zip"
        return json_answer({"address": context.link(target), "name": name})

    @router.post("/kit")
    def kit(chosen: Chosen) -> Response:
        # It brings torch along.
        from distill.kits.kit import kit_of
        from distill.kits.pads import pads_named

        found = takes.named(chosen.takes)
        folder = context.files / "exports" / secrets.token_hex(8) / f"{plain_name(context.project.name)}-kit"
        made = kit_of([take.path for take in found], pads_named([take.name for take in found]), folder)
        return json_answer({"address": context.link(made.archive), "name": made.archive.name})

    @router.post("/folder")
    def folder(chosen: Chosen) -> Response:
        place = copy_takes(takes.named(chosen.takes), context.project / "exports")
        return json_answer({"folder": place.relative_to(context.project).as_posix()})

    app.include_router(router)


def _values(take: Take, context: Context) -> dict[str, Any]:
    heard, said = take.heard(), take.sidecar()
    words = []
    if said is not None:
        files = [each.path.rpartition("/")[2] for each in (said.given_file, said.other_file) if each]
        words = [said.model_name, f"{_ACTIONS[said.request.action]} {' and '.join(files)}".strip()]
        words += [] if said.request.action == "morph" else [f"seed {said.sound.seed}"]
    return {
        "id": take.id,
        "name": take.name,
        "file": f"{plain_name(take.name)}{take.path.suffix.lower()}",
        "kept": take.note.kept,
        "dropped": take.note.dropped,
        "made": take.made,
        "words": " · ".join(words),
        "model": said is not None,
        "seconds": heard.seconds,
        "lufs": heard.lufs,
        "wave": heard.wave,
        "place": None if heard.place is None else placed(heard.place),
        "sound": context.link(take.path),
    }
