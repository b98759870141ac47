"""Locks between processes on open files, which the system frees when their owner dies."""

import fcntl
import os
import time
from pathlib import Path

from distill.errors import StorageError

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


def is_held(path: Path) -> bool:
    """Whether a process owns the lock of a file, which need not be there."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
