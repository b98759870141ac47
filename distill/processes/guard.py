"""A process between an owner and a command: it ends the command, with all that it started, when the owner is gone.

Called as `python -m distill.processes.guard COMMAND ...` with a pipe as its standard input. When it is asked to stop,
by a byte in the pipe or a signal, the command's process group is asked to end (SIGTERM), and is killed when it has not
after a while. When the other end of the pipe closes without a word, its owner was killed: then, and when the command
itself was killed, the rest of the group has a moment. Were the guard killed, the system ends the command (on Linux),
and the stage notices by itself.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from distill.live.stop_request import GUARD, KILLED_SECONDS
from distill.processes.run_lock import inherited_descriptor, note_stops

ORDERLY_SECONDS = 10.0
POLL_SECONDS = 0.05
ORDERLY = b"."
# The exit codes if the command was killed from outside, and if a signal asked the guard to stop it.
KILLED, ASKED = 70, 71
_PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> int:
    """Run a command until it ends or its owner is gone; its exit code."""
    over, asked = threading.Event(), False
    grace = KILLED_SECONDS

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal grace, asked
        grace, asked = ORDERLY_SECONDS, True
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask)
    held = inherited_descriptor()
    if held is not None:
        # Not before a signal is heard: who asks waits for this note.
        note_stops(held, os.getpid())
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, GUARD: str(os.getpid())},
        # The run counts as going on until the last of its processes has ended.
        pass_fds=() if held is None else (held,),
        # No thread runs yet that could hold a lock in this moment.
        preexec_fn=_die_with(os.getpid()) if sys.platform == "linux" else None,
    )

    def watch() -> None:
        nonlocal grace
        with suppress(OSError):
            if os.read(sys.stdin.fileno(), 1) == ORDERLY:
                grace = ORDERLY_SECONDS
        over.set()

    threading.Thread(target=watch, name="owner-watch", daemon=True).start()
    while child.poll() is None:
        if over.wait(POLL_SECONDS):
            _end_group(child, grace)
    # A command that was killed leaves what it had started.
    _end_group(child, KILLED_SECONDS)
    if held is not None:
        # Before the last look: who asks from now on waits for what comes next.
        note_stops(held, None)
    if asked:
        return ASKED
    return KILLED if child.returncode < 0 and not over.is_set() else child.returncode


def release(guard: "subprocess.Popen[Any]") -> None:
    """Let a guard end its command in order, and wait for that; without this its owner counts as killed."""
    assert guard.stdin is not None
    if not guard.stdin.closed:
        # Another thread may close it at the same moment.
        with suppress(OSError, ValueError):
            os.write(guard.stdin.fileno(), ORDERLY)
        guard.stdin.close()
    guard.wait()


def _die_with(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def _end_group(child: "subprocess.Popen[bytes]", seconds: float) -> None:
    """End every process of the child's group; a process that catches the signal has a while to save its state."""
    until = time.monotonic() + seconds
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
    # Python's own way out would no longer hear a signal.
    os._exit(main(sys.argv[1:]))
