"""The grid file: a small JSON document with the codes as they are, and how they came to be so."""

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill.artifact.part import Digest
from distill.codes.edits import CellsInFile, TaggedEdit, array_of, require_label
from distill.codes.grid import CodeGrid, ModelIdentity, Source
from distill.codes.history import History
from distill.errors import ArtifactError, DistillError, StorageError
from distill.files import read_json, replacing, write_bytes

SCHEMA: Final = 1
_LINE = 120

Hertz = Annotated[float, Field(ge=0.0)]
Labels = Annotated[tuple[str, ...], Field(min_length=1)]


class _Part(BaseModel):
    """A part of the document; unknown keys are refused, as they would be lost when the grid is written again."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelInFile(_Part):
    """The model that the codes belong to."""

    name: str = Field(description="What it is called.")
    digest: Digest = Field(description="Digest of all its weights, as in the model file.")
    codec_digest: Digest = Field(description="Digest of the VQ-VAE's weights and the spectrogram's settings alone.")
    codebook_size: int = Field(ge=2, le=4096, description="Codes in each level's codebook: 0 to this less 1.")


class SourceInFile(_Part):
    """The sound that was encoded."""

    name: str = Field(description="Name of its file.")
    seconds: float = Field(gt=0.0, le=1e6, description="Its duration, in s.")
    gain_db: float = Field(
        ge=-200.0, le=200.0, description="Gain, in dB, from its level to that of what its codes decode to."
    )


class StartInFile(_Part):
    """The grid before all edits."""

    codes: CellsInFile
    levels: Labels
    frozen: tuple[Annotated[int, Field(ge=0)], ...] = ()


class HistoryInFile(_Part):
    """What was done to the grid."""

    start: StartInFile
    edits: Annotated[tuple[TaggedEdit, ...], Field(min_length=1)]
    position: int = Field(ge=0, description="Edits that are done; those after them were undone.")


class GridDocument(_Part):
    """The document of a grid file."""

    format: Literal["distill_codes"] = "distill_codes"
    schema_number: Literal[1] = Field(SCHEMA, alias="schema", description="Readers refuse a greater one.")
    model: ModelInFile
    levels: Labels = Field(description="What each level is called, the coarsest first.")
    frozen: tuple[Annotated[int, Field(ge=0)], ...] = Field((), description="Levels that edits leave as they are.")
    seconds_per_column: float = Field(gt=0.0, le=10.0, description="Time from one column to the next, in s.")
    bands: Annotated[tuple[tuple[Hertz, Hertz], ...], Field(min_length=1)] = Field(
        description="Lowest and highest frequency of each band, in Hz, the lowest band first."
    )
    source: SourceInFile | None = Field(None, description="null: the codes were not made from a sound.")
    codes: CellsInFile = Field(description="The codes now, [column][band][level].")
    history: HistoryInFile | None = Field(None, description="null: there are no edits.")


def write_grid(path: Path, history: History) -> None:
    """Write a grid with its history, whole or not at all; the same content gives the same bytes.

    Raises:
        StorageError: the file cannot be written.
    """
    write_bytes(_written(path), grid_text(history).encode())


def write_grids(first: Path, first_history: History, second: Path, second_history: History) -> None:
    """Write two grids that changed together: neither file is replaced before both are written.

    Raises:
        StorageError: a file cannot be written.
    """
    if first.resolve() == second.resolve():
        raise StorageError(f"cannot write two grids to {first}")
    with replacing(_written(first)) as one, replacing(_written(second)) as other:
        one.write_bytes(grid_text(first_history).encode())
        other.write_bytes(grid_text(second_history).encode())


def _written(path: Path) -> Path:
    """The file that is replaced: behind a link the grid that was read, not the link."""
    return path.resolve() if path.is_symlink() else path


def read_grid(path: Path) -> History:
    """Read a grid with its history.

    Raises:
        ArtifactError: the file is missing, damaged, foreign or of a newer schema, or its codes are not what its
            history gives.
        StorageError: the file is there and cannot be read.
    """
    if not path.exists():
        raise ArtifactError(f"{path}: there is no such grid file; distill encode makes one")
    return history_in(read_json(path, what="grid of codes", schema=SCHEMA), str(path))


def history_in(values: dict[str, Any], where: str) -> History:
    """The grid with its history in a document that `document_of` made, or a file holds; `where` names it in errors.

    Raises:
        ArtifactError: it is damaged or foreign, or its codes are not what its history gives.
    """
    document = _document(values, where)
    try:
        return _history(document)
    except DistillError as error:
        raise ArtifactError(f"{where} is a grid that cannot be used: {error}") from error


def grid_text(history: History) -> str:
    """The JSON text of a grid with its history; small lists and objects stand in one line."""
    return _laid_out(document_of(history)) + "\n"


def schema_text() -> str:
    """The JSON schema of the document, for readers in other languages."""
    schema = GridDocument.model_json_schema(mode="validation", by_alias=True)
    schema["title"] = "Grid of codes"
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["required"] = sorted({*schema["required"], "format", "schema"})
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _document(values: dict[str, Any], where: str) -> GridDocument:
    if values.get("format") != "distill_codes":
        raise ArtifactError(f"{where} is not a grid of codes: its format is {values.get('format')!r}")
    try:
        return GridDocument.model_validate(values)
    except RecursionError as error:
        raise ArtifactError(f"{where} is not a readable grid of codes: its lists are nested too deep") from error
    except ValidationError as error:
        found = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise ArtifactError(f"{where} is a grid that cannot be used: {'; '.join(found[:3])}{more}") from error


def _history(document: GridDocument) -> History:
    now = _grid(document, StartInFile(codes=document.codes, levels=document.levels, frozen=document.frozen))
    if document.history is None:
        return History(now)
    past = document.history
    if past.position > len(past.edits):
        raise ArtifactError(f"history.position is {past.position}, but there are {len(past.edits)} edits")
    history = History(_grid(document, past.start), past.edits)
    # Those that were undone must fit, too: they may be done again.
    for number, edit in enumerate(past.edits):
        try:
            history = history.do(edit)
        except DistillError as error:
            raise ArtifactError(f"edit {number} ({edit.kind}): {error}") from error
    history = History(history.start, past.edits, past.position)
    if history.grid != now:
        raise ArtifactError("its codes, levels or frozen are not what its history gives; set history to null")
    return history


def _grid(document: GridDocument, state: StartInFile) -> CodeGrid:
    for label in state.levels:
        require_label(label)
    model, source = document.model, document.source
    return CodeGrid(
        codes=array_of(state.codes),
        model=ModelIdentity(model.name, model.digest, model.codec_digest),
        codebook_size=model.codebook_size,
        labels=state.levels,
        seconds_per_column=document.seconds_per_column,
        bands_hz=document.bands,
        source=None if source is None else Source(source.name, source.seconds, source.gain_db),
        frozen=tuple(sorted(set(state.frozen))),
    )


def document_of(history: History) -> dict[str, Any]:
    """A grid with its history as the values of a JSON document."""
    grid, start = history.grid, history.start
    values: dict[str, Any] = {
        "format": "distill_codes",
        "schema": SCHEMA,
        "model": {**vars(grid.model), "codebook_size": grid.codebook_size},
        "levels": grid.labels,
        "frozen": grid.frozen,
        "seconds_per_column": grid.seconds_per_column,
        "bands": grid.bands_hz,
        "source": None if grid.source is None else vars(grid.source),
        "codes": grid.codes.tolist(),
        "history": None,
    }
    if history.edits:
        values["history"] = {
            "start": {"codes": start.codes.tolist(), "levels": start.labels, "frozen": start.frozen},
            "edits": [edit.model_dump(mode="json") for edit in history.edits],
            "position": history.position,
        }
    return values


def _laid_out(value: Any, indent: str = "") -> str:
    """JSON in which whatever fits stands in one line: a column of codes, an edit."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if len(indent) + len(line) <= _LINE or not isinstance(value, dict | list | tuple):
        return line
    inner = indent + " "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {_laid_out(item, inner)}" for key, item in value.items()]
    else:
        items = [_laid_out(item, inner) for item in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}\n" + ",\n".join(inner + item for item in items) + f"\n{indent}{right}"
