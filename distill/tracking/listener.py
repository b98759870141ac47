"""Recording a training while it runs, in a thread of its own that can neither stop nor fail it."""

import logging
import os
import queue
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError, Interrupted
from distill.live.events import EpochDone, Event, Listener, StageFinished, StageStarted
from distill.projects.project import project_of
from distill.stages import lineage
from distill.stages.workspace import Workspace
from distill.tracking import runs
from distill.tracking.address import client_of, tracking_on
from distill.tracking.content import GROUPS

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
        self.run_id: str | None = None
        self.known: dict[str, set[int]] = {}
        self.seconds = 0.0

    def __call__(self, event: Event) -> None:
        trains = isinstance(event, (StageStarted, EpochDone)) and event.stage in GROUPS
        if trains or (isinstance(event, StageFinished) and event.stage in (*GROUPS, "register")):
            if self.thread is None:
                self.thread = threading.Thread(target=self._work, name="tracking", daemon=True)
                self.thread.start()
            self.queue.put(event)

    def close(self, status: str | None) -> None:
        """Wait until everything is recorded; a run that did not finish gets a status."""
        if self.thread is None:
            return
        if status is not None:
            self.queue.put(status)
        self.queue.put(None)
        self.thread.join(CLOSE_SECONDS)
        if self.thread.is_alive():
            logger.warning("the record of runs does not answer; distill tracking sync catches up later")

    def _work(self) -> None:
        try:
            while (item := self.queue.get()) is not None:
                self._record(item)
        except DistillError as error:
            logger.warning("%s; the training goes on, and distill tracking sync catches up later", error)
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            logger.warning("the training is not recorded (%s); distill tracking sync catches up later", text)
            logger.debug("recording failed", exc_info=error)

    def _record(self, item: Event | str) -> None:
        if self.client is None:
            self.client = client_of(project_of(self.workspace.root))
        match item:
            case str():
                if self.run_id:
                    runs.end_run(self.client, self.run_id, item)
            case StageStarted():
                self._join(item.stage)
            case EpochDone():
                self._epoch(item)
            case StageFinished(stage="register"):
                self.run_id = runs.complete(self.workspace, started_by=started_by())
            case StageFinished() if self.run_id:
                runs.fill_metrics(self.client, self.run_id, self.workspace, item.stage)

    def _join(self, stage: str) -> None:
        assert self.client is not None
        planned = lineage.planned(self.workspace, vqvae_trained=stage != "train_vqvae")
        self.run_id = runs.join_run(self.client, self.workspace, lineage=planned.id, started_by=started_by())
        runs.mark_origin(self.client, self.run_id, stage)
        self.known[stage] = runs.recorded_epochs(self.client, self.run_id, stage)
        self.seconds = 0.0

    def _epoch(self, event: EpochDone) -> None:
        if self.run_id is None or self.client is None or event.row["epoch"] in self.known[event.stage]:
            return
        more: dict[str, Any] = {
            "epoch_seconds": event.seconds - self.seconds,
            "steps_per_second": event.steps_per_second,
            "memory_mb": _peak_memory_mb(),
        }
        self.seconds = event.seconds
        runs.log_epoch(self.client, self.run_id, event.stage, event.row, more)


def _peak_memory_mb() -> float:
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
