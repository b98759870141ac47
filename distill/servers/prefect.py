"""Prefect with a project's deployments and a worker, closed to everybody but the project's owner."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from distill.errors import StorageError
from distill.processes.guard import release
from distill.processes.ports import HOST, POLL_SECONDS, is_up, require_free_port
from distill.programs import PYTHON, reason_in
from distill.servers.secret import read_or_create

POOL = "distill"
USER = "distill"
PASSWORD = Path(".distill") / "prefect" / "password"
# A busy machine takes its time; a server that died is noticed at once.
START_SECONDS = 300.0
# A worker that ends sooner would end again.
WORKER_SECONDS = 10.0


@dataclass(frozen=True)
class PrefectServer:
    """How Prefect is served for a project.

    Attributes:
        project: the project's folder; absolute.
        port: where it listens on 127.0.0.1.
        page: whether Prefect's page is served too.
    """

    project: Path
    port: int
    page: bool = True

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def home(self) -> Path:
        """The folder of its database and its log."""
        return self.project / ".distill" / "prefect"

    @property
    def log(self) -> Path:
        """Where its lines go."""
        return self.home / "serve.log"

    def environment(self) -> dict[str, str]:
        """What its processes run under; the password stands here alone, as everybody can read command lines.

        Raises:
            StorageError: the password cannot be kept.
        """
        login = f"{USER}:{read_or_create(self.project / PASSWORD)}"
        own = f"http://localhost:{self.port}"
        return {
            **os.environ,
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": f"{self.address}/api",
            "PREFECT_API_AUTH_STRING": login,
            "PREFECT_SERVER_API_AUTH_STRING": login,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{self.address},{own}",
            "PREFECT_SERVER_UI_ENABLED": str(self.page).lower(),
            # Kept in memory, a place that a run held would stay taken after a restart.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_CLI_PROMPT": "false",
        }


def serve(server: PrefectServer, *, verbose: bool, on_up: Callable[[], None], tell: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `on_up` is called once everything runs, `tell` gets messages meanwhile.

    With `verbose` the lines of the processes go where those of this one go, otherwise to the log.

    Raises:
        UsageError: the port is taken.
        StorageError: a process does not start, or ends by itself.
    """
    require_free_port(server.port)
    server.home.mkdir(parents=True, exist_ok=True)
    environment, folder = server.environment(), server.project
    with ExitStack() as stack:
        log = stack.enter_context(server.log.open("w", encoding="utf-8"))
        output = None if verbose else log
        listen = ["uvicorn", "--factory", "flows.server:guarded_app", "--host", HOST, "--port", str(server.port)]
        process = stack.enter_context(_running(listen, environment, folder, output))
        if not is_up(f"{server.address}/api/health", process, START_SECONDS):
            raise StorageError(f"Prefect's server did not start: see {server.log}")
        _prefect(["work-pool", "create", POOL, "--type", "process", "--overwrite"], environment, folder)
        _prefect(["deploy", "--name", "*/local", "--no-prompt"], environment, folder)
        work = ["prefect", "worker", "start", "--pool", POOL, "--name", "distill"]
        worker, started = stack.enter_context(_running(work, environment, folder, output)), time.monotonic()
        on_up()
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            if worker.poll() is None:
                continue
            if time.monotonic() - started < WORKER_SECONDS:
                raise StorageError(f"Prefect's worker ended by itself: see {server.log}")
            tell("The worker ended; starting another.")
            worker, started = stack.enter_context(_running(work, environment, folder, output)), time.monotonic()
        raise StorageError(f"Prefect's server ended by itself: see {server.log}")


@contextmanager
def _running(
    module: list[str], environment: dict[str, str], folder: Path, output: IO[str] | None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A Python module as a command that runs as long as the block, and no longer than this process."""
    process = subprocess.Popen(
        [*PYTHON, "-m", "distill.processes.guard", *PYTHON, "-m", *module],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        # Ctrl-C is passed on in order: the worker first, then the server.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        release(process)


def _prefect(arguments: list[str], environment: dict[str, str], folder: Path) -> None:
    done = subprocess.run(
        [*PYTHON, "-m", "prefect", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StorageError(f"prefect {' '.join(arguments[:2])} failed: {reason_in(done.stderr + done.stdout)}")
