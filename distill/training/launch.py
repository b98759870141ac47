"""The other processes of a training on this host: started by the first one, watched, and gone when it is."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from torch._C._distributed_c10d import Store, TCPStore

from distill.errors import EXIT_INTERRUPTED, TrainingError
from distill.live.processes import LOCAL_RANK, LOCAL_SIZE, RANK, SIZE
from distill.live.stop_request import StopRequest
from distill.training.group import LOOPBACK, PATIENCE

# The port at which the first process waits for the others.
PORT = "DISTILL_TRAINING_PORT"
POLL_SECONDS = 0.1
# How long the others may take to end by themselves: a moment where the training failed, and when it is done.
FAILED_SECONDS, DONE_SECONDS = 3.0, 30.0


@dataclass(frozen=True)
class _Child:
    rank: int
    process: "subprocess.Popen[bytes]"
    said: IO[bytes]


class Started:
    """The processes that the first one of a training has started.

    When one of them ends before its time the others would wait for it: the training is asked to stop, and saves its
    state where it can.

    Attributes:
        store: by which the processes find each other.

    Args:
        command: what each of them runs.
        size: processes of the training, this one among them.
        stop: asked when one of them is gone.
    """

    def __init__(self, command: Sequence[str], size: int, stop: StopRequest) -> None:
        self.size, self.stop = size, stop
        self.store = TCPStore(LOOPBACK, 0, size, is_master=True, wait_for_workers=False, timeout=PATIENCE)
        self._failure: str | None = None
        self._over = threading.Event()
        self._children = [self._start(command, rank) for rank in range(1, size)]
        self._watch = threading.Thread(target=self._look, name="processes-watch", daemon=True)
        self._watch.start()

    def wait_until_ready(self) -> None:
        """Wait until all of them are there.

        Raises:
            TrainingError: one is gone.
            Interrupted: a stop was requested.
        """
        names = [ready(rank) for rank in range(1, self.size)]
        while not self.store.check(names):
            self.require_all()
            self.stop.check()
            time.sleep(POLL_SECONDS)

    def require_all(self, *, within: float = 0.0) -> None:
        """Make sure that none of them has ended; one that is just ending may take so many s to do so.

        Raises:
            TrainingError: one has.
        """
        until = time.monotonic() + within
        while self._failure is None and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        if self._failure is not None:
            raise TrainingError(self._failure)

    def end(self, *, done: bool) -> None:
        """Wait until all have ended, not for long; whether the training is `done` or failed, none is left."""
        self._over.set()
        self._watch.join()
        until = time.monotonic() + (DONE_SECONDS if done else FAILED_SECONDS)
        for child in self._children:
            try:
                child.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            child.said.close()

    def _start(self, command: Sequence[str], rank: int) -> _Child:
        numbers = {RANK: rank, SIZE: self.size, LOCAL_RANK: rank, LOCAL_SIZE: self.size, PORT: self.store.port}
        said = tempfile.TemporaryFile()  # noqa: SIM115
        process = subprocess.Popen(
            command,
            env={**os.environ, **{name: str(value) for name, value in numbers.items()}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        return _Child(rank, process, said)

    def _look(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            for child in self._children:
                code = child.process.poll()
                if code:
                    self._failure = None if code == EXIT_INTERRUPTED else self._why(child)
                    self.stop.ask()
                    return

    def _why(self, child: _Child) -> str:
        code = child.process.returncode
        name = f"process {child.rank + 1} of {self.size} of the training"
        again = "run the same command to resume"
        if code < 0:
            return f"{name} was killed ({signal.Signals(-code).name}), and all have ended: {again}"
        child.said.seek(0)
        lines = [line for line in child.said.read().decode(errors="replace").splitlines() if line.strip()]
        reason = lines[-1].removeprefix("distill: ") if lines else f"it ended with exit code {code}"
        return f"{name}: {reason}"


def ready(rank: int) -> str:
    """What a process writes into the store when it is there."""
    return f"ready-{rank}"


def store_of_first() -> Store | None:
    """The store of the process that has started this one; None: torchrun has started it.

    Raises:
        TrainingError: that process is gone.
    """
    if (port := os.environ.get(PORT)) is None:
        return None
    try:
        store = TCPStore(LOOPBACK, int(port), int(os.environ[SIZE]), is_master=False, timeout=PATIENCE)
        store.set(ready(int(os.environ[RANK])), "")
    except (RuntimeError, ValueError) as error:
        raise TrainingError("the first process of the training is gone") from error
    return store
