"""Asking a run to stop: SIGINT, SIGTERM, SIGHUP and the death of the parent process."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from distill.errors import Interrupted

# The process id of the guard that ends the group in which a stage runs.
GUARD = "DISTILL_GUARD"
# How long what lost its owner may still save its state.
KILLED_SECONDS = 3.0
POLL_SECONDS = 0.5


_parent: int | None = None


def remember_parent() -> None:
    """Note which process started this one, before it can have ended: importing takes seconds."""
    global _parent
    _parent = os.getppid()


class StopRequest:
    """A flag that long work looks at between two steps."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ask(self) -> None:
        """Ask the work to stop as soon as its state is saved."""
        self._event.set()

    @property
    def asked(self) -> bool:
        """Whether a stop was requested."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise if a stop was requested.

        Raises:
            Interrupted: a stop was requested.
        """
        if self.asked:
            raise Interrupted("interrupted")


def ending_signals() -> tuple[int, ...]:
    """SIGTERM, and SIGHUP unless this process shall outlive its terminal (nohup)."""
    hangup: int | None = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return signal.SIGTERM, hangup


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """A stop request that SIGINT, SIGTERM and SIGHUP set; a second SIGINT ends the process at once.

    Whoever sends one of the others again, as does a second wish to stop the run, wants the state to be saved.
    """
    request = StopRequest()

    def ask(number: int, _frame: FrameType | None) -> None:
        if request.asked and number == signal.SIGINT:
            os._exit(128 + number)
        request.ask()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, *ending_signals())}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_with_owner(request: StopRequest) -> None:
    """Ask `request` to stop when the process that started this one is gone, or the guard that watches over it.

    What has not ended a moment later is killed, with whatever it shares a guard with.
    """
    # Every command asks here which signals end it; few have an owner.
    import psutil

    parent, guard = _parent or os.getppid(), os.environ.get(GUARD)

    def owned() -> bool:
        # Below a guard its own end decides, and the guard sees to the parent's: a shell may stand between.
        return psutil.pid_exists(int(guard)) if guard else os.getppid() == parent

    def watch() -> None:
        while owned():
            time.sleep(POLL_SECONDS)
        request.ask()
        time.sleep(KILLED_SECONDS)
        if guard:
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="owner-watch", daemon=True).start()
