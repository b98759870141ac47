"""Where the tab Start stands, read from the disk: which sounds it is about, and which run it has begun for them."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from distill.errors import DataError, DistillError
from distill.files import read_json, write_json
from distill.runs.folder import read_order, run_folders
from distill.runs.inputs import source_of
from distill.runs.progress import RunProgress, alive, progress_of

SCHEMA = 1

Kind = Literal["empty", "sounds", "running", "stopped", "finished"]


class _Note(BaseModel):
    """What is kept: the sounds as the project reaches them, and the name of the run's folder."""

    sounds: str | None = None
    run: str | None = None


@dataclass(frozen=True)
class Standing:
    """Where it stands.

    Attributes:
        kind: `empty` without sounds, `sounds` before a run was begun for them, else how far the run is.
        sounds: the folder of sounds, or one file.
        root: the run's folder.
        progress: how far the run is.
    """

    kind: Kind
    sounds: Path | None = None
    root: Path | None = None
    progress: RunProgress | None = None

    @property
    def about(self) -> str:
        """What it is about, as a text that differs where sounds or run do."""
        return f"{self.sounds or ''} {self.root.name if self.root else ''}"


def standing_of(project: Path) -> Standing:
    """Where it stands now; sounds and runs that are gone are forgotten."""
    note = _Note()
    with suppress(DistillError, ValidationError):
        note = _Note.model_validate(read_json(_file(project), what="note of the tab Start", schema=SCHEMA))
    if note.sounds is None or not (project / note.sounds).exists():
        return Standing("empty")
    sounds = project / note.sounds
    root = _root(project, note.run) or _running(project, note.sounds)
    if root is None:
        return Standing("sounds", sounds)
    progress = progress_of(root)
    kinds: dict[str, Kind] = {"finished": "finished", "stopped": "stopped"}
    return Standing(kinds.get(progress.state, "running"), sounds, root, progress)


def begin_with(project: Path, sounds: Path | None) -> None:
    """Let it be about other sounds, or about none; where it is about these already, it stays where it is.

    Raises:
        DataError: they are not there.
        StorageError: it cannot be noted.
    """
    source = None if sounds is None else source_of(project, sounds)
    if source is None or standing_of(project).sounds != project / source:
        _note(project, source, None)


def set_run(project: Path, root: Path | None) -> None:
    """Note the run that was begun for the sounds; None: they wait for another.

    Raises:
        DataError: there are no sounds.
        StorageError: it cannot be noted.
    """
    sounds = standing_of(project).sounds
    if sounds is None:
        raise DataError("choose sounds first")
    _note(project, source_of(project, sounds), root.name if root else None)


def _root(project: Path, name: str | None) -> Path | None:
    return next((root for root in run_folders(project) if root.name == name), None)


def _running(project: Path, source: str | None) -> Path | None:
    """A run of the same sounds that somebody started elsewhere and that goes on."""
    for root in run_folders(project):
        with suppress(DistillError):
            order = read_order(root)
            if order is not None and order.source == source and order.until is None and alive(root):
                return root
    return None


def _note(project: Path, sounds: str | None, run: str | None) -> None:
    write_json(_file(project), {"schema": SCHEMA, "sounds": sounds, "run": run})


def _file(project: Path) -> Path:
    return project / ".distill" / "start.json"
