"""A flow run ends with the worker that started it."""

import os
import signal
import threading
import time

from distill.runs.dvc import stop_running

POLL_SECONDS = 0.5
# How long the run has to report its end to the server, which may be gone too.
REPORT_SECONDS = 20.0
# A worker sets this for the process of a flow run.
STARTED_BY_WORKER = "PREFECT__FLOW_RUN_ID"

_watching = threading.Event()


def end_with_worker() -> None:
    """End this process, and what it runs, when the worker that started it is gone; of no effect without a worker."""
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
