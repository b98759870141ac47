"""Processes of this machine: each thread that asks for work has one of its own, and a new one when that has died."""

import os
import pickle
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill.errors import DataError
from distill.programs import PYTHON
from distill.workers.place import Item, Result, Work

# A process that starts has to load what it works with: 2 to 3 s.
_COMMAND = [*PYTHON, "-m", "distill.workers.child"]
# Processes that may die over a shard before it is given up.
MOST_DEATHS = 3


class Processes:
    """As many processes as there are workers, started when they are first needed; see `distill.workers.place.Place`."""

    # A larger sound keeps a core busy by itself, and its result is to lie on disk.
    shard_bytes = 4 << 20
    elsewhere = False

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._own = threading.local()
        self._all: list[_Child] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *error: object) -> None:
        for child in self._all:
            child.end()

    def run(self, work: "Work[Item, Result]", common: Any, shard: list[Item]) -> list[Result]:
        """The results of a shard, from the process of this thread.

        Raises:
            DataError: one process after the other dies over it.
        """
        for _ in range(MOST_DEATHS):
            try:
                return self._child().run(work, common, shard)
            except (EOFError, BrokenPipeError, ConnectionError, pickle.UnpicklingError):
                self._own.child.end()
        raise DataError(
            f"{MOST_DEATHS} processes died, one after the other, over the same {len(shard)} files, from {shard[0]} on: "
            "the memory may be full; set run.threads lower, or leave these files out"
        )

    def _child(self) -> "_Child":
        child: _Child | None = getattr(self._own, "child", None)
        if child is None or child.ended:
            self._own.child = child = _Child()
            self._all.append(child)
        return child


class _Child:
    """A process that works on one shard after the other."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.ended = False
        self._process = subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
        )
        self._known: tuple[Any, Any] | None = None

    def run(self, work: Any, common: Any, shard: list[Any]) -> list[Any]:
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        if self._known is None or self._known[0] is not work or self._known[1] is not common:
            pickle.dump((work, common), requests, pickle.HIGHEST_PROTOCOL)
            self._known = (work, common)
        pickle.dump(shard, requests, pickle.HIGHEST_PROTOCOL)
        requests.flush()
        answer = pickle.load(answers)  # noqa: S301, from a process that this one started
        if isinstance(answer, Exception):
            raise answer
        found: list[Any] = answer
        return found

    def end(self) -> None:
        """End the process, whatever it does."""
        if self.ended:
            return
        self.ended = True
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        self._process.wait()
