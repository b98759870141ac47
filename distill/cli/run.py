"""`distill run`: look at runs, steer them while they train, and remove them."""

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from distill.cli.console import Json, Quiet, Verbose, print_result, set_up_logging, stdout_console
from distill.errors import DataError, UsageError
from distill.words import in_words, megabytes

if TYPE_CHECKING:
    from distill.live.folder import RunFolder

WAIT_SECONDS = 120.0

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, or its name below runs/.", show_default=False)]
Folder = Annotated[
    Path | None,
    typer.Argument(
        help="Project, or another folder with runs in runs/ (default: the project around this folder, or else your "
        "user folder).",
        show_default=False,
    ),
]
Stage = Annotated[
    str | None,
    typer.Option("--stage", help="train_vqvae or train_prior (default: the one that is running, or ran last)."),
]
Wait = Annotated[float, typer.Option("--wait", help="How long to wait for the training to answer, in s.", min=0.1)]

app = typer.Typer(help="List runs, steer them while they train, and remove them.", no_args_is_help=True)


@app.command("list")
def list_runs(
    folder: Folder = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List runs with their stage, state, step, time left and health."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.projects.project import current_project
    from distill.runs.trainings import list_trainings

    found = list_trainings(folder or current_project())
    if as_json:
        print_result([], {"runs": found}, as_json=True)
        return
    from rich.table import Table

    table = Table("run", "stage", "state", "step", "epoch", "time left", "held-out loss", "mode", "health")
    for each in found:
        table.add_row(*("" if value is None else str(value) for value in _cells(each)))
    stdout_console().print(table if found else "no runs here")


class _WithParameters(TyperCommand):
    """Shows the parameters below its help, which are only looked up on demand."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        from rich.table import Table

        from distill.live.parameters import Kind, everything

        table = Table("key", "class", "range", "unit", "meaning")
        for each in everything().values():
            if each.kind is not Kind.STARTUP_ONLY:
                table.add_row(each.name, each.kind, each.span, each.unit, each.description)
        stdout_console().print(table)


@app.command(cls=_WithParameters)
def tune(
    run: Run,
    changes: Annotated[
        list[str],
        typer.Argument(metavar="KEY=VALUE ...", help="New values; either all are applied or none.", show_default=False),
    ],
    validate: Annotated[
        str | None,
        typer.Option(
            "--validate", metavar="NAME", help="Measure before and after the change, as NAME-before and NAME-after."
        ),
    ] = None,
    after: Annotated[int, typer.Option("--after", help="Number of steps after which to measure again.", min=1)] = 100,
    stage: Stage = None,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Change parameters of a running training."""
    set_up_logging(quiet=quiet, verbose=verbose)
    arguments = {"changes": _changes(changes), "validate": validate, "after": after}
    answer, folder = _ask(run, stage, "tune", arguments, wait)
    lines = _change_lines(answer)
    if "after" in answer:
        before, later = answer["before"]["name"], answer["after"]
        lines.append(f"measured: {before}; {later['name']} follows at step {later['step']}")
        lines.append(f"then: distill run diff {run} {before} {later['name']}")
    print_result(lines, {"run": str(folder.workspace), "stage": folder.stage, **answer}, as_json=as_json)


@app.command()
def checkpoint(
    run: Run,
    stage: Stage = None,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Save a checkpoint now and keep it permanently."""
    set_up_logging(quiet=quiet, verbose=verbose)
    answer, folder = _ask(run, stage, "checkpoint", {}, wait)
    print_result([answer["checkpoint"]], {"stage": folder.stage, **answer}, as_json=as_json)


@app.command()
def validate(
    run: Run,
    name: Annotated[str | None, typer.Option("--name", help="Name of the measurement (default: step-STEP).")] = None,
    stage: Stage = None,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure the model as it is now, and store the figures with the current settings."""
    set_up_logging(quiet=quiet, verbose=verbose)
    answer, folder = _ask(run, stage, "validate", {"name": name}, wait)
    lines = [f"{answer['name']} (step {answer['step']})"]
    lines += [f"{key}: {_text(value)}" for key, value in answer["metrics"].items()]
    print_result(lines, {"stage": folder.stage, **answer}, as_json=as_json)


@app.command()
def pause(
    run: Run,
    stage: Stage = None,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Pause a training between two steps."""
    set_up_logging(quiet=quiet, verbose=verbose)
    answer, folder = _ask(run, stage, "pause", {}, wait)
    print_result([f"paused at step {answer['step']}"], {"stage": folder.stage, **answer}, as_json=as_json)


@app.command()
def resume(
    run: Run,
    stage: Stage = None,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Resume a paused training."""
    set_up_logging(quiet=quiet, verbose=verbose)
    answer, folder = _ask(run, stage, "resume", {}, wait)
    print_result([f"resumed at step {answer['step']}"], {"stage": folder.stage, **answer}, as_json=as_json)


@app.command()
def stop(
    run: Run,
    stage: Stage = None,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Save a training and end it; the command that started it resumes it."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.runs.progress import alive, progress_of
    from distill.runs.stopping import stop as stop_run

    root = _root(run)
    if not alive(root):
        values: dict[str, Any] = {"stage": progress_of(root).stage, "step": None, "was_running": False}
        print_result(["it was not running"], values, as_json=as_json)
        return
    stopped = stop_run(root, who="command", timeout=wait)
    at = f"at step {stopped.step}" if stopped.step is not None else f"in {stopped.stage or 'its first stage'}"
    values = {"stage": stopped.stage, "step": stopped.step, "was_running": True}
    print_result([f"stopping {at}"], values, as_json=as_json)


@app.command()
def remove(
    run: Run,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Remove a run folder; models that the run delivered or registered stay."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.runs.folder import is_run
    from distill.runs.removal import remove as remove_run

    root = _root(run)
    if not is_run(root):
        raise UsageError(f"{root} is not a run folder (distill run list shows them)")
    removed = remove_run(root)
    print_result(
        [f"removed {removed.run}: {megabytes(removed.bytes)}"],
        {"run": removed.run, "bytes": removed.bytes},
        as_json=as_json,
    )


@app.command()
def prune(
    folder: Folder = None,
    keep: Annotated[int | None, typer.Option("--keep", metavar="N", help="Keep the N newest runs.", min=0)] = None,
    older: Annotated[
        float | None,
        typer.Option(
            "--older", metavar="DAYS", help="Remove only runs that finished at least this many days ago.", min=0
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Remove finished runs: all but the newest, or old ones; never a running or stopped one."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.projects.project import current_project
    from distill.runs.removal import prune as prune_runs

    if keep is None and older is None:
        raise UsageError("name the runs to remove: --keep N (all but the N newest), --older DAYS, or both")
    found = prune_runs(folder or current_project(), keep=keep or 0, older=timedelta(days=older or 0.0), dry_run=dry_run)
    freed = sum(each.bytes for each in found)
    lines = [f"{each.run}: {megabytes(each.bytes)}" for each in found]
    lines.append(f"{'would free' if dry_run else 'freed'} {megabytes(freed)} of {len(found)} runs")
    runs = [{"run": each.run, "bytes": each.bytes} for each in found]
    print_result(lines, {"runs": runs, "bytes": freed, "dry_run": dry_run}, as_json=as_json)


@app.command()
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

    values = all_snapshots(_folder(run, stage))
    if as_json:
        print_result([], values, as_json=True)
        return
    from rich.table import Table

    table = Table("step", "kind", "held-out loss", "quality", "size", "written", "changed settings")
    for each in values["checkpoints"]:
        size = f"{each['size'] / 1e6:.1f} MB"
        figures = [_text(each["loss"]), _text(each["quality"])]
        table.add_row(str(each["step"]), each["kind"], *figures, size, each["written"], _settings(each["changed"]))
    for each in values["best"]:
        figures = [_text(each["loss"]), _text(each["quality"])]
        table.add_row(_text(each["step"]), f"best: epoch {each['epoch']}", *figures, f"{each['size'] / 1e6:.1f} MB")
    for each in values["validations"]:
        figures = [_text(each["loss"]), _text(each["quality"])]
        table.add_row(str(each["step"]), f"measured: {each['name']}", *figures, "", "", _settings(each["changed"]))
    stdout_console().print(table)


@app.command()
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

    values = compare(_folder(run, stage), a, b)
    differing = {**values["settings"], **values["figures"]}
    lines = [f"{name}: {_text(old)} -> {_text(new)}" for name, (old, new) in differing.items()]
    print_result(lines or ["no difference"], values, as_json=as_json)


@app.command()
def rollback(
    run: Run,
    step: Annotated[int, typer.Argument(metavar="STEP", help="Step of a checkpoint.", min=0, show_default=False)],
    config_only: Annotated[
        bool,
        typer.Option("--config-only", help="Restore only the settings; the training continues from its current step."),
    ] = False,
    stage: Stage = None,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Return to a checkpoint; later checkpoints and changes no longer count."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.runs.trainings import roll_back

    folder = _folder(run, stage)
    answer = roll_back(folder, step, config_only=config_only, who="command", timeout=wait)
    if config_only:
        lines = _change_lines(answer)
    else:
        lines = [f"back at step {step}"]
        lines += [f"live changes that no longer count: {answer['abandoned']}"] if answer["abandoned"] else []
        lines += _change_lines(answer) if answer["changes"] else []
    print_result(lines, {"run": str(folder.workspace), "stage": folder.stage, **answer}, as_json=as_json)


def _cells(each: dict[str, Any]) -> list[Any]:
    # Of a run whose stages are processes of their own only the present one is known.
    seconds = each["eta_seconds"] if each["left_seconds"] is None else each["left_seconds"]
    left = None if seconds is None else in_words(seconds)
    progress = None if each["step"] is None else f"{each['step']}/{each['total_steps']}"
    figures = (each["epoch"], left, _text(each["validation_loss"]), each["mode"], each["health"])
    return [each["run"], each["stage"], each["state"], progress, *figures]


def _folder(run: Path, stage: str | None) -> "RunFolder":
    from distill.runs.trainings import training_of

    return training_of(_root(run), stage)


def _root(run: Path) -> Path:
    """The folder of a run, or any other in which something was trained, by path or by name."""
    from distill.projects.project import current_project
    from distill.runs.folder import RUNS, is_run

    for path in (run, current_project() / RUNS / run):
        if is_run(path) or (path / ".distill" / "live").is_dir():
            return path
    raise DataError(f"{run}: no training has run there (distill run list shows where)")


def _ask(
    run: Path, stage: str | None, command: str, arguments: dict[str, Any], wait: float
) -> tuple[dict[str, Any], "RunFolder"]:
    folder = _folder(run, stage)
    return folder.ask(command, arguments, who="command", timeout=wait), folder


def _changes(texts: list[str]) -> dict[str, Any]:
    from distill.live.folder import value_of

    changes: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"\w+", name):
            raise UsageError(f"{text!r}: expected KEY=VALUE, such as max_lr=5e-4")
        if name in changes:
            raise UsageError(f"{name} is given twice")
        changes[name] = value_of(value)
    return changes


def _change_lines(answer: dict[str, Any]) -> list[str]:
    at = "" if answer.get("step") is None else f" (step {answer['step']})"
    lines = [f"{name}: {_text(old)} -> {_text(new)}{at}" for name, (old, new) in answer["changes"].items()]
    return lines or [f"no setting changed{at}"]


def _settings(changed: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_text(old)} -> {_text(new)}" for name, (old, new) in changed.items())


def _text(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)
