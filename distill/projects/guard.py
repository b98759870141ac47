"""A process between somebody and a command: it ends the command, with all that it started, when that somebody is gone.

Called as `python -m distill.projects.guard COMMAND ...` with a pipe as its standard input. When the other end of the
pipe closes, also because its owner was killed, or when the guard is asked to stop, the command's process group is asked
to end (SIGTERM), and is killed when it has not after a while.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.05


def main(command: list[str]) -> int:
    """Run a command until it ends or nobody waits for it any more; its exit code."""
    over = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def watch() -> None:
        # Nothing is ever written to it: reading returns when the other end is closed.
        with suppress(OSError):
            os.read(sys.stdin.fileno(), 1)
        over.set()

    threading.Thread(target=watch, name="owner-watch", daemon=True).start()
    while child.poll() is None:
        if over.wait(POLL_SECONDS):
            _end_group(child)
    return child.returncode


def _end_group(child: "subprocess.Popen[bytes]") -> None:
    """End every process of the child's group; whoever catches the signal has a while to save its state."""
    until = time.monotonic() + GRACE_SECONDS
    _signal(child.pid, signal.SIGTERM)
    while _alive(child) and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
    _signal(child.pid, signal.SIGKILL)
    child.wait()


def _alive(child: "subprocess.Popen[bytes]") -> bool:
    """Whether any process of the group is left; one that ended and was not waited for would count."""
    child.poll()
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
