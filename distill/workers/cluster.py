"""A Dask cluster by the address of its scheduler, whose workers are of this version and read the same sounds."""

import logging
import threading
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distill.errors import DataError, StorageError, UsageError
from distill.workers.place import Item, Result, Work
from distill.workers.same import difference, facts

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 10.0
# What Dask calls an error that says that a worker, or the scheduler, is gone.
_LOST = ("CancelledError", "FutureCancelledError", "CommClosedError", "FuturesCancelledError", "FutureCancelledError")


class Cluster:
    """The workers of a Dask cluster; see `distill.workers.place.Place`.

    Dask gives a shard whose worker dies to another one.

    Args:
        address: of the scheduler, such as tcp://host:8786.

    Raises:
        UsageError: Dask is not installed, the address is none, or nobody answers there.
    """

    shard_bytes = 64 << 20
    elsewhere = True

    def __init__(self, address: str) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._common: tuple[Any, Future] | None = None
        self._client = _connected(address)
        try:
            self._client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            self._client.close()
            raise UsageError(f"the Dask scheduler {address} has no worker: start one: dask worker {address}") from error
        # Two for each thread: one works while the results of the other are on their way.
        self.workers = max(1, 2 * sum(self._client.nthreads().values()))

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *error: object) -> None:
        self._common = None
        self._client.close(timeout=CONNECT_SECONDS)

    def run(self, work: "Work[Item, Result]", common: Any, shard: list[Item]) -> list[Result]:
        """The results of a shard, from any worker.

        Raises:
            UsageError: a worker is of another version, or has no distill.
            StorageError: the scheduler is gone.
            DataError: one worker after the other dies over it.
        """
        future = self._client.submit(_run, facts(), work, self._sent(common), shard, pure=False)
        try:
            answer, message = future.result()
        except Exception as error:
            raise self._in_words(error, shard) from error
        if message:
            raise UsageError(message)
        found: list[Result] = answer
        return found

    def _sent(self, common: Any) -> "Future":
        """What all items have in common, as Dask knows it: a task, which is done again where its result was lost."""
        with self._lock:
            if self._common is None or self._common[0] is not common:
                self._common = (common, self._client.submit(_same, common, pure=False))
            return self._common[1]

    def _in_words(self, error: Exception, shard: list[Any]) -> Exception:
        name = type(error).__name__
        if name == "KilledWorker":
            return DataError(
                f"one Dask worker of {self.address} after the other died over the same {len(shard)} files, from "
                f"{shard[0]} on: give the workers more memory, or leave these files out"
            )
        if name in _LOST or isinstance(error, (OSError, TimeoutError)):
            return StorageError(
                f"the Dask scheduler {self.address} went away in the middle: start it, and the same command again"
            )
        said = " ".join(str(error.__cause__ or error).split())
        if isinstance(error, (ImportError, AttributeError)) or "deserializ" in said:
            mine = facts()["distill"]
            return UsageError(
                f"a Dask worker of {self.address} does not have distill {mine} ({said[:200]}): install it there"
            )
        return error


def _connected(address: str) -> "Client":
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from distributed import Client
    except ImportError as error:
        raise UsageError("Dask is not installed: pip install 'distill-audio[dask]'") from error
    # It tells of every connection, and of each that it tries in vain.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # Of versions that differ, those that matter are looked at by each worker.
            warnings.simplefilter("ignore")
            return Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="distill")
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address}: start one (dask scheduler), or correct run.dask or "
            "DASK_SCHEDULER_ADDRESS"
        ) from error


def _same(common: Any) -> Any:
    return common


def _run(expected: dict[str, str], work: Any, common: Any, shard: list[Any]) -> tuple[list[Any], str]:
    """On a worker: the results of a shard, or why they would not be those of another one."""
    from distributed import get_worker

    differs = difference(expected, facts())
    if differs:
        with suppress(ValueError):
            return [], f"the Dask worker {get_worker().address} has {differs}: install the same versions there"
    return [work(common, item) for item in shard], ""
