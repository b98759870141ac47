"""A Dask cluster by the address of its scheduler, whose workers are of this version and read the same sounds."""

import logging
import pickle
import threading
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from distill import __version__
from distill.errors import DataError, StorageError, UsageError
from distill.workers.compatibility import difference, facts
from distill.workers.place import Item, Result, Work

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 10.0
# What Dask calls an error that says that a worker, or the scheduler, is gone.
_LOST = ("CancelledError", "FutureCancelledError", "FuturesCancelledError", "CommClosedError")


class Cluster:
    """The workers of a Dask cluster; see `distill.workers.place.Place`.

    Dask gives a shard whose worker dies to another one.

    Args:
        address: of the scheduler, such as tcp://host:8786.

    Raises:
        UsageError: Dask is not installed, the address is none or does not answer, or a worker there has no distill.
    """

    shard_bytes = 64 << 20
    elsewhere = True

    def __init__(self, address: str) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._common: tuple[Any, Any, Future] | None = None
        self._client = _connect(address)
        try:
            self._client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            self._client.close()
            raise UsageError(f"the Dask scheduler {address} has no worker: start one: dask worker {address}") from error
        if without := _without_distill(self._client, address):
            self._client.close()
            raise UsageError(without)
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
        future = self._client.submit(_run, facts(), self._sent(work, common), pickle.dumps(shard), pure=False)
        try:
            answer = future.result()
        except Exception as error:
            raise self._in_words(error, shard) from error
        if isinstance(answer, str):
            raise UsageError(answer)
        found: list[Result] = pickle.loads(answer)  # noqa: S301, from a worker of the user's own cluster
        return found

    def _sent(self, work: Any, common: Any) -> "Future":
        """What all items have in common, as Dask knows it: a task, which is done again where its result was lost."""
        with self._lock:
            if self._common is None or self._common[0] is not common or self._common[1] is not work:
                self._common = (common, work, self._client.submit(_same, pickle.dumps((work, common)), pure=False))
            return self._common[2]

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
        return error


def _connect(address: str) -> "Client":
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from distributed import Client
    except ImportError as error:
        raise UsageError("Dask is not installed: pip install 'distill-audio[dask]'") from error
    # It logs every connection and every failed attempt.
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


def _without_distill(client: "Client", address: str) -> str:
    """Who of a cluster cannot take up this version's work, in words; empty if all can.

    A worker that is sent a function that it does not have never answers.
    """

    def version() -> str:
        # This function is sent as it is, as it has no name by which it could be found.
        import importlib

        try:
            importlib.import_module("distill.workers.cluster")
        except ImportError as error:
            return f"({error})"
        return str(importlib.import_module("distill").__version__)

    versions = {f"the Dask worker {worker}": each for worker, each in client.run(version).items()}
    versions[f"the Dask scheduler {address}"] = client.run_on_scheduler(version)
    for who, found in versions.items():
        if found != __version__:
            return f"{who} has another distill than {__version__}: {found}; install the same there"
    return ""


# The scheduler takes apart and puts together again what it passes on: it is given bytes, so that it loads no torch.


def _same(common: bytes) -> bytes:
    return common


def _run(expected: dict[str, str], common: bytes, shard: bytes) -> bytes | str:
    """On a worker: the results of a shard, or why they would not be those of another one."""
    from distributed import get_worker

    differs = difference(expected, facts())
    if differs:
        return f"the Dask worker {get_worker().address} has {differs}: install the same versions there"
    work, known = _load(common)
    return pickle.dumps([work(known, item) for item in pickle.loads(shard)])  # noqa: S301, from who asked for the work


@lru_cache(maxsize=2)
def _load(common: bytes) -> tuple[Any, Any]:
    loaded: tuple[Any, Any] = pickle.loads(common)  # noqa: S301, from who asked for the work
    return loaded
