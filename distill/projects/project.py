"""Finding the project that a run folder or the current folder belongs to."""

import os
from pathlib import Path

from distill.errors import UsageError

# What makes a folder below `runs/` a run's own; a moved project finds it again, so it names no other place.
MARKER = Path(".distill") / "run.json"


def find_project(start: Path = Path()) -> Path:
    """The nearest folder from `start` upward that has a params.yaml and a .dvc and is no run folder.

    Raises:
        UsageError: there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file() and (folder / ".dvc").is_dir() and not (folder / MARKER).exists():
            return folder
    raise UsageError(f"{start} lies in no project: go to a folder with params.yaml and .dvc")


def project_of(root: Path) -> Path:
    """The project that a folder belongs to: of a run's the one around `runs/`; without one the current folder."""
    root = Path(os.path.abspath(root))  # noqa: PTH100, a link below `runs/` is looked for where it is, not where it leads
    return root.parents[1] if (root / MARKER).is_file() else project_or_folder(root, Path())


def project_or_folder(start: Path, otherwise: Path | None = None) -> Path:
    """The project that `start` lies in; without one `otherwise`, which is `start` itself by default."""
    try:
        return find_project(start)
    except UsageError:
        return (start if otherwise is None else otherwise).resolve()
