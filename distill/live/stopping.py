"""Asking a run to stop: SIGINT, SIGTERM and the death of the parent process."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from distill.errors import Interrupted


class StopRequest:
    """A flag that long work looks at between two steps."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ask(self) -> None:
        """Ask the work to stop as soon as its state is saved."""
        self._event.set()

    @property
    def asked(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise if somebody asked.

        Raises:
            Interrupted: somebody asked to stop.
        """
        if self.asked:
            raise Interrupted("interrupted")


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """A stop request that SIGINT and SIGTERM set; a second signal ends the process at once."""
    request = StopRequest()

    def ask(number: int, _frame: FrameType | None) -> None:
        if request.asked:
            os._exit(128 + number)
        request.ask()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_with_parent(request: StopRequest, *, poll_seconds: float = 1.0) -> None:
    """Ask `request` to stop when the process that started this one is gone."""
    parent = os.getppid()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(poll_seconds):
            if os.getppid() != parent:
                request.ask()
                return

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
