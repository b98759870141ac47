"""Putting a folder of sounds under version control with DVC."""

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from distill.audio.sound import EXTENSIONS
from distill.dataset.labels import TABLE, labels_of
from distill.dataset.scan import scan
from distill.dataset.walk import count_files, find_files
from distill.errors import DataError, DistillError, StorageError, UsageError
from distill.files import free_path, storage_errors, write_bytes
from distill.locks import lock
from distill.params import read_params
from distill.projects.params_file import with_values
from distill.versions.dvc import dvc

DATA = Path("data")
# A copy that is not complete, and a version that is being replaced.
FRESH, OLD = ".new-", ".old-"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AddedDataset:
    """A dataset of a project: its folder, its pointer file (None: not versioned), and how many files are usable."""

    path: str
    pointer: str | None
    usable: int


@dataclass(frozen=True)
class Dataset:
    """A folder of sounds of a project: its path below the project, and how many files look like sounds."""

    path: str
    files: int


def list_datasets(project: Path) -> list[Dataset]:
    """The folders of sounds below `data/`, and the one that params.yaml names."""
    if any((project / DATA).glob(f"{OLD}*")):
        with suppress(DistillError), _alone(project, wait=False):
            _recover_all(project / DATA)
    folders = sorted((project / DATA).glob("*/"))
    with suppress(DistillError):
        named = project / read_params(project / "params.yaml").data.path
        if named.is_dir() and named not in folders:
            folders = [named, *folders]
    return [
        Dataset(os.path.relpath(folder, project), count_sounds(folder))
        for folder in folders
        if not folder.name.startswith(".")
    ]


def count_sounds(source: Path) -> int:
    """How many files of a folder look like sounds by their names; none is read.

    Raises:
        DataError: there is no such folder or file.
    """
    return count_files(source, EXTENSIONS)


def add_dataset(source: Path, project: Path, name: str | None = None) -> AddedDataset:
    """Copy the files of `source` to `data/<name>`, version them with DVC and point params.yaml at them.

    A dataset of that name that is there already becomes the new version; the old one stays in DVC's cache.

    Raises:
        DataError: there is no such folder, no usable sound in it, or its table of labels is wrong.
        UsageError: the name cannot be a folder's, or the project is none.
        StorageError: something cannot be written.
    """
    name = _folder_name(name or source.resolve().name)
    for needed in ("params.yaml", ".dvc"):
        if not (project / needed).exists():
            raise UsageError(
                f"{project.resolve()} has no {needed}: run this in a project folder, or name it with --project"
            )
    with _alone(project):
        # What would fail at the end fails before anything is copied.
        _pointed(project / "params.yaml", "")
        with _kept(source, project, name) as added:
            dvc(project, "add", added.path)
        _point_params(project / "params.yaml", added.path)
    return AddedDataset(added.path, f"{added.path}.dvc", added.usable)


def keep_dataset(source: Path, project: Path, name: str) -> AddedDataset:
    """Copy the files of `source` to `data/<name>`; in a project of DVC they are versioned as `add_dataset` does it.

    Raises:
        DataError, UsageError, StorageError: as there.
    """
    if (project / "params.yaml").exists() and (project / ".dvc").exists():
        return add_dataset(source, project, name)
    name = _folder_name(name)
    with _alone(project), _kept(source, project, name) as added:
        return added


def gather(files: Iterable[Path], folder: Path) -> list[str]:
    """Copy single files into a folder, under their own names; those of the same name get a number.

    Returns:
        The names of the files that are left out, because they do not look like sounds.

    Raises:
        DataError: none of them looks like a sound.
        StorageError: a file cannot be copied.
    """
    left_out = []
    for path in files:
        if path.suffix.lower() not in EXTENSIONS or path.name.startswith("."):
            left_out.append(path.name)
            continue
        with storage_errors(folder, "write into"):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, free_path(folder / path.name))
    if not folder.is_dir():
        raise DataError(f"none of these files looks like a sound ({', '.join(EXTENSIONS)})")
    return left_out


def _folder_name(name: str) -> str:
    # git takes no blank at the end of what DVC has it ignore, and DVC adds no file that is named like its own.
    wrong = name.startswith(".") or name.endswith(".dvc") or name != name.strip()
    if not name or wrong or Path(name).name != name or "\0" in name:
        raise UsageError(f"{name!r} cannot be a folder name below {DATA}: choose another one with --name")
    return name


@contextmanager
def _kept(source: Path, project: Path, name: str) -> Iterator[AddedDataset]:
    """Copy the files of `source` to `data/<name>`; where the block fails, what was there before is there again."""
    usable = sum(report.usable for report in scan(source))
    if not usable:
        raise DataError(f"{source}: no usable sound, so there is nothing to version (distill dataset check says why)")
    target = project / DATA / name
    with storage_errors(project / DATA, "write into"):
        _recover_all(project / DATA)
    added = AddedDataset((DATA / name).as_posix(), None, usable)
    if source.resolve() == target.resolve():
        yield added
        return
    if target.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{source} contains {DATA}, where datasets are kept: name the folder of the sounds alone")
    if target.exists() and not target.with_name(f"{name}.dvc").exists():
        raise UsageError(f"{DATA / name} is there, and no version of it is kept: choose another name")
    with _copied(source, target):
        yield added


@contextmanager
def _copied(source: Path, target: Path) -> Iterator[None]:
    """Copy every file that a scan sees and the table of labels, as a folder that takes the target's place whole.

    The old version is put aside only when the new one is complete, so that `_recover_all` knows which of them counts,
    and is put back where the block fails.

    Raises:
        DataError: the table of labels is wrong, or names what is not copied.
        StorageError: something cannot be written.
    """
    found = find_files(source)
    labels = labels_of(source, [each.name for each in found])
    # A pipe or a device may never end.
    files = [each for each in found if not each.problem and each.path.is_file()]
    copied, named = {each.name for each in files}, found if (source / TABLE).is_file() else []
    for each, label in zip(named, labels, strict=False):
        if label and each.name not in copied:
            raise DataError(f"{source / TABLE} has a label for {each.name}, which cannot be copied: remove one of them")
    fresh, old = target.with_name(f"{FRESH}{target.name}"), target.with_name(f"{OLD}{target.name}")
    with storage_errors(target, "write"):
        try:
            for each in files:
                copy = fresh / each.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(each.path, copy)
            if (source / TABLE).is_file():
                shutil.copyfile(source / TABLE, fresh / TABLE)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    try:
        yield
    except BaseException:
        with storage_errors(target, "put back"):
            if target.exists():
                target.rename(fresh)
            if old.exists():
                old.rename(target)
            shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _recover_all(folder: Path) -> None:
    """Complete or undo what a killed process left of its copies."""
    for old in folder.glob(f"{OLD}*"):
        target = old.with_name(old.name.removeprefix(OLD))
        fresh = target.with_name(f"{FRESH}{target.name}")
        if not target.exists():
            (fresh if fresh.exists() else old).rename(target)
        if old.exists():
            shutil.rmtree(old)
    for fresh in folder.glob(f"{FRESH}*"):
        shutil.rmtree(fresh)


@contextmanager
def _alone(project: Path, *, wait: bool = True) -> Iterator[None]:
    """Be the only one who changes the project's datasets.

    Raises:
        StorageError: another process does, and `wait` is false.
    """

    def on_wait() -> None:
        if not wait:
            raise StorageError("another program is adding a dataset")
        logger.info("waiting for another program that is adding a dataset")

    with lock(project / ".distill" / "datasets.lock", on_wait):
        yield


def _point_params(path: Path, relative: str) -> None:
    """Set `data.path`, leaving comments and order as they are."""
    write_bytes(path, _pointed(path, relative).encode())


def _pointed(path: Path, relative: str) -> str:
    with storage_errors(path, "read"):
        data = path.read_bytes()
    try:
        return with_values(data.decode(), {"data.path": relative}, where=str(path))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: save it as UTF-8") from error
