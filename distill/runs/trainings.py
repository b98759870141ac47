"""The trainings of a project's workspaces: which there are, where they stand, their snapshots; free of torch."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from distill.errors import DataError, DistillError, TrainingError, UsageError
from distill.files import read_json
from distill.live.folder import SCHEMA, WAIT_SECONDS, RunFolder
from distill.live.journal import TUNABLE
from distill.live.runtime_config import difference
from distill.live.status import read_status
from distill.models.health import rate
from distill.runs.folder import run_folders
from distill.runs.progress import alive, newest_status, progress_of
from distill.stages.workspace import Workspace, read_report
from distill.training.position import Checkpoint, best_file, list_checkpoints
from distill.training.rollback import roll_back_stopped


def list_trainings(project: Path) -> list[dict[str, Any]]:
    """Where each training of a project's runs stands, and each run that is in another stage now; see `where_it_stands`.

    The project itself counts, too, if it was trained in.
    """
    found = []
    for root in run_folders(project):
        trainings = [where_it_stands(folder) for folder in trainings_in(root)]
        found += trainings
        if alive(root) and not any(each["running"] for each in trainings):
            found.append(_elsewhere(root))
    return found


def trainings_in(root: Path) -> list[RunFolder]:
    """The trainings that have begun in a workspace, in the order of their stages."""
    return [folder for stage in TUNABLE if (folder := RunFolder(root, stage)).begun()]


def training_of(root: Path, stage: str | None = None) -> RunFolder:
    """A training of a workspace: the one of that stage, else the one that runs, else the last.

    Raises:
        UsageError: there is no such stage.
        DataError: it has not run there.
    """
    if stage is not None and stage not in TUNABLE:
        raise UsageError(f"{stage} cannot be tuned: use {' or '.join(TUNABLE)}")
    fitting = [folder for folder in trainings_in(root) if stage in (None, folder.stage)]
    if not fitting:
        raise DataError(f"{root}: {stage or 'no training'} has {'not ' if stage else ''}run there")
    return next((folder for folder in fitting if folder.running()), fitting[-1])


def where_it_stands(folder: RunFolder) -> dict[str, Any]:
    """State, step, epoch, held-out loss, plateau, and the health of the codebooks in words.

    The time left is in s: `eta_seconds` of this training, `left_seconds` of the whole run.
    """
    status = read_status(folder.workspace, folder.stage) or {}
    running = folder.running()
    state = status.get("state", "running")
    if not running and state != "finished":
        # Between two stages a training of a run that goes on is still to come.
        state = "waiting" if alive(folder.workspace) else "stopped"
    return {
        "run": str(folder.workspace),
        "stage": folder.stage,
        "state": state,
        "running": running,
        "pid": status.get("pid") if running else None,
        **_steps(status),
        "epoch": status.get("epoch"),
        "eta_seconds": status.get("eta_seconds") if running else None,
        "left_seconds": _left(status) if running else None,
        "validation_loss": (status.get("row") or {}).get("validation_loss"),
        "mode": (status.get("plateau") or {}).get("mode"),
        "plateau": status.get("plateau"),
        "health": _health(_in_the_model(folder) if state == "finished" else status.get("health")),
        "settings_file": str(folder.config_file),
    }


def _in_the_model(folder: RunFolder) -> dict[str, Any] | None:
    """The codebooks' health at the best epoch, whose weights the model has, by level."""
    with suppress(DistillError):
        codebook: dict[str, Any] | None = read_report(Workspace(folder.workspace), folder.stage).get("codebook")
        return codebook
    return None


def _elsewhere(root: Path) -> dict[str, Any]:
    """The same of a run that does something else than training."""
    progress = progress_of(root)
    status = newest_status(root, progress)
    known = {"run": str(root), "stage": progress.stage, "state": progress.state, "running": True, "pid": progress.pid}
    unknown = ("epoch", "eta_seconds", "validation_loss", "mode", "plateau", "health", "settings_file")
    return {**known, **_steps(status), "left_seconds": _left(status), **dict.fromkeys(unknown)}


def _left(status: dict[str, Any]) -> float | None:
    return (status.get("expected") or {}).get("left")


def _steps(status: dict[str, Any]) -> dict[str, int | None]:
    """Steps done and planned; None while a stage counts something else, such as the codes made before the first."""
    counted = status.get("unit") == "steps"
    return {"step": status.get("done") if counted else None, "total_steps": status.get("total") if counted else None}


def _health(health: dict[str, Any] | None) -> str | None:
    """The words that every place has for the codebooks' health; the prior has none."""
    if not health:
        return None
    verdict = rate(health)
    return f"{verdict.light}: {verdict.words}"


def in_force(folder: RunFolder) -> dict[str, Any]:
    """The settings of a training that may change, as they are, or as they were at its end.

    Raises:
        StorageError, ArtifactError: nothing was trained here, or the note about it is damaged.
    """
    try:
        values = read_json(folder.config_file, what="runtime configuration", schema=SCHEMA)
    except DistillError:
        # It is being edited, or was deleted; the start is known in any case.
        return folder.noted()[1]
    return {key: value for key, value in values.items() if key != "schema"}


def snapshots(folder: RunFolder) -> dict[str, list[dict[str, Any]]]:
    """Checkpoints and measurements with their figures, and the settings in which they differ from the start.

    `best` holds the epochs whose weights a checkpoint names as the best so far, with their files.
    """
    state, start = folder.noted()
    known = list_checkpoints(state)
    return {
        "checkpoints": [_summary(each, start) for each in known],
        "best": _best(state, known),
        "validations": _measurements(folder, start),
    }


def compare(folder: RunFolder, a: str, b: str) -> dict[str, dict[str, tuple[Any, Any]]]:
    """What differs between two snapshots, each a checkpoint's step or a measurement's name: settings and figures.

    A figure that only one of them has is no difference.

    Raises:
        UsageError: there is no such snapshot.
    """
    (settings_a, figures_a), (settings_b, figures_b) = (_facts(folder, each) for each in (a, b))
    shared = {name: value for name, value in figures_a.items() if name in figures_b}
    return {
        "settings": difference(settings_a, settings_b),
        "figures": difference(shared, {name: figures_b[name] for name in shared}),
    }


def roll_back(
    folder: RunFolder, step: int, *, config_only: bool, who: str, timeout: float = WAIT_SECONDS
) -> dict[str, Any]:
    """Go back to a checkpoint, whether the training runs or not; what became of it.

    Raises:
        UsageError: there is no such checkpoint, or it is still to come.
        TrainingError: only the settings are to go back and nothing runs, or the training does not answer.
    """
    if folder.running():
        return folder.ask("rollback", {"to": step, "config_only": config_only}, who=who, timeout=timeout)
    if config_only:
        raise TrainingError(
            f"{folder.stage} of {folder.workspace} is not running: its settings follow from its journal"
        )
    journal = folder.workspace / "journal" / f"{folder.stage}.jsonl"
    return {"step": None, "to": step, "abandoned": roll_back_stopped(folder, journal, step), "changes": {}}


def _summary(each: Checkpoint, start: dict[str, Any]) -> dict[str, Any]:
    row = each.position.history[-1] if each.position.history else {}
    return {
        "step": each.step,
        "epoch": each.position.epoch,
        "kind": each.kind,
        "loss": row.get("validation_loss"),
        "quality": quality(row),
        "size": each.size,
        "written": each.written,
        "changed": _from_start(start, each.position.settings),
    }


def _best(state: Path, known: list[Checkpoint]) -> list[dict[str, Any]]:
    rows = {row["epoch"]: row for each in known for row in each.position.history}
    found = []
    for epoch in sorted({each.position.best_epoch for each in known} - {0}):
        path, row = best_file(state, epoch), rows.get(epoch, {})
        if path.is_file():
            figures = {"loss": row.get("validation_loss"), "quality": quality(row)}
            found.append(
                {"epoch": epoch, "step": row.get("step"), **figures, "size": path.stat().st_size, "file": path.name}
            )
    return found


def _measurements(folder: RunFolder, start: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for path in folder.validations.glob("*.json"):
        try:
            values = _measurement(path)
        except DistillError:
            continue
        metrics = values["metrics"]
        figures = {"loss": metrics.get("validation_loss"), "quality": quality(metrics)}
        place = {"name": values["name"], "step": values["step"]}
        found.append({**place, **figures, "changed": _from_start(start, values["values"])})
    return sorted(found, key=lambda each: (each["step"], each["name"]))


def _measurement(path: Path) -> dict[str, Any]:
    return read_json(path, what="measurement", schema=SCHEMA)


def _from_start(start: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    return difference(start, settings) if settings else {}


def _facts(folder: RunFolder, which: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and figures of a checkpoint's step or a measurement's name."""
    if not which.isdecimal():
        path = folder.validation(which)
        if not path.is_file():
            raise UsageError(f"there is no measurement {which!r} (distill run snapshots lists them)")
        values = _measurement(path)
        return values["values"], {"step": values["step"], **values["metrics"]}
    found = {each.step: each for each in list_checkpoints(folder.noted()[0])}
    if int(which) not in found:
        raise UsageError(f"there is no checkpoint of step {which}; there are: {', '.join(map(str, found)) or 'none'}")
    position = found[int(which)].position
    row = position.history[-1] if position.history else {}
    return position.settings, {key: value for key, value in {**row, "step": position.step}.items() if key != "warnings"}


def quality(row: dict[str, Any]) -> float | None:
    """The held-out figure that does not depend on weights: distance in dB, or perplexity."""
    return row.get("validation_lsd_db", row.get("validation_perplexity"))
