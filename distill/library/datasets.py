"""Putting a folder of sounds under version control with DVC."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from distill.dataset.scan import scan
from distill.dataset.walk import find_files
from distill.errors import DataError, UsageError
from distill.files import replacing, storage_errors
from distill.projects.command import dvc

DATA = Path("data")


@dataclass(frozen=True)
class AddedDataset:
    """A versioned dataset: its folder and its pointer file below the project, and how many of its files are usable."""

    path: str
    pointer: str
    usable: int


def add_dataset(source: Path, project: Path, name: str | None = None) -> AddedDataset:
    """Copy the files of `source` to `data/<name>`, version them with DVC and point params.yaml at them.

    A dataset of that name that is there already becomes the new version; the old one stays in DVC's cache.

    Raises:
        DataError: there is no such folder, or no usable sound in it.
        UsageError: the name cannot be a folder's, or the project is none.
        StorageError: something cannot be written.
    """
    name = name or source.resolve().name
    if not name or name.startswith(".") or Path(name).name != name:
        raise UsageError(f"{name!r} cannot be the name of a folder below {DATA}: choose one with --name")
    for needed in ("params.yaml", ".dvc"):
        if not (project / needed).exists():
            raise UsageError(
                f"{project.resolve()} has no {needed}: run this in a project folder, or name it with --project"
            )
    usable = sum(report.usable for report in scan(source))
    if not usable:
        raise DataError(f"{source}: no usable sound, so there is nothing to version (distill dataset check says why)")
    target = project / DATA / name
    if source.resolve() != target.resolve():
        _copy(source, target)
    relative = (DATA / name).as_posix()
    dvc(project, "add", relative)
    _point_params(project / "params.yaml", relative)
    return AddedDataset(relative, f"{relative}.dvc", usable)


def _copy(source: Path, target: Path) -> None:
    """Copy every file that a scan sees, as a folder that takes the target's place whole."""
    fresh = target.with_name(f".{target.name}.new")
    with storage_errors(target, "write"):
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            for found in find_files(source):
                if found.problem:
                    continue
                copy = fresh / found.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found.path, copy)
            if target.exists():
                shutil.rmtree(target)
            fresh.replace(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _point_params(path: Path, relative: str) -> None:
    """Set `data.path`, leaving comments and order as they are."""
    yaml = YAML()
    yaml.preserve_quotes = True
    try:
        values = yaml.load(path.read_text(encoding="utf-8"))
        values.setdefault("data", {})["path"] = relative
    except (YAMLError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is not readable parameters: {' '.join(str(error).split())}") from error
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
        yaml.dump(values, handle)
