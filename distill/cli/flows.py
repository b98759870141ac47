"""`distill sweep` and `distill serve-flows`: the project's Prefect flows without knowing Prefect."""

import importlib
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, print_result, set_up_logging, stderr, stdout_console
from distill.errors import UsageError


def sweep(
    settings: Annotated[
        list[str], typer.Argument(metavar="SECTION.KEY=VALUE,VALUE ...", help="Values to combine.", show_default=False)
    ],
    workers: Annotated[int, typer.Option(help="Trainings at a time.", min=1)] = 1,
    dask: Annotated[bool, typer.Option("--dask", help="Spread them over Dask processes.")] = False,
    project: Project = None,
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
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "240")
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
    project: Project = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Start Prefect on 127.0.0.1 with the project's deployments and a worker, until Ctrl-C."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.servers.prefect import PASSWORD, USER, PrefectServer, serve

    folder = _project(project)
    _flows_folder(folder)
    server = PrefectServer(folder, port, page)
    lines = [
        *(
            [f"page:  {server.address}, which asks once for {USER}:PASSWORD with the password in {PASSWORD}"]
            if page
            else []
        ),
        f"use:   export PREFECT_API_URL={server.address}/api",
        f'       export PREFECT_API_AUTH_STRING="{USER}:$(cat {shlex.quote(str(folder / PASSWORD))})"',
        "       prefect deployment run 'train/local' --watch",
    ]

    def show() -> None:
        print_result(lines, {}, as_json=False)
        stderr.print("Ctrl-C ends it.")

    signal.signal(signal.SIGTERM, _interrupt)
    stderr.print(f"Starting Prefect on {server.address} (its lines go to {server.log})")
    try:
        serve(server, verbose=verbose, on_up=show, tell=stderr.print)
    except KeyboardInterrupt:
        stderr.print("Stopping.")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _project(given: Path | None) -> Path:
    from distill.projects.project import required_project

    return required_project(given)


def _flows_folder(project: Path) -> None:
    if not (project / "flows" / "train.py").is_file() or not (project / "prefect.yaml").is_file():
        raise UsageError(f"{project} has no flows/ and prefect.yaml: they are part of the project's repository")


def _flows(name: str) -> Any:
    """A module of the project's flows, which are not part of the installed package."""
    project = Path.cwd()
    _flows_folder(project)
    sys.path.insert(0, str(project))
    return importlib.import_module(f"flows.{name}")
