"""Where a run stands as a whole: what runs, what has run, and why it stopped."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.live.folder import RunFolder
from distill.live.journal import TUNABLE
from distill.live.status import read_status, status_file
from distill.processes.run_lock import Holder, holder_of
from distill.runs.folder import Order, finished_at, log_file, read_order
from distill.stages.pipeline import STAGES

LOG_BYTES = 20_000


@dataclass(frozen=True)
class RunProgress:
    """Where a run stands as a whole.

    Attributes:
        run: the folder's name.
        state: `running`, `paused`, `finished` or `stopped`.
        stage: the stage that runs, or ran last; None before the first.
        stages: (name, `waiting`, `running` or `finished`) of each stage that is to run.
        reason: why it stopped, in one line; empty otherwise.
        order: what it was started with; None if there is no note.
        pid: the process that runs it; None if there is none, or it is not noted yet.
    """

    run: str
    state: str
    stage: str | None
    stages: tuple[tuple[str, str], ...]
    reason: str
    order: Order | None
    pid: int | None


def alive(root: Path) -> bool:
    """Whether a process runs a stage in a run's folder, or trains in a project's own."""
    return holder_of(root) is not None or running_training(root) is not None


def running_training(root: Path) -> RunFolder | None:
    """The training that runs in a folder now."""
    return next((folder for name in TUNABLE if (folder := RunFolder(root, name)).running()), None)


def progress_of(root: Path) -> RunProgress:
    """Where a run stands as a whole."""
    order, finished = None, False
    with suppress(DistillError):
        order, finished = read_order(root), finished_at(root) is not None
    holder, running = holder_of(root), alive(root)
    until = order.until if order else None
    stages = STAGES[: STAGES.index(until) + 1] if until in STAGES else STAGES
    current = _reported_states(root, stages, holder)
    at = next(reversed(current), None)
    if finished and not running:
        return RunProgress(root.name, "finished", stages[-1], _states(stages, stages[-1], "finished"), "", order, None)
    if running:
        now = "finished" if at is not None and current[at] == "finished" else "running"
        state = "paused" if at is not None and current[at] == "paused" else "running"
        pid = holder.pid if holder else None
        return RunProgress(root.name, state, at, _states(stages, at, now), "", order, pid)
    if at == stages[-1] and current[at] == "finished":
        return RunProgress(root.name, "finished", at, _states(stages, at, "finished"), "", order, None)
    now = "finished" if at is not None and current[at] == "finished" else "waiting"
    return RunProgress(root.name, "stopped", at, _states(stages, at, now), last_words(root), order, None)


def newest_status(root: Path, progress: RunProgress) -> dict[str, Any]:
    """What the stage that runs, or ran last, has reported; nothing before the first."""
    return (read_status(root, progress.stage) if progress.stage else None) or {}


def _reported_states(root: Path, stages: tuple[str, ...], holder: Holder | None) -> dict[str, str]:
    """The state that each stage reported; while a run goes on, reports from before it began do not count."""
    found = {}
    for stage in stages:
        status = read_status(root, stage)
        with suppress(OSError):
            if status is not None and (holder is None or status_file(root, stage).stat().st_mtime >= holder.since):
                found[stage] = status["state"]
    return found


def _states(stages: tuple[str, ...], at: str | None, now: str) -> tuple[tuple[str, str], ...]:
    """Each stage with its state: those before the one that is reached have finished, if only in the cache."""
    reached = stages.index(at) if at is not None else -1
    return tuple(
        (name, now if index == reached else "finished" if index < reached else "waiting")
        for index, name in enumerate(stages)
    )


def last_words(root: Path) -> str:
    """The complaint with which a training in the background ended."""
    path = log_file(root)
    if not path.is_file():
        return ""
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - LOG_BYTES))
        lines = handle.read().decode(errors="replace").splitlines()
    complaints = [line.removeprefix("distill: ") for line in lines if line.startswith("distill: ")]
    return complaints[-1] if complaints else ""
