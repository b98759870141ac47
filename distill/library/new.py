"""Making a project of one's own, and bringing it to the version of distill that is installed."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from distill import __version__
from distill.dataset.scan import scan
from distill.errors import ArtifactError, StorageError, UsageError
from distill.files import read_json, storage_errors, write_bytes, write_json
from distill.live.journal import EMPTY
from distill.projects.params_file import with_values
from distill.projects.template import JOURNALS, PARAMS, first_params, readme, template_files
from distill.runs.inputs import as_name
from distill.versions.datasets import add_dataset
from distill.versions.git import git, merge
from distill.workers.place import usable_cores

STATE, SCHEMA = ".distill-template.json", 1
# The sounds that a pull request is tried on, kept in git: how many, and the longest in s.
CI_FOLDER, CI_SOUNDS, CI_SECONDS = "ci/sounds", 12, 10.0


# The author of a first commit if git is not configured.
_NOBODY = ("-c", "user.name=distill", "-c", "user.email=distill@localhost")


@dataclass(frozen=True)
class NewProject:
    """A new project: its folder, what its model is called, and how many usable sounds it has."""

    folder: Path
    model: str
    usable: int


@dataclass(frozen=True)
class ProjectUpdate:
    """What an update did: the versions, the files that changed, those left with conflicts, the difference as text."""

    before: str
    after: str
    changed: tuple[str, ...]
    conflicts: tuple[str, ...]
    difference: str


def new_project(folder: Path, *, sounds: Path | None = None, ci: bool = False) -> NewProject:
    """Make a project: its files, its sounds under DVC, a git repository and a first commit. All of it or nothing.

    Args:
        folder: missing or empty; its name is the model's.
        sounds: a folder of sounds, which is copied; without one the project waits for `distill dataset add`.
        ci: add a workflow that trains on a few of the sounds for each pull request.

    Raises:
        UsageError: there are no sounds for the workflow.
        DataError: there is no usable sound.
        StorageError: the folder is in use, git or DVC failed, or something cannot be written.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100, a link that leads nowhere is no new project
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder} exists: name a new folder (distill new --update brings one up to date)")
    if ci and sounds is None:
        raise UsageError("--ci trains on a few of the sounds: name them with --sounds")
    name = as_name(folder.name)
    with _made_whole(folder) as fresh:
        usable = _fill(fresh, name, sounds, ci=ci)
    return NewProject(folder, name, usable)


def update_project(folder: Path) -> ProjectUpdate:
    """Bring the files that a project has from distill to the installed version; nothing is committed.

    Changes made to them stay: both sides are merged as git merges them.

    Raises:
        UsageError: it is no project that `new_project` made, it has changes that are not committed, or one of its
            files lies elsewhere.
        ArtifactError: the note about its files is damaged.
        StorageError: git failed, or a file cannot be written.
    """
    if not (folder / STATE).is_file():
        raise UsageError(f"{folder} has no {STATE}: only a project that distill new made can be brought up to date")
    version, ci, known = _read_state(folder)
    if git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".").strip():
        raise UsageError(f"{folder} has uncommitted changes: commit them first, so that none is lost")
    files = template_files(ci=ci)
    _require_inside(folder, known.keys() | files.keys())
    conflicts, written = [], dict[str, bytes]()
    for path, content in files.items():
        # A removed file stays removed, unless it is new.
        if not (folder / path).is_file():
            if path not in known:
                written[path] = content
            continue
        # Some systems check out other line ends.
        mine = (folder / path).read_bytes().replace(b"\r\n", b"\n")
        if mine == known.get(path):
            written[path] = content
        else:
            written[path], clean = merge(folder, mine, known.get(path, b""), content)
            conflicts += [] if clean else [path]
    gone = [path for path in known.keys() - files.keys() if (folder / path).is_file()]
    _write(folder, written)
    for path in gone:
        if (folder / path).read_bytes() == known[path]:
            (folder / path).unlink()
    _write_state(folder, files, ci=ci)
    added = [path for path in written if not git(folder, "ls-files", "--", path).strip()]
    changed = sorted([*git(folder, "diff", "--name-only", "--relative").splitlines(), *added])
    difference = git(folder, "diff", "--relative", "--", ".", f":(exclude){STATE}")
    return ProjectUpdate(version, __version__, tuple(changed), tuple(conflicts), difference)


@contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill; its content moves to `folder` if the block ends well, else it is removed."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    place = folder if folder.is_dir() else folder.parent
    moved: list[Path] = []
    fresh: Path | None = None
    try:
        with storage_errors(folder, "write"):
            place.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".distill-new-", dir=place))
        (fresh / "project").mkdir()
        yield fresh / "project"
        with storage_errors(folder, "write"):
            if place != folder:
                (fresh / "project").rename(folder)
            else:
                # The folder may be a shell's current one, or a mount point.
                for each in sorted((fresh / "project").iterdir()):
                    moved.append(each.rename(folder / each.name))
    except BaseException:
        for each in moved:
            shutil.rmtree(each, ignore_errors=True) if each.is_dir() else each.unlink(missing_ok=True)
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)
        for each in missing:
            with suppress(OSError):
                each.rmdir()
        raise
    shutil.rmtree(fresh, ignore_errors=True)


def _fill(root: Path, name: str, sounds: Path | None, *, ci: bool) -> int:
    """Write a project, take the sounds in and commit; how many of them are usable."""
    files = template_files(ci=ci)
    _write(root, {**files, **dict.fromkeys(JOURNALS, EMPTY)})
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
    known = () if git(root, "config", "--default", "", "--get", "user.email").strip() else _NOBODY
    # The user's global hooks and signing do not apply to it.
    git(root, *known, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", f"Begin the project {name}")
    return usable


def _copy_few(source: Path, target: Path) -> None:
    """Copy some of the usable sounds, evenly spread."""
    usable = [each for each in scan(source) if each.usable and each.seconds <= CI_SECONDS]
    if not usable:
        raise UsageError(f"--ci: no sound in {source} is at most {CI_SECONDS:g} s long")
    count = min(CI_SOUNDS, len(usable))
    for number in range(count):
        path = usable[number * len(usable) // count].path
        with storage_errors(target / path, "write"):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, target / path)


def _write(root: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        write_bytes(root / path, content)
        if path.endswith(".sh"):
            (root / path).chmod(0o755)


def _require_inside(root: Path, paths: Iterable[str]) -> None:
    """Make sure that files lie in a project: their paths come from a repository, which may be anyone's.

    Raises:
        UsageError: one leads out of it, or through a link.
    """
    for path in sorted(paths):
        parts = PurePosixPath(path).parts
        lies = not PurePosixPath(path).is_absolute() and ".." not in parts and "\0" not in path and parts
        if not lies or any((root / Path(*parts[: end + 1])).is_symlink() for end in range(len(parts))):
            raise UsageError(f"{path!r} leads out of the project {root}, or is a link: nothing was changed")


def _read_state(root: Path) -> tuple[str, bool, dict[str, bytes]]:
    """The version that a project's files are of, whether it has a workflow, and what the files were."""
    state = read_json(root / STATE, what="note about a project's files", schema=SCHEMA)
    files = state.get("files")
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise ArtifactError(f"{root / STATE} is damaged: bring it back with git")
    return str(state.get("version", "")), bool(state.get("ci")), {path: text.encode() for path, text in files.items()}


def _write_state(root: Path, files: Mapping[str, bytes], *, ci: bool) -> None:
    """Keep what the files were, whatever becomes of them: an update merges with it."""
    texts = {path: content.decode() for path, content in files.items()}
    write_json(root / STATE, {"schema": SCHEMA, "version": __version__, "ci": ci, "files": texts})
