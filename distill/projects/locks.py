"""Locks between processes that the system frees when their owner dies."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.errors import StorageError
from distill.files import storage_errors
from distill.projects.dvc import require_open

POLL_SECONDS = 0.2


@contextmanager
def lock(path: Path, on_wait: Callable[[], None]) -> Iterator[int]:
    """Be the one owner of a lock file; whoever comes second waits, told once by `on_wait`. Gives its descriptor.

    Raises:
        StorageError: the file cannot be made.
        Interrupted: this process runs no more stages.
    """
    with storage_errors(path, "lock"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    with handle:
        if not _taken(handle.fileno()):
            on_wait()
            # Asked again and again, so that a thread that waits can be stopped.
            while not _taken(handle.fileno()):
                require_open()
                time.sleep(POLL_SECONDS)
        yield handle.fileno()


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(f"this file system has no locks ({error.strerror}): put the project on another") from error
    return True
