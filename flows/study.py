"""The trials of a search in Optuna: which comes next, which ends early, and their results; kept in a file."""

import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import JsonValue
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from distill.errors import ArtifactError, TrainingError
from distill.files import digest_json, storage_errors
from distill.locks import acquire
from distill.runs.dvc_project import with_overrides
from distill.runs.inputs import as_name
from distill.runs.sweep import Search, Settings, Span, as_overrides, search_space
from distill.stages.versions import CODE_VERSIONS
from flows.parameters import title_of

# The share and number of epochs before which no trial ends: the first ones say little about a short training.
WARM_UP, LEAST_EPOCHS = 0.25, 2
# With fewer finished trials importances mean nothing.
ENOUGH_TRIALS = 10

Overrides = dict[str, dict[str, JsonValue]]


class Study:
    """A search in the hands of this process; one thread asks for trials and reports them."""

    def __init__(self, study: optuna.Study, settings: Settings, search: Search, project: Path, workers: int) -> None:
        self.study, self.search, self.workers = study, search, workers
        self.space = search_space(project, settings)
        self._judged: dict[int, int] = {}
        # An interrupted search left these behind; a trial keeps its number and its settings.
        left = [trial for trial in self._trials() if trial.state == TrialState.RUNNING]
        self._left = [(trial.number, trial._trial_id) for trial in left]

    @property
    def name(self) -> str:
        """What the search is called in MLflow and on disk."""
        return self.study.study_name

    def next(self) -> tuple[Trial, Overrides] | None:
        """A trial to run, with its parameters; None when there were enough.

        A trial whose settings were tried before takes over what came of them.
        """
        while self._left or len(self._trials()) < self.search.trials:
            trial = self._next_trial()
            overrides = self._suggest(trial)
            trial.set_user_attr("overrides", overrides)
            same = next((each for each in self._trials() if self._is_same(each, overrides)), None)
            if same is None:
                return trial, overrides
            for epoch, value in same.intermediate_values.items():
                trial.report(value, epoch)
            self._tell(trial, same.state, same.value, same.user_attrs["row"])
        return None

    def worse(self, trial: Trial, rows: Sequence[tuple[int, float]], epochs: int) -> tuple[int, float] | None:
        """The first epoch at which a trial is worse than the median of the finished ones, with its value; else None.

        Follows from the values alone, whenever it is asked.

        Args:
            trial: the trial.
            rows: epochs and values so far, all of them each time.
            epochs: how many there are to be.
        """
        known = self._trials()[trial.number].intermediate_values
        # Of a trial that is taken up again, the last epoch that was noted may not have been judged.
        judged = self._judged.get(trial.number, max(known, default=0) - 1)
        enough = self.search.prune_after
        warm_up = max(LEAST_EPOCHS, math.ceil(WARM_UP * epochs))
        self.study.pruner = MedianPruner(enough, warm_up, n_min_trials=enough)
        for epoch, value in rows:
            if epoch <= judged:
                continue
            if epoch not in known:
                trial.report(value, epoch)
            self._judged[trial.number] = epoch
            if trial.should_prune():
                return epoch, value
        return None

    def complete(self, trial: Trial, value: float, row: dict[str, Any]) -> None:
        """Note what a finished trial came to."""
        self._tell(trial, TrialState.COMPLETE, value, {**row, "state": "done", "value": value})

    def prune(self, trial: Trial, value: float, row: dict[str, Any]) -> None:
        """Note that a trial ended early."""
        self._tell(trial, TrialState.PRUNED, None, {**row, "state": "pruned", "value": value})

    def fail(self, trial: Trial, row: dict[str, Any]) -> None:
        """Note that a trial gave no model to be used."""
        self._tell(trial, TrialState.FAIL, None, {**row, "state": "failed"})

    def rows(self) -> list[dict[str, Any]]:
        """A row a trial: the finished ones, the best first, then those that ended early, then the failed ones."""
        order = ("done", "pruned", "failed")
        rows = [trial.user_attrs["row"] for trial in self._trials() if "row" in trial.user_attrs]
        return sorted(
            rows, key=lambda row: (order.index(row["state"]), row["value"] if row["state"] == "done" else row["trial"])
        )

    def overrides_of(self, number: int) -> Overrides:
        """The parameters of a trial."""
        overrides: Overrides = self._trials()[number].user_attrs["overrides"]
        return overrides

    def importances(self) -> dict[str, float]:
        """How much each setting had to do with good trials, as shares (PED-ANOVA); none where there were too few."""
        finished = [trial for trial in self._trials() if trial.state == TrialState.COMPLETE]
        if len(finished) < ENOUGH_TRIALS:
            return {}
        found = optuna.importance.get_param_importances(self.study, evaluator=PedAnovaImportanceEvaluator())
        return {name: share for name, share in found.items() if math.isfinite(share)}

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _next_trial(self) -> Trial:
        """A trial that was left behind, else a new one.

        Each has a seed of its own, so that a search that was interrupted suggests what it would have suggested.
        """
        number = self._left[0][0] if self._left else len(self._trials())
        seed = np.random.SeedSequence([self.search.seed, number]).generate_state(1)[0]
        self.study.sampler = TPESampler(seed=int(seed), constant_liar=self.workers > 1)
        if self._left:
            return Trial(self.study, self._left.pop(0)[1])
        return self.study.ask()

    def _suggest(self, trial: Trial) -> Overrides:
        values: dict[str, JsonValue] = {}
        for name, choice in self.space.items():
            if not isinstance(choice, Span):
                # Optuna keeps plain values only, and some parameters are lists.
                texts = list(dict.fromkeys(json.dumps(value) for value in choice))
                values[name] = json.loads(trial.suggest_categorical(name, texts))
            elif choice.step is None:
                values[name] = choice.round(trial.suggest_float(name, choice.low, choice.high, log=choice.log))
            else:
                values[name] = trial.suggest_int(name, int(choice.low), int(choice.high), step=choice.step)
        return as_overrides(values)

    def _is_same(self, trial: FrozenTrial, overrides: Overrides) -> bool:
        usable = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        return usable and trial.user_attrs["overrides"] == overrides

    def _tell(self, trial: Trial, state: TrialState, value: float | None, row: dict[str, Any]) -> None:
        settings = title_of(self.overrides_of(trial.number))
        trial.set_user_attr("row", {**row, "trial": trial.number, "settings": settings})
        self.study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)


@contextmanager
def opened_study(project: Path, settings: Settings, search: Search, workers: int) -> Iterator[Study]:
    """The search of a project with these settings: the one that was begun before, or a new one.

    Another objective, seed or setting is another search, and so are other parameters of the project.

    Raises:
        TrainingError: another process runs the same search.
        ArtifactError: the file of the search is damaged.
        StorageError: it cannot be written.
    """
    _forward_logging()
    params = with_overrides(project, {})
    values = params.model_dump(mode="json", by_alias=True, exclude={"model"})
    how = search.model_dump(mode="json", exclude={"trials", "fresh"})
    key = digest_json([list(settings.items()), how, values, CODE_VERSIONS])[:8]
    name = f"{as_name(Path(params.data.path).stem)}-{key}"
    path = project / ".distill" / "searches" / f"{name}.db"

    def refuse() -> NoReturn:
        raise TrainingError(f"the search {name} runs already in another process: wait for it, or end that one")

    lock = acquire(path.with_suffix(".lock"), refuse)
    storage = None
    try:
        if search.fresh:
            with storage_errors(path, "remove"):
                path.unlink(missing_ok=True)
        storage = RDBStorage(URL.create("sqlite", database=str(path)).render_as_string())
        study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        yield Study(study, settings, search, project, workers)
    except SQLAlchemyError as error:
        raise ArtifactError(f"{path} cannot be used ({type(error).__name__}): begin anew with --fresh") from error
    finally:
        if storage is not None:
            storage.engine.dispose()
        os.close(lock)


class _ForwardingHandler(logging.Handler):
    """Gives Optuna's lines to the project's logger, its chatter as details."""

    def emit(self, record: logging.LogRecord) -> None:
        level = logging.DEBUG if record.levelno <= logging.INFO else record.levelno
        logging.getLogger("distill.optuna").log(level, "%s", record.getMessage())


def _forward_logging() -> None:
    optuna.logging.disable_default_handler()
    logger = logging.getLogger("optuna")
    if not any(isinstance(handler, _ForwardingHandler) for handler in logger.handlers):
        logger.addHandler(_ForwardingHandler())
