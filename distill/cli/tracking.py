"""`distill tracking`: the record of runs in MLflow."""

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, print_result, set_up_logging, stderr
from distill.errors import DataError, TrainingError

app = typer.Typer(help="Show and complete the records of runs in MLflow.", no_args_is_help=True)


@app.command("open")
def open_page(
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 5000,
    project: Project = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Serve MLflow's page with the recorded runs on 127.0.0.1, until Ctrl-C."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.processes.ports import HOST, require_free_port
    from distill.projects.project import current_project
    from distill.tracking.address import client_of, experiment_of, tracking_address, without_password
    from distill.tracking.page import serve

    folder = current_project(project)
    address = tracking_address(folder)
    if address.startswith(("http://", "https://")):
        print_result([without_password(address)], {}, as_json=False)
        return
    require_free_port(port)
    experiment = experiment_of(client_of(folder), folder)
    stderr.print(f"Starting MLflow's page on {without_password(address)}")

    def show(page: str) -> None:
        print_result([f"{page}#/experiments/{experiment}/runs?compareRunsMode=CHART"], {}, as_json=False)
        stderr.print("Press Ctrl-C to stop.")

    serve(folder, host=HOST, port=port, output=None if verbose else subprocess.DEVNULL, on_up=show)


@app.command()
def sync(
    workspaces: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[WORKSPACE ...]",
            help="Folders with a finished run: a project or run folders (default: this folder).",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Complete the records of finished runs from their files, for example after the server was down."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.projects.project import project_of
    from distill.runs.progress import alive
    from distill.stages.versions import FORMER_NAMES
    from distill.stages.workspace import Workspace
    from distill.tracking.address import tracking_address, without_password
    from distill.tracking.listener import started_by
    from distill.tracking.record import complete

    found = []
    for folder in workspaces or [Path()]:
        if alive(folder):
            raise TrainingError(f"{folder.absolute()} is being trained, and recorded meanwhile: wait for its end")
        workspace = Workspace(folder)
        if not any(workspace.report(each).is_file() for each in ("assemble", *FORMER_NAMES)):
            what = "holds no finished run" if folder.is_dir() else "is no folder"
            raise DataError(f"{folder.absolute()} {what}: name a project or run folder")
        run_id = complete(workspace, started_by=started_by())
        found.append(
            {
                "workspace": str(folder),
                "run_id": run_id,
                "address": without_password(tracking_address(project_of(folder))),
            }
        )
    lines = [f"{run['workspace']}: run {run['run_id']} at {run['address']}" for run in found]
    print_result(lines, {"runs": found}, as_json=as_json)
