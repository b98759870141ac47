"""Where a stage stands, in files that other processes read."""

import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from distill.errors import DistillError, StorageError
from distill.files import canonical_json, finite, read_json, storage_errors, write_json
from distill.live.events import (
    EpochDone,
    Event,
    Expected,
    LayerActivity,
    Paused,
    PlateauSeen,
    Progress,
    RolledBack,
    StageFinished,
    StepDone,
    TrainingStarted,
    Warned,
)

logger = logging.getLogger(__name__)

SCHEMA = 1
INTERVAL_SECONDS = 1.0
# A scan of many sounds may have a warning for each.
MOST_WARNINGS = 50
# A line of the history that says from which step on the rows before no longer count.
BACK_TO = "back_to"
# What still holds when a training goes on.
KEPT = ("epoch", "terms", "learning_rate", "steps_per_second", "activity", "health", "plateau", "row", "warnings")


def status_file(root: Path, stage: str) -> Path:
    """The file for a stage of a workspace."""
    return root / ".distill" / "status" / f"{stage}.json"


def rows_file(root: Path, stage: str) -> Path:
    """The file with a training's evaluations so far, a JSON object a line."""
    return root / ".distill" / "status" / f"{stage}.jsonl"


def read_status(root: Path, stage: str) -> dict[str, Any] | None:
    """Where a stage stands; None: it has not reported yet.

    `stage`, `state` (running, paused, finished), `pid`; `done` of `total` `unit`; `expected` of the whole run (see
    `distill.live.events.Expected`); of a training also `epoch`, `eta_seconds` of it alone, `steps_per_second`,
    `memory_mb`, `learning_rate`, `terms` of the last step, `activity` by block, `health` by level, `plateau`, the
    newest `row` of the history and `warnings` by kind.
    """
    path = status_file(root, stage)
    if not path.is_file():
        return None
    try:
        return read_json(path, what="status", schema=SCHEMA)
    except DistillError:
        return None


def read_rows(root: Path, stage: str) -> list[dict[str, Any]]:
    """The evaluations of a training so far, in the order of their steps; none when there are none."""
    path = rows_file(root, stage)
    rows: dict[int, dict[str, Any]] = {}
    for value in _parsed(path.read_bytes() if path.is_file() else b""):
        if BACK_TO in value:
            rows = {step: row for step, row in rows.items() if step <= value[BACK_TO]}
        else:
            rows[value["step"]] = value
    return [rows[step] for step in sorted(rows)]


def _parsed(data: bytes) -> list[dict[str, Any]]:
    """The objects of a file with one a line; a line that was cut off is left out."""
    lines = [line for line in data.splitlines() if line]
    # All at once is several times faster, and the page reads it every two seconds.
    with suppress(ValueError):
        values: list[dict[str, Any]] = json.loads(b"[" + b",".join(lines) + b"]")
        return values
    values = []
    for line in lines:
        with suppress(ValueError):
            values.append(json.loads(line))
    return values


class StatusListener:
    """Writes the status whole, at most once a second while the stage works, and each evaluation as a line.

    What cannot be written, as the disk is full, is said once; the next status is written when that is possible.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.values: dict[str, Any] = {}
        self.before: dict[str, Any] = {}
        self.written = 0.0
        self.begun, self.first_step = 0.0, 0
        self.unwritten: list[bytes] = []
        self.told = False

    def __call__(self, event: Event) -> None:
        try:
            self._take(event)
        except StorageError as error:
            if not self.told:
                logger.warning("%s; the work continues, but its progress is not shown elsewhere", error)
            self.told = True

    def _take(self, event: Event) -> None:
        if event.stage != self.values.get("stage"):
            self.before = read_status(self.root, event.stage) or {}
            # What is expected of the whole run holds from one stage to the next.
            expected = {name: self.values[name] for name in ("expected",) if name in self.values}
            self.values = {"schema": SCHEMA, "stage": event.stage, "state": "running", "pid": os.getpid(), **expected}
            self.written = 0.0
        now = time.monotonic()
        match event:
            case Progress():
                self.values |= {"done": event.done, "total": event.total, "unit": event.unit}
            case Expected():
                self.values |= {"expected": {"left": event.left, "total": event.total, "first": event.first}}
                if self.values["state"] == "finished":
                    self.written = 0.0
            case TrainingStarted():
                self.begun, self.first_step = now, event.step
                self.values |= {"done": event.step, "total": event.total_steps, "unit": "steps"}
                self._go_back(event)
            case StepDone():
                self._step(event, now)
            case LayerActivity():
                self.values |= {"activity": event.blocks}
            case EpochDone():
                self.values |= {"health": event.health, "row": event.row, "steps_per_second": event.steps_per_second}
                self._add(event.stage, event.row)
            case PlateauSeen():
                self.values |= {"plateau": event.info}
            case Warned():
                warnings = {**self.values.get("warnings", {}), event.kind: event.message}
                self.values |= {"warnings": dict(list(warnings.items())[-MOST_WARNINGS:])}
            case Paused():
                self.values |= {"state": "paused" if event.paused else "running"}
                self.written = 0.0
            case RolledBack():
                self.values |= {"done": event.to}
                self._add(event.stage, {BACK_TO: event.to})
                self.begun, self.first_step = now, event.to
                self.written = 0.0
            case StageFinished():
                self.values |= {"state": "finished"}
                self.written = 0.0
        if now - self.written >= INTERVAL_SECONDS:
            self.written = now
            write_json(status_file(self.root, event.stage), finite(self.values | {"memory_mb": _memory_mb()}))

    def _step(self, event: StepDone, now: float) -> None:
        steps = event.step - self.first_step
        left = self.values.get("total", event.step) - event.step
        self.values |= {
            "done": event.step,
            "epoch": event.epoch,
            "terms": event.terms,
            "learning_rate": event.learning_rate,
            "eta_seconds": (now - self.begun) / steps * left if steps > 0 else None,
        }
        # Until the held-out sounds were heard for the first time, a batch says how the codebooks do.
        if event.health is not None and "row" not in self.values:
            self.values |= {"health": event.health}

    def _go_back(self, event: TrainingStarted) -> None:
        """Take up what was said of a training that goes on from a checkpoint; of one that begins nothing was."""
        if event.step == 0:
            path = rows_file(self.root, event.stage)
            with storage_errors(path, "remove"):
                path.unlink(missing_ok=True)
            return
        self._add(event.stage, {BACK_TO: event.step})
        self.values |= {name: self.before[name] for name in KEPT if name in self.before}

    def _add(self, stage: str, row: dict[str, Any]) -> None:
        # It starts a line as well: the one before may have been cut off.
        self.unwritten.append(b"\n" + canonical_json(finite(row)) + b"\n")
        path = rows_file(self.root, stage)
        with storage_errors(path, "write"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as handle:
                handle.write(b"".join(self.unwritten))
        self.unwritten.clear()


def _memory_mb() -> float:
    """Memory of this process."""
    return round(psutil.Process().memory_info().rss / 2**20, 1)
