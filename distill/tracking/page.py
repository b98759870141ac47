"""MLflow's own page, served on the record of runs until it is interrupted."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request

from distill.errors import TrackingError
from distill.processes.guard import release
from distill.processes.ports import POLL_SECONDS, is_up
from distill.programs import PYTHON
from distill.servers.secret import read_or_create
from distill.tracking.address import (
    PAGE_PORT,
    PAGE_TOKEN,
    artifact_location,
    make_database,
    registry_address,
    set_up_mlflow,
    tracking_address,
)

START_SECONDS = 90.0
TOKEN_FILE = Path(".distill") / "mlflow" / "token"


def serve(project: Path, *, host: str, port: int, output: int | None, on_up: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C; `on_up` gets its URL, with the token, once it answers.

    `output` is where the server's own lines go, as for `subprocess`. The server ends with this process, however that
    ends.

    Raises:
        TrackingError: the server does not start, or ended by itself.
        StorageError: the project's token cannot be read or written.
    """
    set_up_mlflow()
    make_database(project)
    token = read_or_create(project / TOKEN_FILE)
    command = [*PYTHON, "-m", "mlflow", "server", "--workers", "1", "--app-name", "distill"]
    command += ["--host", host, "--port", str(port), "--default-artifact-root", artifact_location(project) or ""]
    # The address that somebody opens has the token in it.
    command += ["--uvicorn-opts", "--no-access-log"]
    # Any user of this machine can read a command line, and an address may have a password in it.
    addresses = {
        "MLFLOW_BACKEND_STORE_URI": tracking_address(project),
        "MLFLOW_REGISTRY_STORE_URI": registry_address(project),
    }
    # Its jobs are for language models, and take 0.7 GB.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        [*PYTHON, "-m", "distill.processes.guard", *command],
        env={**os.environ, **quiet, **addresses, PAGE_TOKEN: token, PAGE_PORT: str(port)},
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        # Ctrl-C reaches it through its standard input, which closes.
        start_new_session=True,
    )
    try:
        url = f"http://{host}:{port}"
        health = Request(f"{url}/health", headers={"Authorization": f"Bearer {token}"})
        if not is_up(health, server, START_SECONDS):
            raise TrackingError("MLflow's server did not start: distill tracking open -v shows what it says")
        on_up(f"{url}/?token={token}")
        while server.poll() is None:
            time.sleep(POLL_SECONDS)
        raise TrackingError("MLflow's server ended by itself: distill tracking open -v shows what it says")
    except KeyboardInterrupt:
        pass
    finally:
        release(server)
