"""Recording a training while it runs, in a thread of its own that can neither stop nor fail it."""

import logging
import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from distill.errors import DistillError, Interrupted
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
from distill.tracking import content, runs
from distill.tracking.address import client_of, tracking_address, tracking_on
from distill.tracking.run_facts import note_epoch, note_start
from distill.tracking.sbom import note_environment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

logger = logging.getLogger(__name__)

STARTED_BY = "DISTILL_STARTED_BY"
# What is not recorded by then is caught up later.
CLOSE_SECONDS = 60.0


def started_by() -> str:
    """What started this process: as told by the environment, DVC, or the command itself."""
    return os.environ.get(STARTED_BY) or ("dvc" if "DVC_ROOT" in os.environ else "cli")


@contextmanager
def tracked(workspace: Workspace) -> Iterator[Listener]:
    """A listener that records a workspace's run; when the block ends, what was said is recorded, or left for later."""
    if not tracking_on():
        yield lambda _event: None
        return
    recorder = _Recorder(workspace)
    try:
        yield recorder
    except BaseException as error:
        recorder.close("KILLED" if isinstance(error, (Interrupted, KeyboardInterrupt)) else "FAILED")
        raise
    recorder.close(None)


class _Recorder:
    """Takes events in the training's thread and records them in its own."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.queue: queue.SimpleQueue[Event | str | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.client: MlflowClient | None = None
        # Of the training that is going on.
        self.stage = ""
        self.lineage = ""
        self.run_id: str | None = None
        self.known: set[int] = set()
        self.seconds = 0.0
        self.measured: dict[str, float] = {}
        self.away = False
        self.warned = False
        self.system: SystemMetricsMonitor | None = None

    def __call__(self, event: Event) -> None:
        # A training that was finished before gives its outputs again and trains nothing.
        trains = isinstance(event, TrainingStarted) and event.step < event.total_steps
        ended = isinstance(event, StageFinished) and (
            event.stage == "assemble" or content.trains(event.stage, event.report)
        )
        if trains or ended or isinstance(event, (EpochDone, Tuned, RolledBack, LayerActivity, PlateauSeen)):
            self._put(event)

    def close(self, status: str | None) -> None:
        """Wait until everything is recorded; a run that did not finish gets a status."""
        if status is not None and (self.thread or runs.has_run(self.workspace)):
            self._put(status)
        if self.thread is None:
            return
        self.queue.put(None)
        self.thread.join(CLOSE_SECONDS)
        if self.system is not None:
            self.system.finish()
        if self.thread.is_alive():
            logger.warning("the record of runs does not answer; distill tracking sync catches up later")

    def _put(self, item: Event | str) -> None:
        if self.thread is None:
            self.thread = threading.Thread(target=self._work, name="tracking", daemon=True)
            self.thread.start()
        self.queue.put(item)

    def _work(self) -> None:
        while (item := self.queue.get()) is not None:
            try:
                self._note(item)
                # What a server missed is filled in at the end of the stage: trying each epoch would only fall behind.
                if not (self.away and isinstance(item, (EpochDone, LayerActivity, PlateauSeen))):
                    self._record(item)
                    self.away = False
            except Exception as error:
                self.away = True
                text = " ".join(str(error).split())[:300]
                logger.debug("recording failed", exc_info=error)
                if not self.warned:
                    self.warned = True
                    said = text if isinstance(error, DistillError) else f"the training is not recorded ({text})"
                    logger.warning("%s; the training continues, and distill tracking sync can catch up later", said)

    def _note(self, item: Event | str) -> None:
        """Keep in the workspace what no file of the stages tells, and what is needed to find the run."""
        match item:
            case TrainingStarted():
                self.stage, self.run_id, self.seconds = "", None, 0.0
                self.lineage = lineage.planned(self.workspace, vqvae_trained=item.stage != "train_vqvae").id
                self.stage = item.stage
                note_start(self.workspace, item.stage, lineage=self.lineage, started_by=started_by())
                note_environment(self.workspace, item.stage)
            case Tuned() | RolledBack() if self.stage:
                before = self.lineage
                self.lineage = lineage.planned(self.workspace, vqvae_trained=item.stage != "train_vqvae").id
                runs.relabel(self.workspace, before, self.lineage)
            case EpochDone():
                self.measured = {
                    "epoch_seconds": item.seconds - self.seconds,
                    "steps_per_second": item.steps_per_second,
                    "memory_mb": _peak_memory_mb(),
                }
                self.seconds = item.seconds
                note_epoch(self.workspace, item.stage, item.row["epoch"], self.measured)

    def _record(self, item: Event | str) -> None:
        if self.client is None:
            self.client = client_of(project_of(self.workspace.root))
        match item:
            case str():
                runs.end_run(self.client, self.workspace, item)
            case TrainingStarted():
                self._join()
            case Tuned() if self.run_id:
                runs.log_change(self.client, self.run_id, item.stage, item, self.lineage)
            case RolledBack() if self.run_id:
                runs.log_rollback(self.client, self.run_id, item.stage, item, self.lineage)
            case PlateauSeen() if self.run_id:
                runs.log_plateau(self.client, self.run_id, item)
            case LayerActivity() if self.run_id:
                runs.log_activity(self.client, self.run_id, item)
            case EpochDone() if self.run_id and item.row["epoch"] not in self.known:
                runs.log_epoch(self.client, self.run_id, item.stage, {**item.row, **self.measured})
            case StageFinished(stage="assemble"):
                runs.complete(self.workspace, started_by=started_by())
            case StageFinished() if item.stage == self.stage:
                run_id = self.run_id or self._join()
                runs.fill_metrics(self.client, run_id, self.workspace, item.stage, self.lineage)

    def _join(self) -> str:
        assert self.client is not None
        run_id = runs.join_run(self.client, self.workspace, lineage=self.lineage, started_by=started_by())
        runs.mark_origin(self.client, run_id, self.stage)
        self.known = runs.recorded_epochs(self.client, run_id, self.stage)
        self.run_id = run_id
        self._watch_system(run_id)
        return run_id

    def _watch_system(self, run_id: str) -> None:
        """Record processor, memory and disk where MLflow's own switch for that is on."""
        from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING

        if self.system is not None or not MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        address = tracking_address(project_of(self.workspace.root))
        self.system = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=address)
        self.system.start()


def _peak_memory_mb() -> float:
    try:
        import resource
    except ImportError:
        # Windows has no such module, and tells it elsewhere.
        return float(psutil.Process().memory_info().peak_wset) / 2**20
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
