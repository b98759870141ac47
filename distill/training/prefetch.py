"""Making the next items beside what is done with the current one."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

Item = TypeVar("Item")

# How many items wait at most.
DEPTH = 2


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, made by another thread while the caller works on the one before.

    A caller that leaves early waits until the thread has ended, so that no two threads make items at the same time.

    Raises:
        Exception: what making an item raises, in its place.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(DEPTH)
    left = threading.Event()

    def offer(item: Item | None, error: BaseException | None) -> bool:
        while not left.is_set():
            try:
                ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not offer(item, None):
                    return
        except Exception as error:  # noqa: BLE001
            offer(None, error)
        else:
            offer(None, StopIteration())

    thread = threading.Thread(target=make, name="batches", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        left.set()
        thread.join()
