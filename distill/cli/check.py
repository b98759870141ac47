"""`distill check`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, print_result, set_up_logging, stderr
from distill.cli.options import Device, Model, Workspace
from distill.errors import EXIT_FAILURE
from distill.live.stop_request import stop_on_signals


def check(
    model: Model,
    count: Annotated[
        int | None, typer.Option("-n", "--count", help="Number of sounds to generate (default: as in the training).")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", "-d", help="Longest duration of a sound, in s (default: as in the training)."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature (default: as in the training).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first sound (default: as in the training).")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for report.json and report.html (default: beside the model)."),
    ] = None,
    workspace: Workspace = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 when the verdict is fail.")] = False,
    device: Device = "cpu",
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Check whether a model reproduces its training sounds instead of making new ones."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from rich.progress import Progress

    from distill.library.model_check import check as check_model
    from distill.projects.project import current_project

    given: dict[str, Any] = {"sounds": count, "seconds": duration, "temperature": temperature}
    with stop_on_signals() as stop, Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as bars:
        task = bars.add_task("Check for memorization", total=None)

        def tell(done: int, total: int) -> None:
            stop.check()
            bars.update(task, completed=done, total=total)

        checked = check_model(
            model,
            current_project(project),
            output=output,
            workspace=workspace,
            settings={name: value for name, value in given.items() if value is not None},
            seed=seed,
            device=device,
            tell=tell,
        )
    verdict = checked.verdict
    lines = [verdict.verdict, *(f"- {reason}" for reason in verdict.reasons), str(checked.page)]
    values = {**verdict.document(), "report": str(checked.report), "page": str(checked.page)}
    print_result(lines, values, as_json=as_json)
    if strict and verdict.verdict == "fail":
        raise typer.Exit(EXIT_FAILURE)
