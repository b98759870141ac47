"""A Dask cluster of processes on this machine, as somebody starts it by the command `dask`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from page_util import wait


class DaskCluster:
    """A scheduler and its workers."""

    def __init__(self, folder: Path, workers: int = 0) -> None:
        self.folder, self.workers = folder, list[subprocess.Popen[bytes]]()
        told = folder / "scheduler.json"
        command = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told)]
        self.scheduler = self._start("scheduler", command)

        def address() -> str:
            assert self.scheduler.poll() is None, (folder / "scheduler.txt").read_text()
            text = told.read_text() if told.is_file() else ""
            return str(json.loads(text)["address"]) if text.endswith("}") else ""

        self.address = wait(address)
        for _ in range(workers):
            self.add_worker()

    def add_worker(self, *before: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker with one thread and no nanny, which would start it again; maybe by another command."""
        name = f"worker-{len(self.workers)}"
        command = ["worker", self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard", "--name", name]
        worker = self._start(name, [*command, "--local-directory", str(self.folder)], *before, **environment)
        self.workers.append(worker)
        return worker

    def end(self) -> None:
        """Kill all of them."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _start(self, name: str, command: list[str], *before: str, **environment: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.txt").open("wb") as told:
            return subprocess.Popen(
                [*before, sys.executable, "-m", "dask", *command],
                stdout=told,
                stderr=told,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
            )


@contextmanager
def dask_cluster(folder: Path, workers: int = 0) -> Iterator[DaskCluster]:
    """A cluster with so many workers, for as long as the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = DaskCluster(folder, workers)
    try:
        yield cluster
    finally:
        cluster.end()


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End a process as a machine that fails does."""
    process.send_signal(signal.SIGKILL)
    process.wait()
