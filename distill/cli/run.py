"""`distill run`: look at trainings and steer them while they run."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.console import Json, Quiet, Verbose, print_result, set_up_logging, stdout_console
from distill.errors import DataError, DistillError, TrainingError, UsageError

if TYPE_CHECKING:
    from distill.live.folder import RunFolder
    from distill.training.position import Checkpoint

RUNS = Path("runs")
TRAININGS = ("train_vqvae", "train_prior")
WAIT_SECONDS = 120.0

Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Workspace: a folder, or its name below runs/.", show_default=False)
]
Stage = Annotated[
    str | None, typer.Option("--stage", help="train_vqvae or train_prior. [default: the one that runs, or ran last]")
]
Wait = Annotated[float, typer.Option("--wait", help="Longest time to wait for the training's answer, in s.", min=0.1)]

app = typer.Typer(help="Look at trainings and steer them while they run.", no_args_is_help=True)


@app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Folder with a project, or with runs below runs/.")] = Path(),
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List trainings: what runs, where, its step, time left and health."""
    set_up_logging(quiet=quiet, verbose=verbose)
    found = [
        _described(root, stage)
        for root in [folder, *sorted((folder / RUNS).glob("*/"))]
        for stage in TRAININGS
        if (root / ".distill" / "live" / stage).is_dir()
    ]
    if as_json:
        left_out = ("progress", "left", "loss")
        runs = [{key: value for key, value in each.items() if key not in left_out} for each in found]
        print_result([], {"runs": runs}, as_json=True)
        return
    from rich.table import Table

    table = Table("run", "training", "state", "step", "epoch", "time left", "held-out loss", "mode", "health")
    for each in found:
        table.add_row(*(str("" if each[key] is None else each[key]) for key in _COLUMNS))
    stdout_console().print(table if found else "no training has run here")


@app.command()
def tune(
    run: Run,
    changes: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE ...", help="New values; all of them or none.", show_default=False)
    ],
    validate: Annotated[
        str | None,
        typer.Option("--validate", metavar="NAME", help="Measure before and after, as NAME-before, NAME-after."),
    ] = None,
    after: Annotated[int, typer.Option("--after", help="Steps until the measurement after the change.", min=1)] = 100,
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
    print_result(_applied(answer), {"run": str(folder.workspace), "stage": folder.stage, **answer}, as_json=as_json)


@app.command()
def checkpoint(
    run: Run,
    stage: Stage = None,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Save a checkpoint now, which is kept for good."""
    set_up_logging(quiet=quiet, verbose=verbose)
    answer, folder = _ask(run, stage, "checkpoint", {}, wait)
    print_result([answer["checkpoint"]], {"stage": folder.stage, **answer}, as_json=as_json)


@app.command()
def validate(
    run: Run,
    name: Annotated[str | None, typer.Option("--name", help="Name of the measurement. [default: step-STEP]")] = None,
    stage: Stage = None,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure the model as it is now, and keep the figures with the settings in force."""
    set_up_logging(quiet=quiet, verbose=verbose)
    answer, folder = _ask(run, stage, "validate", {"name": name}, wait)
    lines = [f"{answer['name']} (step {answer['step']})"]
    lines += [f"{key}: {_shown(value)}" for key, value in answer["metrics"].items()]
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
    """Let a training wait between two steps."""
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
    """Let a paused training go on."""
    set_up_logging(quiet=quiet, verbose=verbose)
    answer, folder = _ask(run, stage, "resume", {}, wait)
    print_result([f"goes on from step {answer['step']}"], {"stage": folder.stage, **answer}, as_json=as_json)


@app.command()
def stop(
    run: Run,
    stage: Stage = None,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """End a training with its state saved; the command that started it goes on from there."""
    set_up_logging(quiet=quiet, verbose=verbose)
    folder = _folder(run, stage)
    values: dict[str, Any] = {"stage": folder.stage, "step": None, "was_running": folder.running()}
    line = "it was not running"
    if values["was_running"]:
        values |= folder.ask("stop", {}, who="command", timeout=wait)
        line = f"stops at step {values['step']}"
    print_result([line], values, as_json=as_json)


@app.command()
def snapshots(
    run: Run,
    stage: Stage = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List checkpoints and measurements, with the settings that differ from the start."""
    set_up_logging(quiet=quiet, verbose=verbose)
    folder = _folder(run, stage)
    values = {
        "checkpoints": [_summary(each, folder) for each in _checkpoints(folder)],
        "validations": _measured(folder),
    }
    if as_json:
        print_result([], values, as_json=True)
        return
    from rich.table import Table

    table = Table("step", "kind", "held-out loss", "quality", "size", "written", "changed settings")
    for each in values["checkpoints"]:
        size = f"{each['size'] / 1e6:.1f} MB"
        figures = [_shown(each["loss"]), _shown(each["quality"])]
        table.add_row(str(each["step"]), each["kind"], *figures, size, each["written"], _settings(each["changed"]))
    for each in values["validations"]:
        figures = [_shown(each["loss"]), _shown(each["quality"])]
        table.add_row(str(each["step"]), f"measured: {each['name']}", *figures, "", "", _settings(each["changed"]))
    stdout_console().print(table)


@app.command()
def diff(
    run: Run,
    a: Annotated[str, typer.Argument(metavar="A", help="Step of a checkpoint, or name of a measurement.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other.")],
    stage: Stage = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare settings and figures of two checkpoints or measurements."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.live.runtime_config import difference

    folder = _folder(run, stage)
    (settings_a, figures_a), (settings_b, figures_b) = (_facts(folder, each) for each in (a, b))
    settings, figures = difference(settings_a, settings_b), difference(figures_a, figures_b)
    lines = [f"{name}: {_shown(old)} -> {_shown(new)}" for name, (old, new) in {**settings, **figures}.items()]
    print_result(lines or ["no difference"], {"settings": settings, "figures": figures}, as_json=as_json)


@app.command()
def rollback(
    run: Run,
    step: Annotated[int, typer.Argument(metavar="STEP", help="Step of a checkpoint.", min=0, show_default=False)],
    config_only: Annotated[
        bool, typer.Option("--config-only", help="Restore the settings alone; the training goes on from where it is.")
    ] = False,
    stage: Stage = None,
    wait: Wait = WAIT_SECONDS,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Go back to a checkpoint; later checkpoints and changes no longer count."""
    set_up_logging(quiet=quiet, verbose=verbose)
    folder = _folder(run, stage)
    if folder.running():
        answer = folder.ask("rollback", {"to": step, "config_only": config_only}, who="command", timeout=wait)
    elif config_only:
        raise TrainingError(
            f"{folder.stage} of {folder.workspace} is not running: its settings follow from its journal"
        )
    else:
        from distill.training.stopped import roll_back_stopped

        journal = folder.workspace / "journal" / f"{folder.stage}.jsonl"
        answer = {"step": None, "to": step, "abandoned": roll_back_stopped(folder, journal, step), "changes": {}}
    lines = [] if config_only else [f"at step {step}; {answer['abandoned']} changes no longer count"]
    values = {"run": str(folder.workspace), "stage": folder.stage, **answer}
    print_result([*lines, *_applied(answer)], values, as_json=as_json)


_COLUMNS = ("run", "stage", "state", "progress", "epoch", "left", "loss", "mode", "health")


def _described(root: Path, stage: str) -> dict[str, Any]:
    from distill.live.folder import RunFolder
    from distill.live.status import read_status

    folder, status = RunFolder(root, stage), read_status(root, stage) or {}
    running = folder.running()
    state = status.get("state", "running")
    if not running:
        state = "finished" if state == "finished" else "stopped"
    row = status.get("row") or {}
    done, total, eta = status.get("done"), status.get("total"), status.get("eta_seconds") if running else None
    return {
        "run": str(root),
        "stage": stage,
        "state": state,
        "running": running,
        "pid": status.get("pid") if running else None,
        "step": done,
        "total_steps": total,
        "progress": None if done is None else f"{done}/{total}",
        "epoch": status.get("epoch"),
        "eta_seconds": eta,
        "left": None if eta is None else f"{eta / 60:.0f} min" if eta >= 60 else f"{eta:.0f} s",
        "loss": _shown(row.get("validation_loss")),
        "validation_loss": row.get("validation_loss"),
        "mode": (status.get("plateau") or {}).get("mode"),
        "plateau": status.get("plateau"),
        "health": _health(status.get("health")),
        "settings_file": str(folder.config_file),
    }


def _health(health: dict[str, Any] | None) -> str | None:
    """The words that every place has for the codebooks' health; the prior has none."""
    if not health:
        return None
    from distill.models.health import judge

    verdict = judge(health)
    return f"{verdict.light}: {verdict.words}"


def _folder(run: Path, stage: str | None) -> "RunFolder":
    from distill.live.folder import RunFolder

    root = next((path for path in (run, RUNS / run) if (path / ".distill" / "live").is_dir()), None)
    if root is None:
        raise DataError(f"{run}: no training has run there (distill run list shows where)")
    if stage is not None and stage not in TRAININGS:
        raise UsageError(f"{stage} is no training: use {' or '.join(TRAININGS)}")
    known = [RunFolder(root, name) for name in TRAININGS if (root / ".distill" / "live" / name).is_dir()]
    fitting = [folder for folder in known if stage in (None, folder.stage)]
    if not fitting:
        raise DataError(f"{run}: {stage} has not run there")
    return next((folder for folder in fitting if folder.running()), fitting[-1])


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


def _applied(answer: dict[str, Any]) -> list[str]:
    at = "" if answer.get("step") is None else f" (step {answer['step']})"
    lines = [f"{name}: {_shown(old)} -> {_shown(new)}{at}" for name, (old, new) in answer["changes"].items()]
    return lines or ["no setting changed"]


def _checkpoints(folder: "RunFolder") -> "list[Checkpoint]":
    from distill.training.position import list_checkpoints

    return list_checkpoints(folder.noted()[0])


def _summary(each: "Checkpoint", folder: "RunFolder") -> dict[str, Any]:
    row = each.position.history[-1] if each.position.history else {}
    return {
        "step": each.step,
        "epoch": each.position.epoch,
        "kind": each.kind,
        "loss": row.get("validation_loss"),
        "quality": _quality(row),
        "size": each.size,
        "written": each.written,
        "changed": _from_start(folder, each.position.settings),
    }


def _measured(folder: "RunFolder") -> list[dict[str, Any]]:
    found = []
    for path in folder.validations.glob("*.json"):
        try:
            values = _measurement(path)
        except DistillError:
            continue
        metrics = values["metrics"]
        figures = {"loss": metrics.get("validation_loss"), "quality": _quality(metrics)}
        place = {"name": values["name"], "step": values["step"]}
        found.append({**place, **figures, "changed": _from_start(folder, values["values"])})
    return sorted(found, key=lambda each: (each["step"], each["name"]))


def _measurement(path: Path) -> dict[str, Any]:
    from distill.files import read_json
    from distill.live.folder import SCHEMA

    return read_json(path, what="measurement", schema=SCHEMA)


def _from_start(folder: "RunFolder", settings: dict[str, Any]) -> dict[str, Any]:
    from distill.live.runtime_config import difference

    return difference(folder.noted()[1], settings) if settings else {}


def _facts(folder: "RunFolder", which: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and figures of a checkpoint's step or a measurement's name."""
    if not which.isdigit():
        path = folder.validation(which)
        if not path.is_file():
            raise UsageError(f"there is no measurement {which!r} (distill run snapshots lists them)")
        values = _measurement(path)
        return values["values"], {"step": values["step"], **values["metrics"]}
    found = {each.step: each for each in _checkpoints(folder)}
    if int(which) not in found:
        raise UsageError(f"there is no checkpoint of step {which}; there are: {', '.join(map(str, found)) or 'none'}")
    position = found[int(which)].position
    row = position.history[-1] if position.history else {}
    return position.settings, {key: value for key, value in {**row, "step": position.step}.items() if key != "warnings"}


def _quality(row: dict[str, Any]) -> float | None:
    """The held-out figure that does not depend on weights: distance in dB, or perplexity."""
    return row.get("validation_lsd_db", row.get("validation_perplexity"))


def _settings(changed: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_shown(old)} -> {_shown(new)}" for name, (old, new) in changed.items())


def _shown(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)
