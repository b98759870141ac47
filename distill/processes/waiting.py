"""Locks that are waited for, until this process is to end."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.locks import acquired
from distill.processes.dvc_stage import require_open

POLL_SECONDS = 0.2


@contextmanager
def lock(path: Path, on_wait: Callable[[], None], *, remove: bool = False) -> Iterator[None]:
    """Be the one owner of a lock file; whoever comes second waits, told once by `on_wait`.

    `remove` takes the file away at the end, where there would be many.

    Raises:
        StorageError: the file cannot be made.
        Interrupted: this process runs no more stages.
    """
    descriptor = acquired(path, patiently(on_wait))
    try:
        yield
        if remove:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def patiently(on_wait: Callable[[], None]) -> Callable[[], None]:
    """Waits before each further try, told once by `on_wait`, until this process runs no more stages."""
    told = False

    def wait() -> None:
        nonlocal told
        if not told:
            told = True
            on_wait()
        # Asked again and again, so that a thread that waits can be stopped.
        require_open()
        time.sleep(POLL_SECONDS)

    return wait
