"""A process that ends Prefect's temporary server when the run that it was started for is gone.

Called as `python follow.py PID`, with a pipe as its standard input whose other end the run's process has: the system
closes it when that process ends, however it does. The server is known by its command, and by the mark in its
environment.
"""

import sys
import time
from contextlib import suppress

import psutil

SERVER = "prefect.server.api.server:create_app"
MARK = "DISTILL_FLOW_PROCESS"
GRACE_SECONDS = 3.0


def main(pid: str) -> None:
    """Wait, then ask the server to end, and kill it when it has not after a while."""
    sys.stdin.buffer.read()
    until = time.monotonic() + GRACE_SECONDS
    while servers := _servers(pid):
        for server in servers:
            with suppress(psutil.NoSuchProcess):
                server.terminate() if time.monotonic() < until else server.kill()
        time.sleep(0.5)


def _servers(pid: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and SERVER in process.cmdline() and process.environ().get(MARK) == pid:
                found.append(process)
    return found


if __name__ == "__main__":
    main(sys.argv[1])
