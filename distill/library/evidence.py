"""What a check for memorization has to show of a model: the page with its sounds, wherever that lies."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill.artifact.manifest import Manifest
from distill.errors import DistillError
from distill.files import read_json
from distill.library.model_check import PAGE, REPORT, SCHEMA, report_folder
from distill.registry.catalogue import Entry
from distill.registry.registry import RegisteredVersion
from distill.runs.folder import run_folders
from distill.stages.workspace import Workspace, read_report

STAGE = "check_memorization"


def evidence_page(entry: Entry, project: Path) -> Path | None:
    """The page of a model's check: that of the run which made it, or what `distill check` wrote; None: it is gone."""
    found = (*_of_runs(entry.manifest, project), *_of_checks(entry, project))
    return next((page for page in found if page.is_file()), None)


def _of_runs(manifest: Manifest, project: Path) -> Iterator[Path]:
    for root in run_folders(project):
        with suppress(DistillError, KeyError):
            workspace = Workspace(root)
            if read_report(workspace, "assemble")["digest"] == manifest.tensor_digest:
                yield workspace.page(STAGE)


def _of_checks(entry: Entry, project: Path) -> Iterator[Path]:
    models: list[Path | RegisteredVersion] = [*entry.files, *entry.registered]
    for model in models:
        folder = report_folder(model, project)
        with suppress(DistillError):
            report: dict[str, Any] = read_json(folder / REPORT, what="report of a check", schema=SCHEMA)
            if report.get("digest") == entry.manifest.tensor_digest:
                yield folder / PAGE
