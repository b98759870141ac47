"""What no output of a training tells, kept in its workspace until it is recorded: times, memory, what started it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.files import canonical_json, storage_errors, write_bytes
from distill.stages.workspace import Workspace

SCHEMA = 1


@dataclass(frozen=True)
class Measured:
    """A training that ran in a workspace: what started it, and figures by epoch (`epoch_seconds`, `memory_mb`, ...)."""

    started_by: str
    epochs: dict[int, dict[str, float]] = field(default_factory=dict)


def note_start(workspace: Workspace, stage: str, *, lineage: str, started_by: str) -> None:
    """Note that a stage trains; what was noted of the same model is kept, of another one it is forgotten.

    Raises:
        StorageError: the note cannot be written.
    """
    if read_measured(workspace, stage, lineage) is not None:
        return
    path = _file(workspace, stage)
    with storage_errors(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_line({"schema": SCHEMA, "lineage": lineage, "started_by": started_by}))


def note_epoch(workspace: Workspace, stage: str, epoch: int, figures: Mapping[str, float]) -> None:
    """Note the figures of an epoch.

    Raises:
        StorageError: the note cannot be written.
    """
    path = _file(workspace, stage)
    with storage_errors(path, "write"), path.open("ab") as handle:
        handle.write(_line({"epoch": epoch, "figures": dict(figures)}))


def relabel(workspace: Workspace, before: str, after: str) -> None:
    """Let what was noted of a model count for another lineage: that of the same training after a live change.

    Raises:
        StorageError: the note cannot be written.
    """
    for path in (workspace.root / ".distill" / "measured").glob("*.jsonl"):
        lines = list(_readable(path.read_bytes()))
        if lines and lines[0].get("lineage") == before:
            lines[0]["lineage"] = after
            write_bytes(path, b"".join(map(_line, lines)))


def read_measured(workspace: Workspace, stage: str, lineage: str) -> Measured | None:
    """What was noted of a stage of the model with this lineage; None when it did not train here."""
    path = _file(workspace, stage)
    lines = list(_readable(path.read_bytes())) if path.is_file() else []
    if not lines or lines[0].get("schema") != SCHEMA or lines[0].get("lineage") != lineage:
        return None
    # An epoch that was trained again after a crash counts as it was recorded first.
    return Measured(lines[0]["started_by"], {line["epoch"]: line["figures"] for line in reversed(lines[1:])})


def _file(workspace: Workspace, stage: str) -> Path:
    return workspace.root / ".distill" / "measured" / f"{stage}.jsonl"


def _line(value: Mapping[str, object]) -> bytes:
    # It starts a line as well: the one before may have been cut off.
    return b"\n" + canonical_json(value) + b"\n"


def _readable(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        with suppress(ValueError):
            yield json.loads(line)
