"""Locks between processes on open files, which the system frees when their owner dies."""

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from distill.errors import StorageError
from distill.files import storage_errors

POLL_SECONDS = 0.02


def taken(descriptor: int) -> bool:
    """Own the lock of an open file, unless another process does.

    Raises:
        StorageError: the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(f"this file system has no locks ({error.strerror}): put the project on another") from error
    return True


def taken_within(descriptor: int, seconds: float) -> bool:
    """The same, where somebody who only looks (`is_held`) may have the lock for a moment.

    Raises:
        StorageError: the file system has no locks.
    """
    until = time.monotonic() + seconds
    while not taken(descriptor):
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True


def acquired(path: Path, wait: Callable[[], None]) -> int:
    """The descriptor of a lock file that this process now owns; the file is made where it is missing.

    `wait` is called before each further try, and may raise. Whoever owns the lock may remove its file: then nobody who
    waited for the old file takes it for the new one.

    Raises:
        StorageError: the file cannot be made, or the file system has no locks.
    """
    while True:
        with storage_errors(path, "lock"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:
                # Its folder was removed in this moment.
                continue
        try:
            while not taken(descriptor):
                wait()
            if is_file_of(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def is_file_of(descriptor: int, path: Path) -> bool:
    """Whether a descriptor is open and is that of the file at a path."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def is_held(path: Path) -> bool:
    """Whether a process owns the lock of a file, which need not be there; one that may not be looked at counts."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
