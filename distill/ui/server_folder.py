"""What a page's server keeps while it runs: a folder of its own, so that two pages on a project never meet."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.errors import StorageError
from distill.files import storage_errors
from distill.locks import is_held, try_lock, try_lock_within
from distill.ui.context import Context

LOCK = "lock"
# Removing what a killed server left takes this long at most.
_WAIT_SECONDS = 60.0


@contextmanager
def own_folder(context: Context) -> Iterator[None]:
    """Have `context.files` as long as the block runs; what servers left that were killed is removed first.

    Raises:
        StorageError: the folder cannot be made.
    """
    folder = context.files
    with storage_errors(folder, "write"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.parent):
            for each in folder.parent.iterdir():
                if each.is_dir() and not is_held(each / LOCK):
                    shutil.rmtree(each, ignore_errors=True)
            folder.mkdir()
            own = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try_lock(own)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(own)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One server at a time: a folder that was just made has no owner for a moment."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not try_lock_within(descriptor, _WAIT_SECONDS):
            raise StorageError(f"another page is running on this project ({folder / LOCK}): stop it first")
        yield
    finally:
        os.close(descriptor)
