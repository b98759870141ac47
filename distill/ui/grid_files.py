"""Files that are opened on the page as a grid, and the names of files that it saves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.audio.sound import EXTENSIONS, seconds_of
from distill.codes.file import read_grid
from distill.codes.history import History
from distill.codes.model import CodesModel
from distill.codes.sound import encode_file
from distill.errors import ArtifactError, DataError, DistillError, UsageError
from distill.files import plain_name

GRID_EXTENSION = ".json"
MOST_SECONDS = 600.0
MOST_GRID_BYTES = 64 << 20


def read_history(path: Path, model: CodesModel) -> History:
    """The grid of a sound as a model encodes it, or that of a grid file with its edits.

    Raises:
        UsageError: the file is of another kind, or too large.
        DataError: the sound cannot be used.
        ArtifactError: the grid file cannot be used.
    """
    kind = path.suffix.lower()
    if kind == GRID_EXTENSION:
        if path.stat().st_size > MOST_GRID_BYTES:
            raise UsageError(f"{path.name} is larger than {MOST_GRID_BYTES >> 20} MB: too large for the page")
        with _called(path):
            return read_grid(path)
    if kind in EXTENSIONS:
        with _called(path):
            seconds = seconds_of(path)
        if seconds is not None and seconds > MOST_SECONDS:
            raise UsageError(
                f"{path.name} lasts {seconds / 60:.0f} minutes; the page takes {MOST_SECONDS / 60:.0f}: "
                "cut it, or use distill encode"
            )
        with _called(path):
            return History(encode_file(model, path))
    raise UsageError(f"{path.name} is neither a sound ({', '.join(EXTENSIONS)}) nor a grid file (.json)")


def stem_of(name: str) -> str:
    """A name without extension, of letters, digits, - and _ only, for files that browsers save.

    >>> stem_of("../my kick.wav"), stem_of("..")
    ('my-kick', 'sound')
    """
    return plain_name(name.rpartition(".")[0] or name)


@contextmanager
def _called(path: Path) -> Iterator[None]:
    """Errors name the file that somebody gave, not where the server keeps it."""
    try:
        yield
    except DistillError as error:
        kind = ArtifactError if isinstance(error, ArtifactError) else DataError
        words = str(error).replace(str(path), path.name)
        raise kind(words if path.name in words else f"{path.name}: {words}") from error
