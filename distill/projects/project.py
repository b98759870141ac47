"""Finding the project folder that a workspace or the current folder belongs to."""

from pathlib import Path

from distill.errors import UsageError
from distill.files import read_json, write_json

MARKER = Path(".distill") / "workspace.json"
MARKER_SCHEMA = 1


def mark_workspace(root: Path, project: Path) -> None:
    """Note in a run workspace which project it belongs to.

    Raises:
        StorageError: the note cannot be written.
    """
    write_json(root / MARKER, {"schema": MARKER_SCHEMA, "project": str(project.resolve())})


def find_project(start: Path = Path()) -> Path:
    """The nearest folder from `start` upward that has a params.yaml and a .dvc and is no run workspace.

    Raises:
        UsageError: there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file() and (folder / ".dvc").is_dir() and not (folder / MARKER).exists():
            return folder
    raise UsageError(f"{start} lies in no project: go to a folder with params.yaml and .dvc")


def project_of(root: Path) -> Path:
    """The project that a workspace belongs to; the current folder where there is none.

    Raises:
        ArtifactError: the workspace's note about it is damaged or of a newer schema.
    """
    marker = root / MARKER
    if marker.is_file():
        return Path(read_json(marker, what="note about a workspace", schema=MARKER_SCHEMA)["project"])
    try:
        return find_project(root)
    except UsageError:
        return Path().resolve()
