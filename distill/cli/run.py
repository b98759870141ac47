"""`distill run`: look at runs, steer them while they train, and remove them."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.cli import steer
from distill.cli.console import Fit, Json, Quiet, Verbose, print_list, print_result, set_up_logging, stdout_console
from distill.cli.steer import Run, Stage, folder_of, root_of, text_of
from distill.errors import DataError, DistillError, UsageError
from distill.words import counted, in_words, megabytes

Folder = Annotated[
    Path | None,
    typer.Argument(
        help="Project, or another folder with runs in runs/ (default: the project around this folder, or else your "
        "user folder).",
        show_default=False,
    ),
]

COLUMNS: dict[str, Fit] = {
    "run": "broken",
    "stage": "whole",
    "state": "whole",
    "step": "whole",
    "epoch": "wide",
    "time left": "broken",
    "held-out loss": "broken",
    "mode": "wide",
    "health": "broken",
}


def list_runs(
    folder: Folder = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List runs with their stage, state, step, time left and health."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.runs.trainings import list_trainings

    found = list_trainings(_home_of_runs(folder))
    if as_json:
        print_result([], {"runs": found}, as_json=True)
        return
    if not found:
        stdout_console().print("no runs here")
        return
    from distill.projects.project import current_project
    from distill.runs.folder import RUNS

    runs = None
    with suppress(DistillError):
        runs = (current_project() / RUNS).resolve()
    print_list(COLUMNS, (_cells(each, runs) for each in found))


def remove(
    run: Run,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Remove the folder of a run that is not running, also a stopped one; delivered and registered models stay."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.runs.folder import is_run
    from distill.runs.removal import remove as remove_run

    root = root_of(run)
    if not is_run(root):
        raise UsageError(f"{root} is not a run folder (distill run list shows them)")
    removed = remove_run(root)
    print_result(
        [f"removed {removed.run}: {megabytes(removed.bytes)}"],
        {"run": removed.run, "bytes": removed.bytes},
        as_json=as_json,
    )


def prune(
    folder: Folder = None,
    keep: Annotated[int | None, typer.Option("--keep", metavar="N", help="Keep the N newest runs.", min=0)] = None,
    older: Annotated[
        float | None,
        typer.Option(
            "--older", metavar="DAYS", help="Remove only runs that finished at least so many days ago.", min=0, max=1e6
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Remove finished runs: all but the newest, or old ones; never a running or stopped one."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.runs.removal import prune as prune_runs

    if keep is None and older is None:
        raise UsageError("name the runs to remove: --keep N (all but the N newest), --older DAYS, or both")
    found = prune_runs(_home_of_runs(folder), keep=keep or 0, older=timedelta(days=older or 0.0), dry_run=dry_run)
    freed = sum(each.bytes for each in found)
    lines = [f"{each.run}: {megabytes(each.bytes)}" for each in found]
    lines.append(f"{'would free' if dry_run else 'freed'} {megabytes(freed)} of {counted(len(found), 'run')}")
    runs = [{"run": each.run, "bytes": each.bytes} for each in found]
    print_result(lines, {"runs": runs, "bytes": freed, "dry_run": dry_run}, as_json=as_json)


def snapshots(
    run: Run,
    stage: Stage = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List checkpoints, measurements and the best weights, with the settings that differ from the start."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.runs.trainings import snapshots as all_snapshots

    values = all_snapshots(folder_of(run, stage))
    if as_json:
        print_result([], values, as_json=True)
        return
    from rich.table import Table

    table = Table("step", "kind", "held-out loss", "quality", "size", "written", "changed settings")
    for each in values["checkpoints"]:
        size = f"{each['size'] / 1e6:.1f} MB"
        figures = [text_of(each["loss"]), text_of(each["quality"])]
        table.add_row(str(each["step"]), each["kind"], *figures, size, each["written"], _settings(each["changed"]))
    for each in values["best"]:
        figures = [text_of(each["loss"]), text_of(each["quality"])]
        table.add_row(text_of(each["step"]), f"best: epoch {each['epoch']}", *figures, f"{each['size'] / 1e6:.1f} MB")
    for each in values["validations"]:
        figures = [text_of(each["loss"]), text_of(each["quality"])]
        table.add_row(str(each["step"]), f"measured: {each['name']}", *figures, "", "", _settings(each["changed"]))
    stdout_console().print(table)


def diff(
    run: Run,
    a: Annotated[str, typer.Argument(metavar="A", help="Step of a checkpoint, or name of a measurement.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other step or name.")],
    stage: Stage = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare the settings and figures of two checkpoints or measurements."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.runs.trainings import compare

    values = compare(folder_of(run, stage), a, b)
    differing = {**values["settings"], **values["figures"]}
    lines = [f"{name}: {text_of(old)} -> {text_of(new)}" for name, (old, new) in differing.items()]
    print_result(lines or ["no difference"], values, as_json=as_json)


def _home_of_runs(folder: Path | None) -> Path:
    """The folder whose runs a command is about.

    Raises:
        DataError: there is no such folder.
    """
    from distill.projects.project import current_project

    if folder is not None and not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    return folder or current_project()


def _cells(each: dict[str, Any], runs: Path | None) -> list[Any]:
    root = Path(each["run"])
    # Commands take the names of the present project's runs as well.
    run = root.name if root.resolve().parent == runs else root
    # Of a run whose stages are processes of their own only the present one is known.
    seconds = each["eta_seconds"] if each["left_seconds"] is None else each["left_seconds"]
    left = None if seconds is None else in_words(seconds)
    progress = None if each["step"] is None else f"{each['step']}/{each['total_steps']}"
    figures = (each["epoch"], left, text_of(each["validation_loss"]), each["mode"], each["health"])
    return [run, each["stage"], each["state"], progress, *figures]


def _settings(changed: dict[str, Any]) -> str:
    return ", ".join(f"{name} {text_of(old)} -> {text_of(new)}" for name, (old, new) in changed.items())


app = typer.Typer(help="List runs, steer them while they train, and remove them.", no_args_is_help=True)
app.command("list")(list_runs)
app.command(cls=steer.TuneCommand)(steer.tune)
for command in (
    *(steer.checkpoint, steer.validate, steer.pause, steer.resume, steer.stop),
    *(remove, prune, snapshots, diff, steer.rollback),
):
    app.command()(command)
