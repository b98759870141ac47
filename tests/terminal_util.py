"""Terminals in which the lines of a page are run one after the other, as a reader gives them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

# Lines that go on until Ctrl-C, and what they say once they are up.
SERVERS = {
    r"distill (ui|start)\b": r"http://\S+/\?token=",
    r"distill tracking open\b": r"http://\S+token=",
    r"distill serve-flows\b": r"Press Ctrl-C to stop",
    # One of the two comes before it listens; which one depends on the number of its workers.
    r"mlflow (server|models serve)\b": r"(?s)\A(?=.*Application startup complete)(?=.*Uvicorn running)",
    r"prefect server start\b": r"Check out the dashboard",
    r"prefect worker start\b": r"Worker .* started",
    r"dask scheduler\b": r"Scheduler at:",
    r"dask worker\b": r"Registered to:",
}
# Lines come through the first pipe, their exit codes go through the second.
_LOOP = r'set -m; while IFS= read -r -d "" -u "$1" line; do eval "$line" < /dev/null; printf "%s\n" "$?" >&"$2"; done'
_LOOPBACK = """
import fcntl, socket, struct, time
with socket.socket() as any_socket:
    # The flags of an interface (SIOCSIFFLAGS): up and running.
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
print("up", flush=True)
time.sleep(86400)
"""


@dataclass(frozen=True)
class Answer:
    """How a line ended, and what it said on stdout and stderr."""

    code: int
    said: str


class Terminal:
    """A shell that keeps its folder and its variables from line to line."""

    def __init__(self, prefix: list[str], folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        lines, self._lines = os.pipe()
        self._codes, codes = os.pipe()
        with log.open("wb") as written:
            self._shell = subprocess.Popen(
                # With job control, Ctrl-C reaches what is running and not the shell; tests that run in the background
                # ignore it, and so would what they start.
                [*prefix, "env", "--default-signal=INT", "bash", "-c", _LOOP, "bash", str(lines), str(codes)],
                cwd=folder,
                env=dict(environment),
                stdout=written,
                stderr=subprocess.STDOUT,
                pass_fds=(lines, codes),
                start_new_session=True,
            )
        os.close(lines)
        os.close(codes)

    @property
    def folder(self) -> Path:
        """Where the shell stands."""
        return Path(psutil.Process(self._shell.pid).cwd())

    def run(self, line: str, seconds: float) -> Answer:
        """Run a line to its end.

        Raises:
            AssertionError: it takes longer than `seconds`.
        """
        before = self.log.stat().st_size
        self._give(line)
        return self._ended(line, before, seconds)

    def start(self, line: str, up: str, seconds: float) -> None:
        """Run a line that goes on, until it says that it is up."""
        self._before = self.log.stat().st_size
        self._give(line)
        until = time.monotonic() + seconds
        while not re.search(up, self._said(self._before)):
            said = self._said(self._before)
            assert not self._code(), f"{line}: ended\n{said}"
            assert time.monotonic() < until, f"{line}: not up after {seconds} s\n{said}"
            time.sleep(0.1)
        self._running = line

    def stop(self, seconds: float = 60.0) -> Answer:
        """Press Ctrl-C."""
        for child in psutil.Process(self._shell.pid).children():
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGINT)
        return self._ended(self._running, self._before, seconds)

    def close(self) -> None:
        """Close the shell."""
        os.close(self._lines)
        os.close(self._codes)
        self._shell.kill()
        self._shell.wait()

    def _give(self, line: str) -> None:
        os.write(self._lines, line.encode() + b"\0")

    def _ended(self, line: str, before: int, seconds: float) -> Answer:
        until, answer = time.monotonic() + seconds, b""
        while not answer.endswith(b"\n"):
            assert time.monotonic() < until, f"{line}: not done after {seconds} s\n{self._said(before)}"
            answer += self._code()
            time.sleep(0.01)
        return Answer(int(answer), self._said(before))

    def _code(self) -> bytes:
        """What has come of a line's exit code; empty while it runs."""
        os.set_blocking(self._codes, False)
        with suppress(BlockingIOError):
            return os.read(self._codes, 16)
        return b""

    def _said(self, before: int) -> str:
        with self.log.open("rb") as file:
            file.seek(before)
            return file.read().decode(errors="replace")


@contextmanager
def offline() -> Iterator[list[str]]:
    """A network of its own with nothing but this machine: what to put before a command so that it is in it.

    Every port that a page names is free there. Where such networks cannot be made, commands use the machine's own.
    """
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        yield []
        return
    holder = subprocess.Popen(
        ["unshare", "--map-root-user", "--net", sys.executable, "-c", _LOOPBACK],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert holder.stdout is not None
        made = holder.stdout.readline() == "up\n"
        inside = ["nsenter", f"--target={holder.pid}", "--user", "--net", "--preserve-credentials", "--"]
        yield inside if made else []
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def end_all(marker: str) -> None:
    """End whatever was started with this text in its environment."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if marker in process.environ().values():
                process.kill()
