"""The commands that steer a running training."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from distill.cli.console import Json, Quiet, Verbose, print_result, set_up_logging, stdout_console
from distill.errors import DataError, UsageError
from distill.live.folder import WAIT_SECONDS

if TYPE_CHECKING:
    from distill.live.folder import RunFolder

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, or its name below runs/.", show_default=False)]
Stage = Annotated[
    str | None,
    typer.Option("--stage", help="train_vqvae or train_prior (default: the one that is running, or ran last)."),
]
Wait = Annotated[float, typer.Option("--wait", help="How long to wait for the training to answer, in s.", min=0.1)]


class TuneCommand(TyperCommand):
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
    lines += [f"{key}: {text_of(value)}" for key, value in answer["metrics"].items()]
    print_result(lines, {"stage": folder.stage, **answer}, as_json=as_json)


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
    words = "paused" if answer["changed"] else "it was paused already,"
    print_result([f"{words} at step {answer['step']}"], {"stage": folder.stage, **answer}, as_json=as_json)


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
    words = "resumed" if answer["changed"] else "it was not paused,"
    print_result([f"{words} at step {answer['step']}"], {"stage": folder.stage, **answer}, as_json=as_json)


def stop(
    run: Run,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Save a training and end it; the command that started it resumes it."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.runs.progress import alive, progress_of
    from distill.runs.stopping import stop as stop_run

    root = root_of(run)
    if not alive(root):
        values: dict[str, Any] = {"stage": progress_of(root).stage, "step": None, "was_running": False}
        print_result(["it was not running"], values, as_json=as_json)
        return
    stopped = stop_run(root, who="command", timeout=wait)
    at = f"at step {stopped.step}" if stopped.step is not None else f"in {stopped.stage or 'its first stage'}"
    values = {"stage": stopped.stage, "step": stopped.step, "was_running": True}
    print_result([f"stopping {at}"], values, as_json=as_json)


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

    folder = folder_of(run, stage)
    answer = roll_back(folder, step, config_only=config_only, who="command", timeout=wait)
    if config_only:
        lines = _change_lines(answer)
    else:
        lines = [f"back at step {step}"]
        lines += [f"live changes that no longer count: {answer['abandoned']}"] if answer["abandoned"] else []
        lines += _change_lines(answer) if answer["changes"] else []
    print_result(lines, {"run": str(folder.workspace), "stage": folder.stage, **answer}, as_json=as_json)


def folder_of(run: Path, stage: str | None) -> "RunFolder":
    """A training of a run: that of a stage, else the one that runs, else the last.

    Raises:
        UsageError: there is no such stage.
        DataError: it has not run there.
    """
    from distill.runs.trainings import training_of

    return training_of(root_of(run), stage)


def root_of(run: Path) -> Path:
    """The folder of a run, or any other in which something was trained, by path or by name."""
    from distill.projects.project import current_project
    from distill.runs.folder import RUNS, is_run

    for path in (run, current_project() / RUNS / run):
        if is_run(path) or (path / ".distill" / "live").is_dir():
            return path
    raise DataError(f"{run}: no training has run there (distill run list shows where)")


def text_of(value: Any) -> str:
    """A figure or setting as tables show it."""
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)


def _ask(
    run: Path, stage: str | None, command: str, arguments: dict[str, Any], wait: float
) -> tuple[dict[str, Any], "RunFolder"]:
    folder = folder_of(run, stage)
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
    lines = [f"{name}: {text_of(old)} -> {text_of(new)}{at}" for name, (old, new) in answer["changes"].items()]
    return lines or [f"no setting changed{at}"]
