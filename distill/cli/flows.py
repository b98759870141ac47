"""`distill sweep` and `distill serve-flows`: the project's Prefect flows without knowing Prefect."""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.cli.console import Json, Quiet, Verbose, print_result, set_up_logging, stderr, stdout_console
from distill.errors import StorageError, UsageError

POOL = "distill"
START_SECONDS = 90.0
# A worker that ends sooner would end again.
WORKER_SECONDS = 10.0
POLL_SECONDS = 0.2

Project = Annotated[Path, typer.Option("--project", help="Project folder.")]


def sweep(
    settings: Annotated[
        list[str], typer.Argument(metavar="SECTION.KEY=VALUE,VALUE ...", help="Values to combine.", show_default=False)
    ],
    workers: Annotated[int, typer.Option(help="Trainings at a time.", min=1)] = 1,
    dask: Annotated[bool, typer.Option("--dask", help="Spread them over Dask processes.")] = False,
    project: Project = Path(),
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train every combination of settings and compare the models."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.params import listed_settings

    chosen = listed_settings(settings)
    os.chdir(_project(project))
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR" if quiet else "INFO")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "60")
    rows = _flows("sweep").sweep(settings=chosen, workers=workers, runner="dask" if dask else "threads")
    if as_json:
        print_result([], {"runs": rows}, as_json=True)
        return
    from rich.table import Table

    table = Table("settings", "distance dB", "lowest utilization", "perplexity", "memorization", "version", "model")
    for row in rows:
        if "error" in row:
            table.add_row(row["settings"], "", "", "", "failed", "", row["error"])
        else:
            figures = (f"{row['distance_db']:.2f}", f"{row['utilization']:.0%}", f"{row['perplexity']:.2f}")
            table.add_row(row["settings"], *figures, row["verdict"], row["version"] or "", row["model"])
    stdout_console().print(table)


def serve_flows(
    port: Annotated[int, typer.Option(help="Port of Prefect's page and API.", min=1, max=65535)] = 4200,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve Prefect's page too.")] = True,
    project: Project = Path(),
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Start Prefect on 127.0.0.1 with the project's deployments and a worker, until Ctrl-C."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.projects.ports import HOST, require_free

    folder = _project(project)
    _flows_folder(folder)
    require_free(port)
    home = folder / ".distill" / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    address = f"http://{HOST}:{port}"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_SERVER_UI_ENABLED": str(page).lower(),
        # Kept in memory, a place that a run held would stay taken after a restart.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PWD": str(folder),
    }
    with ExitStack() as stack:
        signal.signal(signal.SIGTERM, _interrupt)
        log = stack.enter_context((home / "serve.log").open("w", encoding="utf-8"))
        shown = None if verbose else log
        server = stack.enter_context(
            _running(["server", "start", "--host", HOST, "--port", str(port)], environment, folder, shown)
        )
        stderr.print(f"Starting Prefect on {address} (its lines go to {home / 'serve.log'})")
        _wait_until_up(f"{address}/api/health", server, home / "serve.log")
        for command in (
            ["work-pool", "create", POOL, "--type", "process", "--overwrite"],
            ["deploy", "--all", "--no-prompt"],
        ):
            _call(command, environment, folder)
        work = ["worker", "start", "--pool", POOL, "--name", "distill"]
        worker, started = stack.enter_context(_running(work, environment, folder, shown)), time.monotonic()
        lines = [
            *([f"page:  {address}"] if page else []),
            f"use:   export PREFECT_API_URL={address}/api",
            "       prefect deployment run 'train/local' --watch",
        ]
        print_result(lines, {}, as_json=False)
        stderr.print("Ctrl-C ends it.")
        try:
            while server.poll() is None:
                time.sleep(POLL_SECONDS)
                if worker.poll() is None:
                    continue
                if time.monotonic() - started < WORKER_SECONDS:
                    raise StorageError(f"Prefect's worker ended by itself: see {home / 'serve.log'}")
                stderr.print("The worker ended; starting another.")
                worker, started = stack.enter_context(_running(work, environment, folder, shown)), time.monotonic()
            raise StorageError(f"Prefect's server ended by itself: see {home / 'serve.log'}")
        except KeyboardInterrupt:
            stderr.print("Stopping.")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _running(
    arguments: list[str], environment: dict[str, str], folder: Path, shown: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """A Prefect command that runs as long as the block does, and no longer than this process, however that ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "distill.projects.guard", sys.executable, "-m", "prefect", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=shown,
        stderr=shown,
        # Ctrl-C is passed on in order: the worker first, then the server.
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def _wait_until_up(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    from urllib.error import URLError
    from urllib.request import urlopen

    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(POLL_SECONDS)
    raise StorageError(f"Prefect's server did not start: see {log}")


def _call(arguments: list[str], environment: dict[str, str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()] or ["it gave no reason"]
        raise StorageError(f"prefect {' '.join(arguments[:2])} failed: {lines[-1].strip()}")


def _project(given: Path) -> Path:
    from distill.projects.project import find_project

    return find_project(given)


def _flows_folder(project: Path) -> None:
    if not (project / "flows" / "train.py").is_file() or not (project / "prefect.yaml").is_file():
        raise UsageError(f"{project} has no flows/ and prefect.yaml: they are part of the project's repository")


def _flows(name: str) -> Any:
    """A module of the project's flows, which are not part of the installed package."""
    project = Path.cwd()
    _flows_folder(project)
    sys.path.insert(0, str(project))
    return importlib.import_module(f"flows.{name}")
