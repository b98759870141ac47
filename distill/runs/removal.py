"""Removing runs, or what is in them; only under the run's lock."""

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from distill.errors import StorageError
from distill.files import storage_errors
from distill.processes.run_lock import hold, holder_of, lock_file
from distill.runs.folder import RUNS, finished_at, is_run, run_folders

# Prefix of a folder that is being removed, so that a half-removed one is not taken for a run.
REMOVED = ".removed-"
# The models that a run has delivered, which it may replace: that stays where it begins anew.
DELIVERED = Path(".distill") / "delivered.json"


@dataclass(frozen=True)
class Removal:
    """A run that was removed, or would be, and the bytes that this frees."""

    run: str
    bytes: int


def clear(root: Path) -> None:
    """Forget everything that was done in a run folder; the caller holds its lock.

    Raises:
        StorageError: it cannot be removed.
    """
    own = root / ".distill"
    aside = own / "removed"
    with storage_errors(root, "remove"):
        if aside.exists():
            shutil.rmtree(aside)
        aside.mkdir()
        gone = [path for path in root.iterdir() if path != own]
        gone += [path for path in own.iterdir() if path not in (aside, lock_file(root), root / DELIVERED)]
        for number, path in enumerate(gone):
            path.rename(aside / str(number))
        shutil.rmtree(aside)


def remove(root: Path) -> Removal:
    """Remove a run's folder; models that were delivered or registered stay.

    Raises:
        TrainingError: it runs.
        StorageError: it cannot be removed.
    """
    root = root.absolute()
    with hold(root), storage_errors(root, "remove"):
        aside = root.with_name(f"{REMOVED}{root.name}")
        if aside.exists():
            shutil.rmtree(aside)
        freed = size_of(root)
        root.rename(aside)
        shutil.rmtree(aside)
    return Removal(root.name, freed)


def prune(project: Path, *, keep: int = 0, older: timedelta = timedelta(0), dry_run: bool = False) -> list[Removal]:
    """Remove the finished runs of a project; never one that runs, was stopped, or trained a part.

    Args:
        project: the project folder.
        keep: how many of the newest finished ones stay.
        older: how long they must have been finished.
        dry_run: say only what would be removed.

    Raises:
        StorageError: a folder cannot be removed.
    """
    now = datetime.now(UTC)
    finished = []
    for root in run_folders(project):
        try:
            when = finished_at(root)
        except StorageError:
            # Another window may have removed it meanwhile.
            if is_run(root):
                raise
            continue
        if when is not None:
            finished.append((when, root))
    finished.sort(reverse=True)
    chosen = [root for when, root in finished[keep:] if now - when >= older and holder_of(root) is None]
    if dry_run:
        return [Removal(root.name, size_of(root)) for root in chosen]
    with storage_errors(project / RUNS, "remove what is left in"):
        for left in (project / RUNS).glob(f"{REMOVED}*"):
            shutil.rmtree(left)
    return [remove(root) for root in chosen]


def size_of(folder: Path) -> int:
    """The bytes that removing a folder frees: files that another folder has as well do not count.

    What is removed meanwhile does not count either.
    """
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                status = os.lstat(os.path.join(place, name))  # noqa: PTH118, a run has thousands of files
                found += status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0
    return found
