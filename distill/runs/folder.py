"""Run folders: opened and completed around the stages that run in them, and found again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from distill.errors import ArtifactError, DataError
from distill.files import read_json, storage_errors, write_json
from distill.processes.run_lock import RunLock, hold, holder_of
from distill.projects.project import MARKER

SCHEMA = 1
RUNS = "runs"


@dataclass(frozen=True)
class Order:
    """What a run was started with.

    Attributes:
        source: the sounds: relative to the project, or absolute where they lie elsewhere.
        settings: the parameters that are not as by default, as `section.key=value`.
        name: of the model; None: made of the folder and the time.
        until: the last stage to run; None: all.
        started_by: `cli`, `page` or `prefect`.
        again: whether `source`, `settings` and `name` are all that it follows from.
    """

    source: str
    settings: tuple[str, ...] = ()
    name: str | None = None
    until: str | None = None
    started_by: str = "cli"
    again: bool = True


@dataclass(frozen=True)
class _Note:
    """What is known of a run: what it was started with, and when its model was finished."""

    order: Order
    finished: datetime | None


_NOTE = TypeAdapter(_Note)


@contextmanager
def open_folder(
    root: Path, order: Order, make: Callable[[], None], wait: Callable[[], None] | None = None, *, here: bool = True
) -> Iterator[RunLock]:
    """A run's folder, locked for the stages that the block runs; the run has finished if the block ends well.

    Args:
        root: the folder; nothing in it changes before the lock is held.
        order: what the run is started with.
        make: fills the folder.
        wait: called before each further try to get the lock; by default there is no waiting.
        here: whether this process runs the stages itself.

    Raises:
        TrainingError: another process runs it, and `wait` is not given.
        StorageError: the folder cannot be written.
    """
    with hold(root, wait, here=here) as lock:
        if not lock.inherited:
            # What a training in the background said last is not about this one.
            with storage_errors(root, "write into"):
                log_file(root).unlink(missing_ok=True)
        make()
        write_order(root, order)
        yield lock
        write_order(root, order, finished=order.until is None)


def write_order(root: Path, order: Order, *, finished: bool = False) -> None:
    """Note in a run folder what it was started with, and when it has finished.

    Raises:
        StorageError: the note cannot be written.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(root / MARKER, {"schema": SCHEMA, "order": asdict(order), "finished": now if finished else None})


def read_order(root: Path) -> Order | None:
    """What a run was started with; None if there is no note about it.

    Raises:
        ArtifactError: the note about it is damaged or of a newer schema.
    """
    if not is_run(root):
        return None
    return _note(root).order


def finished_at(root: Path) -> datetime | None:
    """When the model of a run was finished; None while it is not.

    Raises:
        ArtifactError: the note about it is damaged or of a newer schema.
    """
    return _note(root).finished if is_run(root) else None


def log_file(root: Path) -> Path:
    """The log of a training in the background."""
    return root / ".distill" / "training.log"


def is_run(root: Path) -> bool:
    """Whether a folder is that of a run."""
    return (root / MARKER).is_file()


def run_folders(project: Path) -> list[Path]:
    """The run folders of a project by their names; the project itself comes first, if it was trained in."""
    # What is being removed has a hidden name.
    found = sorted(root for root in (project / RUNS).glob("[!.]*/") if is_run(root))
    return [*([project] if (project / ".distill" / "live").is_dir() else []), *found]


def run_named(project: Path, name: str) -> Path:
    """The run folder of that name; nothing but a known name leads to a folder.

    Raises:
        DataError: there is none.
    """
    found = {root.name: root for root in run_folders(project)}
    if name not in found:
        raise DataError(f"there is no run {name!r}; there are: {', '.join(found) or 'none'}")
    return found[name]


def default_run(project: Path) -> Path:
    """The run that goes on, else the one that was begun or finished last.

    Raises:
        DataError: nothing was trained here.
    """
    found = run_folders(project)
    if not found:
        raise DataError("no trainings yet")
    return next((root for root in found if holder_of(root) is not None), max(found, key=_noted))


def _noted(root: Path) -> tuple[float, str]:
    """When a run was begun or finished, for comparing; of the same moment the last by name."""
    note = root / MARKER if is_run(root) else root / ".distill" / "live"
    return note.stat().st_mtime, root.name


def _note(root: Path) -> _Note:
    values = read_json(root / MARKER, what="note about a run", schema=SCHEMA)
    try:
        return _NOTE.validate_python(values)
    except ValidationError as error:
        raise ArtifactError(f"{root / MARKER} is no note about a run: start the training again") from error
