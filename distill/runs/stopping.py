"""Asking a run to save its state and end, in any stage and however it was started."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from distill.errors import TrainingError
from distill.processes.run_lock import holder_of
from distill.runs.progress import progress_of, running_training

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class StopPoint:
    """What was asked to stop: the stage (None: not known yet) and, of a training, the step that it stops at."""

    stage: str | None
    step: int | None


def stop(root: Path, *, who: str = "page", timeout: float = 60.0) -> StopPoint:
    """Ask whatever runs in a folder to save its state and end, in any stage.

    Args:
        root: the run's folder.
        who: asks, for the training's journal.
        timeout: how long to wait for a training's answer, or for a flow to begin its next stage, in s.

    Raises:
        TrainingError: nothing runs there, or it does not answer.
    """
    until = time.monotonic() + timeout
    folder = running_training(root)
    if folder is not None:
        # Asking twice does no harm.
        try:
            return StopPoint(folder.stage, folder.ask("stop", {}, who=who, timeout=timeout)["step"])
        except TrainingError:
            # Behind its last step it takes up no request: what comes after it is to stop.
            if folder.running() or holder_of(root) is None:
                raise
    while (holder := holder_of(root)) is not None:
        if holder.stops is not None:
            # One that is gone by now has another one behind it, or none.
            with suppress(ProcessLookupError):
                os.kill(holder.stops, signal.SIGTERM)
                return StopPoint(progress_of(root).stage, None)
        if time.monotonic() > until:
            raise TrainingError(f"{root.name} is between two stages: try again")
        time.sleep(POLL_SECONDS)
    raise TrainingError(f"nothing runs in {root.name}")
