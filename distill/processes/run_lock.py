"""The one lock of a run folder: held from the first stage to the last, by whatever process runs them."""

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from distill.errors import TrainingError
from distill.locks import POLL_SECONDS, acquire, is_file_of, is_held

# `DESCRIPTOR:FOLDER` of a lock that this process got from the one that started it, or that an ancestor holds.
INHERITED = "DISTILL_RUN_LOCK"
# `is_held` takes the lock for a moment.
LOCK_SECONDS = 1.0
_MOST_BYTES = 1000


@dataclass(frozen=True)
class Holder:
    """The process that runs the stages of a folder.

    Attributes:
        pid: the process; None until it is noted.
        stops: the process that ends at SIGTERM, with its state saved; None between two stages of a flow.
        since: when it began, in s since 1970.
    """

    pid: int | None = None
    stops: int | None = None
    since: float = 0.0


class RunLock:
    """The lock of a run folder in the hands of this process, which may have been started with it."""

    def __init__(self, root: Path, descriptor: int, *, inherited: bool = False) -> None:
        self.root, self.descriptor, self.inherited = root, descriptor, inherited
        self.since = time.time()

    @property
    def environment(self) -> dict[str, str]:
        """What tells a child that gets the descriptor, and its children, that the folder is held for them."""
        return {INHERITED: f"{self.descriptor}:{self.root.resolve()}"}

    def note(self, *, stops: int | None) -> None:
        """Note in the lock's file which process holds it, and which one to ask to stop."""
        _write(self.descriptor, Holder(os.getpid(), stops, self.since))


@contextmanager
def hold(root: Path, wait: Callable[[], None] | None = None, *, here: bool = True) -> Iterator[RunLock]:
    """Own a run folder for the block; the folder is made if it is missing.

    A process that was started with the lock keeps it to its end, so that whoever finds the folder free also finds what
    that process said last.

    Args:
        root: the folder.
        wait: called before each further try to get the lock, and may raise; by default there is no waiting.
        here: whether this process runs the stages, and is to be asked to stop; else it starts others.

    Raises:
        TrainingError: another process has the lock, and `wait` is not given.
        StorageError: the folder cannot be written.
    """
    descriptor = _take_inherited(root)
    if descriptor is None:
        lock = RunLock(root, acquire(lock_file(root), wait or _refusing(root)))
    else:
        lock = RunLock(root, descriptor, inherited=True)
    try:
        lock.note(stops=os.getpid() if here else None)
        yield lock
    finally:
        if lock.inherited:
            lock.note(stops=None)
            os.environ.update(lock.environment)
        else:
            os.close(lock.descriptor)


def holder_of(root: Path) -> Holder | None:
    """The process that works in a run folder; None if there is none."""
    path = lock_file(root)
    if not is_held(path):
        return None
    try:
        values = json.loads(path.read_bytes())
        return Holder(values["pid"], values["stops"], values["since"])
    except (OSError, ValueError, TypeError, KeyError):
        return Holder()


def note_stops(descriptor: int, stops: int | None) -> None:
    """Note in the file of a lock, which another process holds, which process to ask to stop."""
    with suppress(OSError, ValueError, TypeError):
        held = Holder(**json.loads(os.pread(descriptor, _MOST_BYTES, 0)))
        _write(descriptor, replace(held, stops=stops))


def held_by_ancestor(root: Path) -> bool:
    """Whether a process that this one descends from works in a run folder."""
    _, _, folder = os.environ.get(INHERITED, "").partition(":")
    return folder == str(root.resolve())


def lock_file(root: Path) -> Path:
    """The lock's file."""
    return root / ".distill" / "run.lock"


def inherited_descriptor() -> int | None:
    """The descriptor of whatever run's lock this process was started with."""
    number, _, folder = os.environ.get(INHERITED, "").partition(":")
    found = number.isdigit() and is_file_of(int(number), lock_file(Path(folder)))
    return int(number) if found else None


def _write(descriptor: int, holder: Holder) -> None:
    text = json.dumps(asdict(holder)).encode()
    # On a full disk the holder stays unknown, which is no reason to end a training.
    with suppress(OSError):
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))


def _take_inherited(root: Path) -> int | None:
    descriptor = inherited_descriptor() if held_by_ancestor(root) else None
    if descriptor is not None:
        # It is used up: what this process starts has no part in it.
        del os.environ[INHERITED]
        os.set_inheritable(descriptor, False)
    return descriptor


def _refusing(root: Path) -> Callable[[], None]:
    until = time.monotonic() + LOCK_SECONDS

    def wait() -> None:
        if time.monotonic() > until:
            holder = holder_of(root)
            pid = f" as process {holder.pid}" if holder and holder.pid else ""
            place = root.absolute()
            raise TrainingError(f"{place.name} runs already{pid}: distill run stop {shlex.quote(str(place))} ends it")
        time.sleep(POLL_SECONDS)

    return wait
