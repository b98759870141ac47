"""A flow run ends with the worker that started it."""

import os
import threading
import time

from distill.projects.dvc import stop_running

POLL_SECONDS = 0.5
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
        stop_running()
        os._exit(1)

    threading.Thread(target=watch, name="worker-watch", daemon=True).start()
