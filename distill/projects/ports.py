"""Whether a local port is free."""

import socket

from distill.errors import UsageError

HOST = "127.0.0.1"


def require_free(port: int, option: str = "--port") -> None:
    """Make sure that a server can listen on a port of this machine.

    Raises:
        UsageError: something else does.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(f"port {port} is taken: choose another with {option}") from error
