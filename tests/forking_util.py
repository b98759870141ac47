"""A process that has loaded what a page needs; its forks serve pages without the seconds that loading takes."""

import json
import os
import signal
import socket
import subprocess
import sys
from functools import cache
from typing import TextIO

import psutil

MOST_BYTES = 1 << 20


@cache
def _loaded() -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
    """Where orders for that process go, and the process, which ends with the tests."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        return ours, subprocess.Popen([sys.executable, __file__], stdin=its)


def fork(arguments: list[str], environment: dict[str, str]) -> tuple[psutil.Process, TextIO]:
    """The command `distill` in a fork of that process, and what it prints."""
    (orders, _), (output, its_output) = _loaded(), os.pipe()
    socket.send_fds(orders, [json.dumps([arguments, environment]).encode()], [its_output])
    os.close(its_output)
    return psutil.Process(int(orders.recv(MOST_BYTES))), os.fdopen(output)


def _follow(orders: socket.socket) -> None:
    """Fork for each order. A fork returns; its output goes where the order says."""
    # Who asked for a fork waits until it is gone, and only here it could be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        order, [*outputs], *_ = socket.recv_fds(orders, MOST_BYTES, 1)
        if not order:
            sys.exit()
        if not (process := os.fork()):
            break
        orders.send(str(process).encode())
        os.close(outputs[0])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(outputs[0], sys.stdout.fileno())
    os.close(outputs[0])
    arguments, environment = json.loads(order)
    sys.argv = ["distill", *arguments]
    os.environ.clear()
    os.environ.update(environment)


if __name__ == "__main__":
    # As `python -m distill` has it: what lies beside the tests is none of its.
    del sys.path[0]
    from distill.cli.console import loading
    from distill.cli.main import QUIET_TOOLS, main

    os.environ.update(QUIET_TOOLS)
    with loading():
        import distill.ui.app
        import distill.ui.server  # noqa: F401

    with socket.socket(fileno=os.dup(0)) as given:
        _follow(given)
    main()
