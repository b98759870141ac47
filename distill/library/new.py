"""Making a project of one's own, and bringing it to the version of distill that is installed."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill import __version__
from distill.dataset.scan import scan
from distill.dataset.walk import usable_cores
from distill.errors import UsageError
from distill.files import read_json, storage_errors, write_bytes, write_json
from distill.library.datasets import add_dataset
from distill.projects.git import git, merged
from distill.projects.params_file import with_values
from distill.projects.template import JOURNALS, PARAMS, first_params, readme, template_files
from distill.runs.inputs import as_name

STATE, SCHEMA = ".distill-template.json", 1
# So many sounds, none of them longer, are what a pull request is tried on; git keeps them.
CI_FOLDER, CI_SOUNDS, CI_SECONDS = "ci/sounds", 12, 10.0
# Somebody has to sign a first commit where git knows nobody.
_NOBODY = ("-c", "user.name=distill", "-c", "user.email=distill@localhost")


@dataclass(frozen=True)
class Made:
    """A new project: its folder, and how many usable sounds it has."""

    folder: Path
    usable: int


@dataclass(frozen=True)
class Updated:
    """What an update did: the versions, the files that changed, those left with conflicts, the difference as text."""

    before: str
    after: str
    changed: tuple[str, ...]
    conflicts: tuple[str, ...]
    difference: str


def new_project(folder: Path, *, sounds: Path | None = None, ci: bool = False) -> Made:
    """Make a project: its files, its sounds under DVC, a git repository and a first commit. All of it or nothing.

    Args:
        folder: missing or empty; its name is the model's.
        sounds: a folder of sounds, which is copied; without one the project waits for `distill dataset add`.
        ci: add a workflow that trains on a few of the sounds for each pull request.

    Raises:
        UsageError: the folder is in use, or there are no sounds for the workflow.
        DataError: there is no usable sound.
        StorageError: git or DVC failed, or something cannot be written.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100, a link that leads nowhere is no new project
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} already exists: name a new folder, or update a project with distill new --update")
    if ci and sounds is None:
        raise UsageError("--ci needs sounds to train on: name them with --sounds")
    with storage_errors(folder, "write"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)) / "project"
    try:
        usable = _fill(fresh, as_name(folder.name), sounds, ci=ci)
        with storage_errors(folder, "write"):
            # An empty folder gives way.
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh.parent, ignore_errors=True)
    return Made(folder, usable)


def update_project(folder: Path) -> Updated:
    """Bring the files that a project has from distill to the installed version; nothing is committed.

    What somebody changed in them stays: both sides' changes are merged as git merges them.

    Raises:
        UsageError: it is no project that `new_project` made, or it has changes that are not committed.
        StorageError: git failed, or a file cannot be written.
    """
    if not (folder / STATE).is_file():
        raise UsageError(f"{folder} has no {STATE}: only a project created by distill new can be updated")
    state = read_json(folder / STATE, what="note about a project's files", schema=SCHEMA)
    if git(folder, "status", "--porcelain", "--untracked-files=no").strip():
        raise UsageError(f"{folder} has uncommitted changes: commit them first, so that nothing is lost")
    known = {path: text.encode() for path, text in state["files"].items()}
    files = template_files(ci=bool(state["ci"]))
    conflicts = []
    for path, content in files.items():
        here = folder / path
        if not here.is_file():
            # What somebody removed stays away, unless it is new.
            new = content if path not in known else None
        elif here.read_bytes() == known.get(path):
            new = content
        else:
            new, clean = merged(folder, here.read_bytes(), known.get(path, b""), content)
            conflicts += [] if clean else [path]
        if new is not None:
            write_bytes(here, new)
    for path in known.keys() - files.keys():
        if (folder / path).is_file() and (folder / path).read_bytes() == known[path]:
            (folder / path).unlink()
    _write_state(folder, files, ci=bool(state["ci"]))
    git(folder, "add", "--intent-to-add", "--", *(path for path in files if (folder / path).exists()))
    changed = git(folder, "diff", "--name-only", "--relative").splitlines()
    difference = git(folder, "diff", "--relative", "--", ".", f":(exclude){STATE}")
    return Updated(state["version"], __version__, tuple(changed), tuple(conflicts), difference)


def _fill(root: Path, name: str, sounds: Path | None, *, ci: bool) -> int:
    """Write a project, take the sounds in and commit; how many of them are usable."""
    files = template_files(ci=ci)
    for path, content in {**files, **dict.fromkeys(JOURNALS, b"")}.items():
        write_bytes(root / path, content)
        if path.endswith(".sh"):
            (root / path).chmod(0o755)
    own: dict[str, Any] = {"model.name": name, "model.description": "", "model.tags": [], "run.device": "auto"}
    own["run.threads"] = usable_cores()
    write_bytes(root / PARAMS, with_values(first_params().decode(), own, where=PARAMS).encode())
    git(root, "init", "--quiet", "--initial-branch=main")
    usable, place = 0, "sounds"
    if sounds is not None:
        added = add_dataset(sounds, root, as_name(sounds.resolve().name))
        usable, place = added.usable, added.path
        if ci:
            _copy_few(root / place, root / CI_FOLDER)
    write_bytes(root / "README.md", readme(name, place))
    _write_state(root, files, ci=ci)
    git(root, "add", "--all")
    known = _NOBODY if not git(root, "config", "--default", "", "--get", "user.email").strip() else ()
    git(root, *known, "commit", "--quiet", "-m", f"Begin the project {name}")
    return usable


def _copy_few(source: Path, target: Path) -> None:
    """Copy some of the usable sounds, evenly spread."""
    usable = [each for each in scan(source) if each.usable and each.seconds <= CI_SECONDS]
    if not usable:
        raise UsageError(f"--ci: no sound in {source} is {CI_SECONDS:g} s or shorter")
    count = min(CI_SOUNDS, len(usable))
    for number in range(count):
        path = usable[number * len(usable) // count].path
        with storage_errors(target / path, "write"):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, target / path)


def _write_state(root: Path, files: dict[str, bytes], *, ci: bool) -> None:
    """Keep what the files were, whatever becomes of them: an update merges with it."""
    texts = {path: content.decode() for path, content in files.items()}
    write_json(root / STATE, {"schema": SCHEMA, "version": __version__, "ci": ci, "files": texts})
