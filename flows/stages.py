"""The stages of the pipeline as Prefect tasks, each run through DVC in a process of its own."""

import base64
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
from prefect import get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.states import Cancelled, Failed

from distill.errors import DistillError, Interrupted
from distill.live.status import read_status, status_file
from distill.processes.dvc_stage import StageCrashed, repro
from distill.processes.run_lock import RunLock
from distill.runs.dvc_project import DvcRun, taking_turns
from distill.stages.titles import TITLES
from distill.stages.workspace import Workspace, read_report
from distill.versions.worker_clone import origin_of
from flows.elsewhere import across_hosts, put_back

TIMEOUTS = {
    "prepare": timedelta(hours=6),
    "configure": timedelta(minutes=10),
    "train_vqvae": timedelta(days=3),
    "train_prior": timedelta(days=3),
    "check_memorization": timedelta(hours=6),
    "train_vocoder": timedelta(days=1),
    "assemble": timedelta(minutes=30),
}
RETRIES = 2
RETRY_SECONDS = 5.0

# What DVC says at every stage, whatever happens.
NOISE = ("is empty.", "Use `dvc push`", "Updating lock file", "Generating lock file")

_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def may_help(_task: object, _run: object, state: Any) -> bool:
    """Whether trying again may help: after a crash, never after a stage's own complaint."""
    return isinstance(state.result(raise_on_failure=False), (StageCrashed, OSError))


def failed_state(error: DistillError) -> State[Any]:
    """A failure as its one line, where raising it would show a traceback."""
    return Failed(message=str(error), data=error)


def run_as_task(stage: str, run: DvcRun, environment: dict[str, str], lock: RunLock) -> dict[str, Any]:
    """Bring a stage up to date, as a task under a name that a user understands; its report.

    Args:
        stage: its name.
        run: the run that it belongs to.
        environment: variables for the stage.
        lock: that of the run.

    Raises:
        DistillError: the stage's complaint.
    """
    titled = _stage_task.with_options(name=TITLES[stage])
    # Called plainly, a task gives back the failed state that it returned as if it were its result.
    state = titled(stage, run, environment, lock, return_state=True)
    return cast(dict[str, Any], state.result())


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=may_help,
    log_prints=False,
)
def _stage_task(stage: str, run: DvcRun, environment: dict[str, str], lock: RunLock) -> dict[str, Any] | State[Any]:
    workspace = run.workspace
    logger = get_run_logger()
    status_file(workspace.root, stage).unlink(missing_ok=True)
    progress = _Progress(workspace.root, stage)
    away = origin_of(run.project) is not None

    def on_line(line: str) -> None:
        text = _TERMINAL_CODES.sub("", line).strip()
        if text and not any(words in text for words in NOISE):
            logger.info(text)

    def on_turn() -> None:
        logger.info("another run does the same: waiting for its result")

    try:
        with taking_turns(run, stage, on_turn, *([across_hosts] if away else [])):
            ran = repro(
                run.root,
                stage,
                environment=environment,
                on_line=on_line,
                on_wait=progress.update,
                lock=lock,
                # Prefect's own limit cannot end a stage in a sweep's thread.
                limit_seconds=TIMEOUTS[stage].total_seconds(),
                pull=away,
            )
            if away:
                put_back(run.root, stage)
    except StageCrashed:
        raise
    except Interrupted as error:
        return Cancelled(message=str(error), data=error)
    except DistillError as error:
        return failed_state(error)
    progress.finish()
    logger.info("%s: %s", TITLES[stage], "done" if ran else "taken from DVC's cache")
    report = read_report(workspace, stage)
    if stage in _ARTIFACTS:
        _ARTIFACTS[stage](workspace, report)
    return report


def artifact_key(kind: str, name: str) -> str:
    """What Prefect's page keeps the artifacts of a model together by.

    >>> artifact_key("sounds", "models/My Kit.distill")
    'sounds-my-kit'
    """
    return f"{kind}-{re.sub(r'[^a-z0-9]+', '-', Path(name).stem.lower()).strip('-')}"


class _Progress:
    """A progress bar in Prefect's page, fed by the stage's status file."""

    def __init__(self, root: Path, stage: str) -> None:
        self.root, self.stage = root, stage
        self.artifact: UUID | None = None
        self.shown = 0.0

    def update(self) -> None:
        """Show where the stage stands, if that changed by a per cent or more."""
        status = read_status(self.root, self.stage)
        if not status or not status.get("total"):
            return
        share = 100.0 * status["done"] / status["total"]
        if abs(share - self.shown) >= 1.0:
            self._show(share)

    def finish(self) -> None:
        """Fill the bar."""
        if self.artifact is not None:
            self._show(100.0)

    def _show(self, share: float) -> None:
        self.shown = share
        # A bar that cannot be shown, as somebody deleted it, is no reason to end a training.
        with suppress(httpx.HTTPError, PrefectException):
            if self.artifact is None:
                key = artifact_key(f"{self.stage.replace('_', '-')}-progress", Workspace(self.root).params().model.name)
                made = create_progress_artifact(progress=share, key=key, description=TITLES[self.stage])
                self.artifact = cast(UUID, made)
            else:
                update_progress_artifact(self.artifact, progress=share)


def _show_training(workspace: Workspace, report: dict[str, Any]) -> None:
    rows = [
        {
            "level": name,
            "utilization": f"{level['utilization']:.0%}",
            "perplexity": round(level["perplexity"], 1),
            "dead codes": level["dead_codes"],
        }
        for name, level in report["codebook"].items()
    ]
    name = workspace.params().model.name
    key = artifact_key("codebook-health", name)
    create_table_artifact(rows, key=key, description=f"Codebooks: {report['health']['words']}")
    picture = workspace.plots("train_vqvae") / "codebook_usage.png"
    key = artifact_key("codebook-usage", name)
    create_image_artifact(_data_url(picture), key=key, description="How often each code is used")


def _show_verdict(workspace: Workspace, report: dict[str, Any]) -> None:
    lines = [f"# Memorization: {report['verdict']}", "", *(f"- {reason}" for reason in report["reasons"])]
    key = artifact_key("memorization-verdict", workspace.params().model.name)
    create_markdown_artifact("\n".join(lines), key=key, description=report["verdict"])


_ARTIFACTS: dict[str, Callable[[Workspace, dict[str, Any]], None]] = {
    "train_vqvae": _show_training,
    "check_memorization": _show_verdict,
}


def _data_url(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode('ascii')}"
