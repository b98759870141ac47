"""Where a stage stands, in a file that other processes read."""

import os
import time
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.files import finite, read_json, write_json
from distill.live.events import (
    EpochDone,
    Event,
    Paused,
    PlateauSeen,
    Progress,
    RolledBack,
    StageFinished,
    StepDone,
    TrainingStarted,
)

SCHEMA = 1
INTERVAL_SECONDS = 1.0


def status_file(root: Path, stage: str) -> Path:
    """The file for a stage of a workspace."""
    return root / ".distill" / "status" / f"{stage}.json"


def read_status(root: Path, stage: str) -> dict[str, Any] | None:
    """Where a stage stands: `done` of `total` units, state, epoch, ETA in s, health; None when nobody said yet."""
    path = status_file(root, stage)
    if not path.is_file():
        return None
    try:
        return read_json(path, what="status", schema=SCHEMA)
    except DistillError:
        return None


class StatusListener:
    """Writes the status whole, at most once a second while the stage works."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.values: dict[str, Any] = {}
        self.written = 0.0

    def __call__(self, event: Event) -> None:
        if event.stage != self.values.get("stage"):
            self.values = {"schema": SCHEMA, "stage": event.stage, "state": "running", "pid": os.getpid()}
        now = time.monotonic()
        match event:
            case Progress():
                self.values |= {"done": event.done, "total": event.total, "unit": event.unit}
            case TrainingStarted():
                self.values |= {"done": event.step, "total": event.total_steps, "unit": "steps"}
            case StepDone():
                self.values |= {"done": event.step, "epoch": event.epoch}
            case EpochDone():
                self.values |= {"eta_seconds": event.eta_seconds, "health": event.health, "row": event.row}
            case PlateauSeen():
                self.values |= {"plateau": event.info}
            case Paused():
                self.values |= {"state": "paused" if event.paused else "running"}
                self.written = 0.0
            case RolledBack():
                self.values |= {"done": event.to}
                self.written = 0.0
            case StageFinished():
                self.values |= {"state": "finished"}
                self.written = 0.0
        if now - self.written >= INTERVAL_SECONDS:
            self.written = now
            write_json(status_file(self.root, event.stage), finite(self.values))
