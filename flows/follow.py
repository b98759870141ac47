"""A process that ends another one when its own standard input closes: when whoever holds its other end is gone.

Called as `python follow.py PID`. It has hold of that process from its start on, so that no later one of the same number
is ended in its place. Linux alone can do that.
"""

import os
import select
import signal
import sys

GRACE_SECONDS = 3.0


def main(pid: int) -> None:
    """Wait, then ask the process to end, and kill it when it has not after a while."""
    try:
        process = os.pidfd_open(pid)
        sys.stdin.buffer.read()
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], GRACE_SECONDS)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main(int(sys.argv[1]))
