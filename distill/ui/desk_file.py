"""A desk as a file: what lies on it and is nowhere else, found again when the page's server is started anew."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from distill.codes.file import document_of, history_in
from distill.codes.grid import Source
from distill.codes.history import History
from distill.codes.model import CodesModel
from distill.codes.session import EditSession
from distill.errors import ArtifactError, DistillError
from distill.files import canonical_json, finite, read_json, write_bytes
from distill.ui.desk import Desk, Sheet, Which
from distill.ui.results import Result

SCHEMA = 1
FILE = "desk.json"
WHAT = "note about an open tab"


class _Sheet(BaseModel):
    model_config = ConfigDict(extra="forbid")
    model: str
    name: str
    grid: dict[str, Any]


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: Path
    seed: int
    seconds: float
    model_name: str
    codes: list[list[list[int]]]
    source: tuple[str, float, float] | None
    words: str
    wave: str
    picture: Path
    place: tuple[float, float] | None
    kept: bool
    key: str


class _Note(BaseModel):
    """The document of a desk; `schema` stands beside these keys."""

    model_config = ConfigDict(extra="ignore")
    sheets: dict[Which, _Sheet] = {}
    earlier: list[_Sheet] = []
    results: list[_Result] = []
    dropped: Path | None = None
    forms: dict[str, dict[str, Any]] = {}


# The names of a model and a grid, and what was done to it.
_Grid = tuple[str, str, History]

_AS_THEY_ARE = ("seed", "seconds", "model_name", "words", "wave", "place", "kept", "key")


@dataclass(frozen=True)
class Content:
    """What lies on a desk at one moment. Two of the same moment are equal, and cheap to compare."""

    sheets: tuple[tuple[Which, _Grid], ...]
    earlier: tuple[_Grid, ...]
    results: tuple[Result, ...]
    dropped: Path | None
    forms: tuple[tuple[str, dict[str, Any]], ...]

    @classmethod
    def of(cls, desk: Desk) -> "Content":
        with desk.lock:
            sheets = [(which, _grid_of(each)) for which, each in desk.sheets.items()]
            earlier = map(_grid_of, desk.earlier)
            return cls(tuple(sheets), tuple(earlier), desk.results, desk.dropped, tuple(desk.forms.items()))

    def write(self, folder: Path) -> None:
        """Write it into a desk's folder, whole or not at all.

        Raises:
            StorageError: it cannot be written.
        """
        values = {
            "schema": SCHEMA,
            "sheets": {which: _document(*grid) for which, grid in self.sheets},
            "earlier": [_document(*grid) for grid in self.earlier],
            "results": [_values(result) for result in self.results],
            "dropped": None if self.dropped is None else str(self.dropped),
            "forms": dict(self.forms),
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / FILE, canonical_json(finite(values)))


def restore(desk: Desk, folder: Path, load: Callable[[str], CodesModel]) -> None:
    """Put on a desk what its file says; what cannot be used any more, such as a grid whose model is gone, is left out.

    Raises:
        ArtifactError: the file is damaged.
        StorageError: it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return
    try:
        note = _Note.model_validate(read_json(path, what=WHAT, schema=SCHEMA))
    except ValidationError as error:
        raise ArtifactError(f"{path} is no usable {WHAT}") from error

    def brought(sheet: _Sheet) -> Sheet:
        history = history_in(sheet.grid, f"{path}, {sheet.name}")
        work = EditSession.begin(load(sheet.model), history)
        return Sheet(work, sheet.model, sheet.name, edited=bool(history.edits))

    for which, sheet in note.sheets.items():
        with suppress(DistillError):
            desk.lay(which, brought(sheet))
    for sheet in note.earlier:
        with suppress(DistillError):
            desk.earlier = (*desk.earlier, brought(sheet))
    results = [_result(each) for each in note.results if each.path.is_file() and each.picture.is_file()]
    desk.results, desk.forms, desk.left = tuple(results), note.forms, note.forms
    desk.dropped = note.dropped if note.dropped is not None and note.dropped.is_dir() else None


def _grid_of(sheet: Sheet) -> _Grid:
    return sheet.model_name, sheet.name, sheet.work.history


def _document(model: str, name: str, history: History) -> dict[str, Any]:
    return {"model": model, "name": name, "grid": document_of(history)}


def _values(result: Result) -> dict[str, Any]:
    source = result.source
    return {
        **{key: getattr(result, key) for key in _AS_THEY_ARE},
        "path": str(result.path),
        "picture": str(result.picture),
        "codes": result.codes.tolist(),
        "source": None if source is None else [source.name, source.seconds, source.gain_db],
    }


def _result(each: _Result) -> Result:
    source = None if each.source is None else Source(*each.source)
    values = {**dict(each), "codes": np.array(each.codes, dtype=np.int64), "source": source}
    return Result(**values)
