"""`distill tracking`: the record of runs in MLflow."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Json, Quiet, Verbose, print_result, set_up_logging, stderr

Project = Annotated[Path, typer.Option("--project", help="Project folder.")]

app = typer.Typer(help="Look at the record of runs, and complete it.", no_args_is_help=True)


@app.command("open")
def open_page(
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 5000,
    project: Project = Path(),
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Serve MLflow's page on the record of runs, on 127.0.0.1, until Ctrl-C."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.projects.ports import HOST, require_free
    from distill.projects.project import project_of
    from distill.tracking.address import artifact_location, client_of, experiment_of, set_up_mlflow, tracking_address

    folder = project_of(project)
    address = tracking_address(folder)
    if address.startswith(("http://", "https://")):
        print_result([address], {}, as_json=False)
        return
    require_free(port)
    set_up_mlflow()
    experiment = experiment_of(client_of(folder), folder)
    stderr.print(f"MLflow's page on {address}; Ctrl-C ends it:")
    print_result([f"http://{HOST}:{port}/#/experiments/{experiment}"], {}, as_json=False)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", address]
    command += ["--default-artifact-root", artifact_location(folder) or "", "--host", HOST, "--port", str(port)]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # Its own lines say nothing to a user, and its workers end with it.
    shown = None if verbose else subprocess.DEVNULL
    with subprocess.Popen([*command, "--workers", "1"], env=environment, stdout=shown, stderr=shown) as server:
        try:
            server.wait()
        except KeyboardInterrupt:
            server.terminate()


@app.command()
def sync(
    workspace: Annotated[
        Path, typer.Argument(help="Folder with a finished run: a project, or one below runs/.")
    ] = Path(),
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Complete the record of a finished run from its files, for instance after the server was away."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.projects.project import project_of
    from distill.stages.workspace import Workspace
    from distill.tracking.address import tracking_address
    from distill.tracking.listener import started_by
    from distill.tracking.runs import complete

    folder = Workspace(workspace)
    run_id = complete(folder, started_by=started_by())
    address = tracking_address(project_of(folder.root))
    print_result([f"run {run_id} at {address}"], {"run_id": run_id, "address": address}, as_json=as_json)
