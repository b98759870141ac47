"""Locks between processes on open files, which the system frees when their owner dies."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distill.errors import Interrupted, StorageError
from distill.files import storage_errors

try:
    import fcntl
except ImportError:
    # Windows has locks of another kind.
    fcntl = None  # type: ignore[assignment]

POLL_SECONDS = 0.02
# Between two tries to get a lock that may be held for hours.
PATIENT_SECONDS = 0.2

_closed = threading.Event()


def try_lock(descriptor: int) -> bool:
    """Try to own the lock of an open file; False if another process does.

    Raises:
        StorageError: the file system has no locks.
    """
    try:
        _lock(descriptor)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        raise StorageError(f"this file system has no locks ({error.strerror}): put the project on another") from error
    return True


def try_lock_within(descriptor: int, seconds: float) -> bool:
    """The same within some seconds, as `is_held` takes the lock for a moment.

    Raises:
        StorageError: the file system has no locks.
    """
    until = time.monotonic() + seconds
    while not try_lock(descriptor):
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True


def acquire(path: Path, wait: Callable[[], None]) -> int:
    """The descriptor of a lock file that this process now owns; the file is made where it is missing.

    `wait` is called before each further try, and may raise. The owner may remove the file: a process that
    waited for the old file does not take it for the new one.

    Raises:
        StorageError: the file cannot be made, or the file system has no locks.
    """
    while True:
        with storage_errors(path, "lock"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:
                # Its folder was removed in this moment, unless the file is a link that leads nowhere.
                if path.is_symlink():
                    raise
                continue
        try:
            while not try_lock(descriptor):
                wait()
            if is_file_of(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextmanager
def tried(path: Path, seconds: float = 0.0) -> Iterator[bool]:
    """Try within some seconds to own a lock file for the block; False if another process does.

    The file and its folder are made where they are missing.

    Raises:
        StorageError: the file cannot be made, or the file system has no locks.
    """
    with storage_errors(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield try_lock_within(descriptor, seconds)
    finally:
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
        _lock(descriptor, shared=True)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def wait_for(path: Path) -> int:
    """The descriptor of a lock file, owned after waiting for any other owner.

    Raises:
        StorageError: as `acquire`.
    """
    return acquire(path, lambda: time.sleep(POLL_SECONDS))


def close() -> None:
    """Let this process wait for no more locks and start no more stages; `reopen` takes it back."""
    _closed.set()


def reopen() -> None:
    """Allow waiting and starting again after `close`."""
    _closed.clear()


def require_open() -> None:
    """Make sure that this process may still wait and start stages.

    Raises:
        Interrupted: `close` was called.
    """
    if _closed.is_set():
        raise Interrupted("interrupted")


@contextmanager
def lock(path: Path, on_wait: Callable[[], None], *, remove: bool = False) -> Iterator[None]:
    """Own a lock file for the block; `on_wait` is called once if another process owns it.

    `remove` deletes the file at the end, for locks of which there would be many files.

    Raises:
        StorageError: the file cannot be made.
        Interrupted: this process was closed meanwhile.
    """
    descriptor = acquire(path, patiently(on_wait))
    try:
        yield
        if remove:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def patiently(on_wait: Callable[[], None]) -> Callable[[], None]:
    """A wait for `acquire` that calls `on_wait` once and goes on until this process is closed."""
    calls = iter((on_wait,))

    def wait() -> None:
        next(calls, lambda: None)()
        # Checked at every try, so that a waiting thread can be stopped.
        require_open()
        time.sleep(PATIENT_SECONDS)

    return wait


def _lock(descriptor: int, *, shared: bool = False) -> None:
    """Lock an open file until its descriptor is closed; OSError if another process has."""
    if fcntl is not None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        return
    import msvcrt

    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
