"""Facts about a training that are in none of its outputs, kept in its workspace until they are recorded.

These are times, memory, what started it, and the bill of materials of its environment.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.files import canonical_json, storage_errors, write_bytes, write_json
from distill.stages.workspace import Workspace
from distill.tracking.content import GROUPS
from distill.tracking.sbom import bill_of_materials

SCHEMA = 1
FOLDER, SUFFIX = "environment", ".cdx.json"


@dataclass(frozen=True)
class TrainingNotes:
    """A training that ran in a workspace: what started it, and figures by epoch (`epoch_seconds`, `memory_mb`, ...)."""

    started_by: str
    epochs: dict[int, dict[str, float]] = field(default_factory=dict)


def note_start(workspace: Workspace, stage: str, *, lineage: str, started_by: str) -> None:
    """Note that a stage trains, and the environment it trains in; notes on the same model are kept, others dropped.

    Raises:
        StorageError: the note cannot be written.
    """
    if read_notes(workspace, stage, lineage) is None:
        path = _figures_file(workspace, stage)
        with storage_errors(path, "write"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_line({"schema": SCHEMA, "lineage": lineage, "started_by": started_by}))
    write_json(_bill_file(workspace, stage), bill_of_materials())


def note_epoch(workspace: Workspace, stage: str, epoch: int, figures: Mapping[str, float]) -> None:
    """Note the figures of an epoch.

    Raises:
        StorageError: the note cannot be written.
    """
    path = _figures_file(workspace, stage)
    with storage_errors(path, "write"), path.open("ab") as handle:
        handle.write(_line({"epoch": epoch, "figures": dict(figures)}))


def relabel(workspace: Workspace, before: str, after: str) -> None:
    """Attribute the notes on a model to another lineage: that of the same training after a live change.

    Raises:
        StorageError: the note cannot be written.
    """
    for path in (workspace.root / ".distill" / "measured").glob("*.jsonl"):
        lines = list(_readable(path.read_bytes()))
        if lines and lines[0].get("lineage") == before:
            lines[0]["lineage"] = after
            write_bytes(path, b"".join(map(_line, lines)))


def read_notes(workspace: Workspace, stage: str, lineage: str) -> TrainingNotes | None:
    """The notes on a stage of the model with this lineage; None if it did not train here."""
    path = _figures_file(workspace, stage)
    lines = list(_readable(path.read_bytes())) if path.is_file() else []
    if not lines or lines[0].get("schema") != SCHEMA or lines[0].get("lineage") != lineage:
        return None
    # An epoch that was trained again after a crash counts as it was recorded first.
    return TrainingNotes(lines[0]["started_by"], {line["epoch"]: line["figures"] for line in reversed(lines[1:])})


def _figures_file(workspace: Workspace, stage: str) -> Path:
    return workspace.root / ".distill" / "measured" / f"{stage}.jsonl"


def _line(value: Mapping[str, object]) -> bytes:
    # It starts a line as well: the one before may have been cut off.
    return b"\n" + canonical_json(value) + b"\n"


def _readable(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def bills_of(workspace: Workspace, lineage: str) -> Iterator[tuple[Path, str]]:
    """The bills of materials of the stages that trained the model of a lineage here, each with its folder there."""
    for stage in GROUPS:
        path = _bill_file(workspace, stage)
        if path.is_file() and read_notes(workspace, stage, lineage) is not None:
            yield path, FOLDER


def _bill_file(workspace: Workspace, stage: str) -> Path:
    return workspace.root / ".distill" / FOLDER / f"{stage}{SUFFIX}"
