"""A flow run ends with the worker that started it, and Prefect's temporary server with the run."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from distill.runs.dvc import stop_running

POLL_SECONDS = 0.5
# How long the run has to report its end to the server, which may be gone too.
REPORT_SECONDS = 20.0
# A worker sets this for the process of a flow run.
STARTED_BY_WORKER = "PREFECT__FLOW_RUN_ID"

# In the command of the server that Prefect starts for a run where no other is known.
_SERVER = "prefect.server.api.server:create_app"

_watching = threading.Event()
_followers: list["subprocess.Popen[Any]"] = []


def tie() -> None:
    """End this process, and what it runs, with the worker that started it, and a temporary server with this process.

    Of no effect without the one and the other, and the second time.
    """
    if _watching.is_set():
        return
    _watching.set()
    if STARTED_BY_WORKER in os.environ:
        _end_with_worker()
    elif sys.platform == "linux":
        _end_servers_with_run()


def _end_servers_with_run() -> None:
    """Prefect ends its server in order; where this process is killed, nobody else does."""
    for child in psutil.Process().children():
        if _SERVER in child.cmdline():
            command = [sys.executable, str(Path(__file__).with_name("follow.py")), str(child.pid)]
            # The system closes the pipe when this process ends, however it does.
            _followers.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))


def _end_with_worker() -> None:
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
