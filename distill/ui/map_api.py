"""The JSON API of the map: generated sounds and those of a run, by where they lie beside each other."""

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, FastAPI
from fastapi.responses import Response
from pydantic import Field

from distill.errors import DistillError
from distill.library.takes import Takes, heard_of
from distill.params import read_params
from distill.runs.folder import default_run
from distill.stages.workspace import Workspace
from distill.ui.answers import Answer, Link, Number, json_answer
from distill.ui.context import Context
from distill.ui.start_state import standing_of

# More points than these nobody tells apart: the newest takes, and the first sounds of the run.
MOST = 400


class PointAnswer(Answer):
    """A sound on the map; only generated ones come with duration, loudness and waveform."""

    id: str = Field(description="of the take; empty for one of your sounds")
    name: str
    kind: Literal["generated", "yours"]
    file: str
    sound: Link
    places: dict[str, Number] = Field(description="from 0 to 1 on each axis; null: it has no place there")
    seconds: float | None = None
    lufs: Number = Field(None, description="loudness of the loudest 400 ms")
    wave: str | None = Field(None, description="outline of the waveform, as a path of SVG")
    place: tuple[float, float] | None = Field(None, description="between left and right, and how wide; null: mono")


class Map(Answer):
    """Sounds by where they lie beside each other."""

    axes: list[str]
    points: list[PointAnswer]


def add_map(app: FastAPI, context: Context) -> None:
    """Add the route `/api/map` to an application."""
    router = APIRouter(prefix="/api")

    @router.get("/map", response_model=Map)
    def points() -> Response:
        # torch is loaded once the map is opened.
        from distill.library.sound_map import AXES, sound_map

        sounds: dict[Path, dict[str, Any]] = {
            take.path: {"id": take.id, "name": take.name, "kind": "generated", **vars(heard_of(take.path))}
            for take in [take for take in Takes(context.project).all() if not take.note.dropped][:MOST]
        }
        for path in sounds_of_run(context.project)[:MOST]:
            sounds.setdefault(path, {"id": "", "name": path.stem, "kind": "yours"})
        found = [
            PointAnswer(**sounds[point.path], file=point.path.name, sound=point.path, places=point.places)
            for point in sound_map(list(sounds))
        ]
        return json_answer(Map(axes=list(AXES), points=found), context)

    app.include_router(router)


def sounds_of_run(project: Path) -> list[Path]:
    """The files of the run that is shown, else of the newest, as far as they are still where they were."""
    from distill.dataset.store import PreparedDataset

    with suppress(DistillError, OSError):
        root = standing_of(project).root or default_run(project)
        workspace = Workspace(root)
        folder = (root / read_params(workspace.params_file).data.path).resolve()
        files = PreparedDataset(workspace.prepared).manifest
        paths = [folder / name for name in files["path"][files["usable"]]]
        return [path for path in paths if path.resolve().is_relative_to(folder) and path.is_file()]
    return []
