"""Facts about a training that are in none of its outputs, kept in its workspace until they are recorded.

These are times, memory, what started it, and the bill of materials of its environment as CycloneDX 1.6.
"""

import json
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

from distill import __version__
from distill.files import canonical_json, storage_errors, write_bytes, write_json
from distill.stages.workspace import Workspace
from distill.tracking.content import GROUPS

SCHEMA = 1
FOLDER, SUFFIX = "environment", ".cdx.json"
_LICENCE = "License :: "
_LONGEST = 200


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


def bill_of_materials() -> dict[str, Any]:
    """A CycloneDX document of the installed distributions; the same environment gives the same document.

    It has neither time nor serial number, and names no machine and no folder.
    """
    found: dict[str, dict[str, Any]] = {}
    for each in distributions():
        # The first on the path is imported; a half-removed one is only a folder.
        if (name := _field(each, "Name")) and _field(each, "Version"):
            found.setdefault(_canonical(name), _component(each))
    python = {
        "type": "platform",
        "bom-ref": "python",
        "name": platform.python_implementation(),
        "version": platform.python_version(),
    }
    own = {"type": "application", "bom-ref": "distill", "name": "distill", "version": __version__}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": [python, *(found[name] for name in sorted(found))],
    }


def bills_of(workspace: Workspace, lineage: str) -> Iterator[tuple[Path, str]]:
    """The bills of materials of the stages that trained the model of a lineage here, each with its folder there."""
    for stage in GROUPS:
        path = _bill_file(workspace, stage)
        if path.is_file() and read_notes(workspace, stage, lineage) is not None:
            yield path, FOLDER


def _bill_file(workspace: Workspace, stage: str) -> Path:
    return workspace.root / ".distill" / FOLDER / f"{stage}{SUFFIX}"


def _component(distribution: Distribution) -> dict[str, Any]:
    name, version = _field(distribution, "Name"), _field(distribution, "Version")
    purl = f"pkg:pypi/{_canonical(name)}@{quote(version, safe='')}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    licences = _licences(distribution)
    return {**component, "licenses": licences} if licences else component


def _licences(distribution: Distribution) -> list[dict[str, Any]]:
    """As the distribution states them: an SPDX expression, else its classifiers, else the first line of a text."""
    if expression := _field(distribution, "License-Expression"):
        return [{"expression": expression}]
    classifiers = [each for each in distribution.metadata.get_all("Classifier", []) if each.startswith(_LICENCE)]
    classifiers = sorted({each.rpartition(" :: ")[2] for each in classifiers} - {"OSI Approved"})
    text = _field(distribution, "License").strip()
    named = classifiers or ([text.splitlines()[0][:_LONGEST]] if text and text != "UNKNOWN" else [])
    return [{"license": {"name": name}} for name in named]


def _field(distribution: Distribution, name: str) -> str:
    known = distribution.metadata
    return str(known[name]) if known and name in known else ""


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
