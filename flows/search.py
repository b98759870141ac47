"""The search flow: trials that Optuna suggests, each a training flow of its own, of which the worse end early."""

import shlex
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.trial import Trial
from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from distill.errors import DistillError
from distill.live.status import read_rows, read_status, status_file
from distill.locks import reopen
from distill.processes.dvc_stage import stop_running
from distill.projects.project import find_project
from distill.runs.dvc_project import plan_run
from distill.runs.inputs import settings_of
from distill.runs.stopping import stop
from distill.runs.sweep import Objective, Search, Settings
from distill.stages.pipeline import STAGES
from distill.stages.workspace import Workspace, read_config, read_report
from distill.tracking.content import GROUPS, read_history
from flows.parameters import title_of
from flows.pool import TrainedModel
from flows.stages import failed_state
from flows.study import Overrides, Study, opened_study
from flows.trial import train_one

# The training that an objective comes from, and its column in the history.
MEASURED: dict[Objective, tuple[str, str]] = {
    "lsd_db": ("train_vqvae", "validation_lsd_db"),
    "prior_perplexity": ("train_prior", "validation_perplexity"),
    "vqvae_loss": ("train_vqvae", "validation_loss"),
}
POLL_SECONDS = 0.5
# A run that was asked to stop between two stages begins the next.
ASK_AGAIN_SECONDS = 5.0
STOP_SECONDS = 10.0


@flow(name="trials", flow_run_name="trials", validate_parameters=False, persist_result=False)
def run_trials(settings: Settings, search: Search, workers: int) -> dict[str, Any] | State[Any]:
    """Search settings until there were enough trials; an interrupted search goes on.

    Returns:
        `runs`: a row a trial, the best first, with its number as `trial`, its `state` (`done`, `pruned` or `failed`)
        and its `value`; `best`: trial, value, settings and the command that trains with them; `importances` by setting.

    Raises:
        DistillError: every trial failed, or the file of the search cannot be used (the flow fails with its line).
    """
    reopen()
    try:
        with opened_study(find_project(), settings, search, workers) as study:
            _run_all(study, workers)
            rows = study.rows()
            if rows[0]["state"] != "done":
                why = next((row["error"] for row in rows if "error" in row), "each is a copy of its sounds")
                return failed_state(DistillError(f"every trial failed: {why}"))
            best = _best(study, rows[0])
            return {"runs": rows, "best": best, "importances": study.importances()}
    except DistillError as error:
        return failed_state(error)


def _run_all(study: Study, workers: int) -> None:
    running: list[_Running] = []
    try:
        while True:
            while len(running) < workers and (found := study.next()) is not None:
                running.append(_Running(study, *found))
            if not running:
                return
            for each in running:
                each.watch()
            running = [each for each in running if not each.wait(POLL_SECONDS / len(running))]
    except BaseException:
        # Cancelling reaches this thread alone; the trainings are in others.
        stop_running()
        raise


class _Running:
    """A trial that runs, seen through the files of its run, whichever process trains it."""

    def __init__(self, study: Study, trial: Trial, overrides: Overrides) -> None:
        self.study, self.trial, self.number = study, trial, trial.number
        self.stage, self.column = MEASURED[study.search.objective]
        self.given_up, self.asked = False, 0.0
        self.logger = get_run_logger()
        title = title_of(overrides)
        self.logger.info("trial %d of %d: %s", self.number, study.search.trials, title)
        self.workspace: Workspace | None = None
        with suppress(DistillError):
            # Where this fails the training says why.
            self.workspace = plan_run(find_project(), overrides).workspace
        self.begun = time.time()
        self.future: PrefectFuture[Any] = train_one.submit(overrides, title)

    def watch(self, *, over: bool = False) -> None:
        """End the trial early where it is worse than others at the same epoch."""
        if self.workspace is None:
            return
        if not self.given_up and (rows := self._rows(self.workspace, over)):
            epochs = read_config(self.workspace, self.stage)[GROUPS[self.stage]]["epochs"]
            worse = self.study.worse(self.trial, rows, epochs)
            if worse is not None:
                self._give_up(*worse, epochs)
        if self.given_up and not over and time.monotonic() - self.asked > ASK_AGAIN_SECONDS:
            # Between two stages, or at the end, no process can be asked.
            with suppress(DistillError):
                stop(self.workspace.root, who="search", timeout=STOP_SECONDS)
            self.asked = time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Wait so long for the end of the trial, and note what came of it; whether it has ended."""
        try:
            result: Any = self.future.result(timeout=seconds, raise_on_failure=False)
        except TimeoutError:
            return False
        if isinstance(result, TrainedModel):
            self.watch(over=True)
        state = "pruned" if self.given_up else self._note(result)
        if self.workspace is not None:
            from flows import recording

            tags = {"search": self.study.name, "trial": str(self.number), "trial.state": state}
            recording.tag(self.workspace, tags)
        return True

    def _note(self, result: Any) -> str:
        if not isinstance(result, TrainedModel):
            self.logger.error("trial %d failed: %s", self.number, result)
            self.study.fail(self.trial, {"error": str(result)})
            return "failed"
        if result.verdict == "fail":
            self.logger.warning("trial %d memorized its sounds, which counts as failed", self.number)
            self.study.fail(self.trial, asdict(result))
            return "failed"
        assert self.workspace is not None
        value = float(read_report(self.workspace, self.stage)["best"][self.column])
        self.logger.info("trial %d: %s %.4g", self.number, self.study.search.objective, value)
        self.study.complete(self.trial, value, asdict(result))
        return "done"

    def _give_up(self, epoch: int, value: float, epochs: int) -> None:
        self.given_up = True
        words = f"{self.study.search.objective} {value:.4g} after epoch {epoch} of {epochs}"
        self.logger.info("trial %d ends early: %s is worse than half of the finished trials", self.number, words)
        self.study.prune(self.trial, value, {"epoch": epoch, "epochs": epochs})

    def _rows(self, workspace: Workspace, over: bool) -> list[tuple[int, float]]:
        """The epochs of this trial with their values; of an earlier run in the same folder there may be others."""
        later = STAGES[STAGES.index(self.stage) + 1 :]
        if over or any(self._has_begun(workspace.root, stage) for stage in later):
            rows = read_history(workspace, self.stage)
        elif self._has_begun(workspace.root, self.stage):
            rows = read_rows(workspace.root, self.stage)
        else:
            rows = []
        found = ((int(row["epoch"]), row.get(self.column)) for row in rows)
        return [(epoch, float(value)) for epoch, value in found if value is not None and value == value]

    def _has_begun(self, root: Path, stage: str) -> bool:
        """Whether a stage works, or has worked, for this trial; a training from its first step on."""
        try:
            written = status_file(root, stage).stat().st_mtime
        except OSError:
            return False
        status = read_status(root, stage) if written >= self.begun else None
        return status is not None and (stage != self.stage or status.get("unit") == "steps")


def _best(study: Study, row: dict[str, Any]) -> dict[str, Any]:
    inputs = plan_run(find_project(), study.overrides_of(row["trial"])).inputs
    name = f"--model-name={inputs.params.model.name}"
    output = f"--output=models/{inputs.params.model.name}-trial{row['trial']}.distill"
    words = ["distill", "train", inputs.source, name, output, *(f"--set={each}" for each in settings_of(inputs.params))]
    return {
        "trial": row["trial"],
        "objective": study.search.objective,
        "value": row["value"],
        "settings": row["settings"],
        "command": shlex.join(words),
    }
