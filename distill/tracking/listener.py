"""Recording a training while it runs, in a thread of its own that can neither stop nor fail it."""

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import psutil

from distill.errors import DistillError
from distill.live.events import (
    EpochDone,
    Event,
    LayerActivity,
    Listener,
    PlateauSeen,
    RolledBack,
    StageFinished,
    TrainingStarted,
    Tuned,
)
from distill.projects.project import project_of
from distill.stages import lineage
from distill.stages.workspace import Workspace
from distill.tracking import content, record, runs
from distill.tracking.address import client_of, tracking_address, tracking_on
from distill.tracking.run_facts import note_epoch, note_start

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    Send = Callable[[MlflowClient], object]

logger = logging.getLogger(__name__)

STARTED_BY_VARIABLE = "DISTILL_STARTED_BY"
# Longest wait at the end; the rest is caught up later.
CLOSE_SECONDS = 60.0


def started_by() -> str:
    """What started this process: as the environment says, DVC, or the command itself."""
    return os.environ.get(STARTED_BY_VARIABLE) or ("dvc" if "DVC_ROOT" in os.environ else "cli")


@contextmanager
def track(workspace: Workspace) -> Iterator[Listener]:
    """A listener that records a workspace's run; at the end of the block everything is recorded, or left for later."""
    if not tracking_on():
        yield lambda _event: None
        return
    recorder = _Recorder(workspace)
    try:
        yield recorder
    except BaseException as error:
        recorder.close(runs.status_after(error))
        raise
    recorder.close(None)


class _Recorder:
    """Takes events in the training's thread and records them in its own."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.events = _Events(workspace)
        self.queue: queue.SimpleQueue[Event | _Training | str | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        # A training that was finished before gives its outputs again and trains nothing.
        trains = isinstance(event, TrainingStarted) and event.step < event.total_steps
        ended = isinstance(event, StageFinished) and (
            event.stage == "assemble" or content.trains(event.stage, event.report)
        )
        if trains:
            # At once, not in the other thread: a moment later the journal may hold a change.
            try:
                self._put(_Training(event.stage, _planned_lineage(self.workspace, event.stage)))
            except DistillError as error:
                logger.warning("%s is recorded at its end: %s", event.stage, error)
        elif ended or isinstance(event, (EpochDone, Tuned, RolledBack, LayerActivity, PlateauSeen)):
            self._put(event)

    def close(self, status: str | None) -> None:
        """Wait until everything is recorded; a run that did not finish gets a status."""
        if status is not None and (self.thread or runs.has_run(self.workspace)):
            self._put(status)
        if self.thread is None:
            return
        self.queue.put(None)
        self.thread.join(CLOSE_SECONDS)
        self.events.close()
        if self.thread.is_alive():
            logger.warning("the record of runs does not answer; %s catches up later", runs.sync_command(self.workspace))

    def _put(self, item: "Event | _Training | str") -> None:
        if self.thread is None:
            self.thread = threading.Thread(target=self._work, name="tracking", daemon=True)
            self.thread.start()
        self.queue.put(item)

    def _work(self) -> None:
        away = warned = False
        while (item := self.queue.get()) is not None:
            try:
                send = self.events.take(item)
                # What a server missed is filled in at the end of the stage: trying each epoch would only fall behind.
                if send is not None and not (away and isinstance(item, (EpochDone, LayerActivity, PlateauSeen))):
                    send(self.events.client())
                    away = False
            except Exception as error:
                away = True
                text = " ".join(str(error).split())[:300]
                logger.debug("recording failed", exc_info=error)
                if not warned:
                    warned = True
                    reason = text if isinstance(error, DistillError) else f"the training is not recorded ({text})"
                    logger.warning(
                        "%s; the training continues; %s can catch up later", reason, runs.sync_command(self.workspace)
                    )


@dataclass
class _Training:
    """The training that goes on.

    Attributes:
        stage: its stage.
        lineage: of the model that it makes.
        run_id: the run that records it; None until one is open.
        recorded: the epochs that the run had before (`record.recorded_epochs`).
        seconds: until the end of the last epoch, of this process.
    """

    stage: str
    lineage: str
    run_id: str | None = None
    recorded: dict[int, dict[str, float]] = field(default_factory=dict)
    seconds: float = 0.0


class _Events:
    """Turns events into notes in the workspace and calls of MLflow."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._client: MlflowClient | None = None
        self._training: _Training | None = None
        self._system: SystemMetricsMonitor | None = None

    def client(self) -> "MlflowClient":
        """MLflow's client, made on the first call.

        Raises:
            TrackingError: the record cannot be used.
        """
        if self._client is None:
            self._client = client_of(project_of(self.workspace.root))
        return self._client

    def close(self) -> None:
        """Stop measuring the system."""
        if self._system is not None:
            self._system.finish()

    def take(self, item: Event | _Training | str) -> "Send | None":
        """Note in the workspace what no output of its stages has; what to send to MLflow, if anything.

        The notes are written even if MLflow is away. A status instead of an event ends the run.
        """
        training = self._training
        match item:
            case str():
                return lambda client: runs.close_run(client, self.workspace, item)
            case _Training():
                return self._begin(item)
            case StageFinished(stage="assemble"):
                return lambda _client: record.complete(self.workspace, started_by=started_by())
        if training is None:
            return None
        run_id = training.run_id
        match item:
            case Tuned() | RolledBack():
                before, training.lineage = training.lineage, _planned_lineage(self.workspace, item.stage)
                runs.relabel(self.workspace, before, training.lineage)
                if run_id:
                    return partial(record.log_change, run_id=run_id, event=item, lineage=training.lineage)
            case EpochDone():
                measured = self._measure(training, item)
                if run_id and not record.is_recorded(item.row, training.recorded):
                    return partial(record.log_epoch, run_id=run_id, stage=item.stage, row={**item.row, **measured})
            case PlateauSeen() if run_id:
                return partial(record.log_plateau, run_id=run_id, event=item)
            case LayerActivity() if run_id:
                return partial(record.log_activity, run_id=run_id, event=item)
            case StageFinished() if item.stage == training.stage:
                return partial(self._fill, training)
        return None

    def _begin(self, training: _Training) -> "Send":
        self._training = training
        note_start(self.workspace, training.stage, lineage=training.lineage, started_by=started_by())
        return partial(self._join, training)

    def _measure(self, training: _Training, event: EpochDone) -> dict[str, float]:
        measured = {
            "epoch_seconds": event.seconds - training.seconds,
            "steps_per_second": event.steps_per_second,
            "memory_mb": _peak_memory_mb(),
        }
        training.seconds = event.seconds
        note_epoch(self.workspace, event.stage, event.row["epoch"], measured)
        return measured

    def _join(self, training: _Training, client: "MlflowClient") -> str:
        run_id = runs.open_run(client, self.workspace, lineage=training.lineage, started_by=started_by())
        record.mark_origin(client, run_id, training.stage)
        training.recorded = record.recorded_epochs(client, run_id, training.stage)
        training.run_id = run_id
        self._watch_system(run_id)
        return run_id

    def _fill(self, training: _Training, client: "MlflowClient") -> None:
        run_id = training.run_id or self._join(training, client)
        record.fill_metrics(client, run_id, self.workspace, training.stage, training.lineage)

    def _watch_system(self, run_id: str) -> None:
        """Record processor, memory and disk if MLflow's own switch for that is on."""
        from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING

        if self._system is not None or not MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        address = tracking_address(project_of(self.workspace.root))
        self._system = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=address)
        self._system.start()


def _planned_lineage(workspace: Workspace, stage: str) -> str:
    """The lineage of the model that a stage's training leads to, as its journal is by now."""
    return lineage.planned_lineage(workspace, vqvae_trained=stage != "train_vqvae").id


def _peak_memory_mb() -> float:
    try:
        import resource
    except ImportError:
        # Windows has no such module, and tells it elsewhere.
        return float(psutil.Process().memory_info().peak_wset) / 2**20
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
