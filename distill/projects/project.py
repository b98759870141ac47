"""Finding the project that a command, a folder or a run belongs to."""

import os
from pathlib import Path

from distill.errors import UsageError

# What makes a folder below `runs/` a run's own; a moved project finds it again, so it names no other place.
MARKER = Path(".distill") / "run.json"
PROJECT, HOME = "DISTILL_PROJECT", "DISTILL_HOME"


def find_project(start: Path = Path()) -> Path:
    """The nearest folder from `start` upward that has a params.yaml and a .dvc and is no run folder.

    Raises:
        UsageError: there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file() and (folder / ".dvc").is_dir() and not (folder / MARKER).exists():
            return folder
    raise UsageError(
        f"{start} is not in a project: change to a project folder, use --project, or create one with distill new"
    )


def home() -> Path:
    """The user folder, for use outside of any project: DISTILL_HOME, or where the system keeps a user's data."""
    given = os.environ.get(HOME)
    if given:
        # Of a user who is not there nothing is known; then it is the name of a folder.
        return Path(os.path.expanduser(given)).resolve()  # noqa: PTH111
    import platformdirs

    return platformdirs.user_data_path("distill", appauthor=False)


def current_project(given: Path | str | None = None) -> Path:
    """The project that a command works in.

    It is the one that `given` (by default DISTILL_PROJECT) is or belongs to, or that folder itself; where neither is
    named, the project around the current folder, or else the user's `home`.

    Raises:
        UsageError: the named path is no folder.
    """
    if given is None and os.environ.get(PROJECT):
        given = Path(os.environ[PROJECT])
    if given is not None:
        if not Path(given).is_dir():
            raise UsageError(f"{given} is no folder: name an existing one with --project or {PROJECT}")
        return project_or_folder(Path(given))
    return project_or_folder(Path(), home())


def required_project(given: Path | None = None) -> Path:
    """The project that a command works in, which has a params.yaml and a .dvc.

    Raises:
        UsageError: there is none.
    """
    return find_project(given or Path(os.environ.get(PROJECT) or "."))


def project_of(root: Path) -> Path:
    """The project that a workspace belongs to: of a run the one around `runs/`; without one the command's own."""
    root = Path(os.path.abspath(root))  # noqa: PTH100, a link below `runs/` is looked for where it is, not where it leads
    return root.parents[1] if (root / MARKER).is_file() else project_or_folder(root, current_project())


def project_or_folder(start: Path, otherwise: Path | None = None) -> Path:
    """The project that `start` is in; without one `otherwise`, which is `start` itself by default."""
    try:
        return find_project(start)
    except UsageError:
        return (start if otherwise is None else otherwise).resolve()
