"""Prefect's temporary server and its login live as long as the flow run, and a flow run no longer than its worker."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

from distill.processes.dvc_stage import stop_running
from flows.follow import MARK

POLL_SECONDS = 0.5
# How long the run has to report its end to the server, which may be gone too.
REPORT_SECONDS = 20.0
# A worker sets this for the process of a flow run.
STARTED_BY_WORKER = "PREFECT__FLOW_RUN_ID"

_watching = threading.Event()
_followers: list["subprocess.Popen[Any]"] = []


class LocalFlow(Flow[..., Any]):
    """A flow that may be called in a process of its own.

    The temporary server that Prefect starts for it answers to this process alone, and is gone when the process is, even
    where it is killed.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not _followers and STARTED_BY_WORKER not in os.environ:
            require_login()
            os.environ[MARK] = str(os.getpid())
            command = [sys.executable, str(Path(__file__).with_name("follow.py")), os.environ[MARK]]
            # A reader of this process's output must not wait for the other one.
            quiet = subprocess.DEVNULL
            _followers.append(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True)
            )
            _start_server()
        return super().__call__(*args, **kwargs)


def _start_server() -> None:
    """Start the temporary server, if one is needed, out of reach of Ctrl-C.

    A terminal interrupts every process that it sees. Without the server the flow would try for minutes to report its
    end.
    """
    if get_current_settings().api.url:
        return
    from prefect.server.api.server import SubprocessASGIServer

    # The started process inherits the blocked signals.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        SubprocessASGIServer().start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_worker() -> None:
    """End this process, and what it runs, when the worker that started it is gone, if one did."""
    if STARTED_BY_WORKER not in os.environ or _watching.is_set():
        return
    _watching.set()
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        # Prefect ends the run as crashed at this signal, so that it does not count as running for ever.
        os.kill(os.getpid(), signal.SIGTERM)
        stop_running()
        time.sleep(REPORT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="worker-watch", daemon=True).start()


def require_login() -> None:
    """Protect the server that this process may start by a login that no other process knows.

    Of no effect where the environment, the profile or the project's settings name a server, which has its own. To be
    called before the first flow.
    """
    if get_current_settings().api.url:
        return
    login = f"distill:{secrets.token_urlsafe(32)}"
    # The environment reaches the server's process and those of Dask.
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = os.environ["PREFECT_API_AUTH_STRING"] = login
    # No web site may read what it answers, whatever the settings found say of other servers.
    os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = "http://127.0.0.1"
    refresh_global_settings_context()
