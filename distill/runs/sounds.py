"""The sounds of a run: named so that a project can be moved, and reached from within the run's folder."""

import os
from pathlib import Path, PurePosixPath

from distill.errors import DataError
from distill.files import storage_errors

# What stages and tools make in a run folder: sounds of such a name are reached without a link.
OWN = frozenset({"config", "history", "journal", "models", "plots", "prepared", "previews", "reports", "trained"})


def source_of(project: Path, sounds: Path) -> str:
    """How a run names its sounds: relative to the project where they lie in it, else absolute.

    Raises:
        DataError: they are not there.
    """
    if not sounds.exists():
        raise DataError(f"{sounds}: no such folder of sounds")
    project = project.resolve()
    # A link within the project is one of its names; it may lead elsewhere after a move.
    for place in (Path(os.path.abspath(sounds)), sounds.resolve()):  # noqa: PTH100
        if place.is_relative_to(project):
            return place.relative_to(project).as_posix()
    return str(sounds.resolve())


def bring_sounds(root: Path, project: Path, source: str) -> str:
    """Make the sounds of a run reachable from its folder; their `data.path` there.

    Sounds of the project keep their path, as a link that leads to them wherever the project is moved or copied to.
    Others, and those whose path is none of a run folder's, are named by where they are.

    Raises:
        StorageError: the link cannot be made, or something else is in its place.
    """
    path = PurePosixPath(source)
    if path.is_absolute():
        return source
    if not path.parts or path.parts[0] in {"..", *OWN} or path.parts[0].startswith("."):
        return os.path.relpath(project.resolve() / path, root.resolve())
    link = root / path
    with storage_errors(link, "link"):
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(project.resolve() / path, link.parent.resolve())
        if link.is_symlink() and os.readlink(link) != target:  # noqa: PTH115, a Path would lose nothing but its dots
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(target)
    return source


def given_source(project: Path, path: str) -> str:
    """The same for the `data.path` of a project's parameters, whose dots count from the project.

    Raises:
        DataError: there is nothing.
    """
    plain = os.path.normpath(path)
    return plain if plain.startswith("..") else source_of(project, project / plain)


def from_project(path: str) -> str:
    """The `data.path` of a run's params.yaml as it is from the project.

    >>> from_project("sounds"), from_project("../../../kit"), from_project("../../models")
    ('sounds', '../kit', 'models')
    """
    return os.path.normpath(f"runs/run/{path}") if path.startswith("..") else path
