"""Where work on many items is done, and how it is cut into shards: results come in order."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
# The work itself, called with what all items have in common, and with an item.
Work = Callable[[Any, Item], Result]

# Most items of a shard.
SHARD_ITEMS = 64
# Shards that wait or are being worked on, by worker: enough that no worker waits for the next one.
WAITING = 4


class Place(Protocol):
    """Where shards are worked on; a context manager.

    Attributes:
        workers: how many work at a time.
        shard_bytes: of how many bytes a shard may be.
        elsewhere: whether a worker may see other files than this process.
    """

    workers: int
    shard_bytes: int
    elsewhere: bool

    def run(self, work: "Work[Item, Result]", common: Any, shard: list[Item]) -> list[Result]:
        """The results of a shard; called from as many threads as there are workers."""

    def __enter__(self) -> "Place":
        """Begin."""

    def __exit__(self, *error: object) -> None:
        """End all that was started."""


def mapped(
    place: Place, work: "Work[Item, Result]", common: Any, items: Iterable[Item], size: Callable[[Item], int]
) -> Generator[Result, None, None]:
    """The results of items in their order; whoever may give up before the last one closes it, in its own thread.

    An item that is larger than a shard may be is worked on in this process, where its result may lie on disk.

    Args:
        place: where the work is done.
        work: a function of a module; it sets the threads of torch that its results depend on.
        common: what all items have in common; it is sent once.
        items: read as they are needed.
        size: bytes of an item.
    """

    def run(shard: list[Item]) -> list[Result]:
        if size(shard[0]) > place.shard_bytes:
            return [work(common, item) for item in shard]
        return place.run(work, common, shard)

    for results in ordered_map(run, _shards(items, size, place.shard_bytes), place.workers, start=None):
        yield from results


def _shards(items: Iterable[Item], size: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    shard: list[Item] = []
    held = 0
    for item in items:
        if shard and (len(shard) == SHARD_ITEMS or held + size(item) > most):
            yield shard
            shard, held = [], 0
        shard.append(item)
        held += size(item)
    if shard:
        yield shard


class Here:
    """Threads of this process, for few items: decoding, resampling, hashing and Fourier transforms release its lock."""

    # Nothing is sent, and large results wait on disk.
    shard_bytes = 0
    elsewhere = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, work: "Work[Item, Result]", common: Any, shard: list[Item]) -> list[Result]:
        """The results of a shard."""
        return [work(common, item) for item in shard]


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_thread() -> None:
    """Let torch use one thread for each call of this thread."""
    import torch

    torch.set_num_threads(1)


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    start: Callable[[], None] | None = one_thread,
) -> Iterator[Result]:
    """Results in the order of the items, computed by `workers` threads, few of them waiting at any time.

    `start` is called by each thread first; a single worker is the calling thread itself.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers, initializer=start) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= WAITING * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def single_threaded_torch() -> Iterator[None]:
    """Let torch use one thread for each call, so that results depend on no number of workers."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
