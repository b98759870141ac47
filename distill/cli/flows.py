"""`distill sweep` and `distill serve-flows`: the project's Prefect flows without knowing Prefect."""

import importlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.console import (
    Json,
    Project,
    Quiet,
    Verbose,
    print_result,
    set_up_logging,
    stderr,
    stdout_console,
)
from distill.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from rich.table import Table


def sweep(
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="SECTION.KEY=VALUE,VALUE|LOW..HIGH ...",
            help="Values to combine; if one is a range, they are searched.",
            show_default=False,
        ),
    ],
    trials: Annotated[
        int | None, typer.Option(help="For a search: total number of trials (default: 20).", min=1)
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="For a search: what to minimize: lsd_db, prior_perplexity or vqvae_loss (default: lsd_db)."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="For a search: seed of the suggestions (default: 0).", min=0)] = None,
    prune_after: Annotated[
        int | None,
        typer.Option(help="For a search: finished trials before any trial may end early (default: 4).", min=1),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Discard earlier trials of this search and start over.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Number of trainings at a time.", min=1)] = 1,
    dask: Annotated[bool, typer.Option("--dask", help="Train in Dask processes.")] = False,
    pool: Annotated[
        bool,
        typer.Option("--pool", help="Train on the workers of Prefect's work pool, by the deployment train/remote."),
    ] = False,
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train every combination of settings, or search ranges of them, and compare the models.

    The same command resumes an interrupted sweep or search.
    """
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.params import listed_settings, resolve
    from distill.runs.sweep import Search, is_search, require_valid

    chosen = listed_settings(settings)
    options = {"trials": trials, "objective": objective, "seed": seed, "prune_after": prune_after}
    given = {name: value for name, value in options.items() if value is not None} | ({"fresh": True} if fresh else {})
    search = resolve(Search, given, where="search") if given or is_search(chosen) else None
    if dask and pool:
        raise UsageError("--dask or --pool: name one of them")
    folder = _project(project)
    # Before a server is started for it.
    require_valid(folder, chosen, search)
    os.chdir(folder)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR" if quiet else "INFO")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "240")
    if pool:
        _flows("pool").require_pool()
    else:
        _flows("pool").require_server()
    runner = "pool" if pool else "dask" if dask else "threads"
    try:
        found = _flows("sweep").sweep(chosen, search, workers=workers, runner=runner)
    except KeyboardInterrupt:
        raise Interrupted("interrupted: run the same command to resume") from None
    values = {"runs": found} if search is None else found
    if as_json:
        print_result([], values, as_json=True)
        return
    stdout_console().print(_table(values["runs"], searched=search is not None))
    if search is not None:
        print_result(_best_lines(values), {}, as_json=False)


def _table(rows: list[dict[str, Any]], *, searched: bool) -> "Table":
    from rich.table import Table

    first = ("trial",) if searched else ()
    table = Table(
        *first, "settings", "distance dB", "lowest utilization", "perplexity", "memorization", "version", "model"
    )
    for row in rows:
        named = (*((str(row["trial"]),) if searched else ()), row["settings"])
        if "error" in row:
            table.add_row(*named, "", "", "", "failed", "", row["error"])
        elif row.get("state") == "pruned":
            table.add_row(*named, "", "", "", "", "", f"ended early, after epoch {row['epoch']} of {row['epochs']}")
        else:
            figures = (f"{row['distance_db']:.2f}", f"{row['utilization']:.0%}", f"{row['perplexity']:.2f}")
            table.add_row(*named, *figures, row["verdict"], row["version"] or "", row["model"])
    return table


def _best_lines(found: dict[str, Any]) -> list[str]:
    best, shares = found["best"], found["importances"]
    mattered = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return [
        f"best: trial {best['trial']}, {best['objective']} {best['value']:.4g}: {best['settings']}",
        *([f"what mattered: {mattered}"] if mattered else []),
        best["command"],
    ]


def serve_flows(
    port: Annotated[int, typer.Option(help="Port of Prefect's page and API.", min=1, max=65535)] = 4200,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Also serve Prefect's page.")] = True,
    project: Project = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Start Prefect on 127.0.0.1 with the project's flows and a worker, until Ctrl-C."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.servers.prefect import PASSWORD, USER, PrefectServer, serve

    folder = _project(project)
    _flows_folder(folder)
    server = PrefectServer(folder, port, page)
    lines = [
        *([f"page:  {server.address}, log in with {USER}:PASSWORD; the password is in {PASSWORD}"] if page else []),
        f"use:   export PREFECT_API_URL={server.address}/api",
        f'       export PREFECT_API_AUTH_STRING="{USER}:$(cat {shlex.quote(str(folder / PASSWORD))})"',
        "       prefect deployment run 'train/local' --watch",
    ]

    def show() -> None:
        print_result(lines, {}, as_json=False)
        stderr.print("Press Ctrl-C to stop.")

    stderr.print(f"Starting Prefect on {server.address} (log: {server.log})")
    try:
        serve(server, verbose=verbose, on_up=show, tell=stderr.print)
    except KeyboardInterrupt:
        stderr.print("Stopping.")


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
