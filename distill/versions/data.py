"""The sounds of a project: under git, or behind a pointer file of DVC."""

from pathlib import Path

from distill.errors import DataError, StorageError
from distill.versions.dvc import dvc


def check_out(root: Path, path: str, *, remote: bool = False) -> Path:
    """The sounds that `data.path` names, brought from DVC's cache where only their pointer is there.

    Args:
        root: the project folder.
        path: relative to it, or absolute.
        remote: also ask DVC's remote, which may be on the network.

    Raises:
        DataError: they are nowhere.
    """
    target = root / path
    if target.exists():
        return target
    pointer = target.with_name(f"{target.name}.dvc")
    if not pointer.is_file():
        raise DataError(f"{target}: there are no such sounds, and no DVC file {pointer.name} beside them")
    try:
        dvc(pointer.parent, "checkout", pointer.name)
    except StorageError as error:
        if not remote:
            raise DataError(f"the sounds of {path} are not in DVC's cache: run dvc pull {pointer}") from error
        try:
            dvc(pointer.parent, "pull", pointer.name)
        except StorageError as failed:
            raise DataError(f"the sounds of {path} are neither in DVC's cache nor on a remote ({failed})") from failed
    return target
