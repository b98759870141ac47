"""Servers of this machine: whether their port is free, and when they are there."""

import socket
import subprocess
import time
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from distill.errors import UsageError

HOST = "127.0.0.1"
POLL_SECONDS = 0.2
# No proxy leads to this machine, nor is one told its tokens.
_DIRECT = build_opener(ProxyHandler({}))


def require_free_port(port: int) -> None:
    """Make sure that a server can listen on a port of this machine.

    Raises:
        UsageError: something else does.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(f"port {port} is taken: choose another one with --port") from error


def is_up(url: str | Request, server: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Wait until a server answers at a URL; False: it ended before, or did not within that time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        try:
            with _DIRECT.open(url, timeout=5):
                return True
        except (URLError, OSError):
            time.sleep(POLL_SECONDS)
    return False
