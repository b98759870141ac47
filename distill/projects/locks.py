"""Locks that are waited for, until this process is to end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.files import storage_errors
from distill.locks import taken
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
        if not taken(handle.fileno()):
            on_wait()
            # Asked again and again, so that a thread that waits can be stopped.
            while not taken(handle.fileno()):
                require_open()
                time.sleep(POLL_SECONDS)
        yield handle.fileno()
