"""The sweep flow: some settings, each a training flow of its own, compared at the end."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.futures import wait
from prefect.runtime import flow_run
from pydantic import Field, JsonValue

from distill.errors import DistillError, UsageError
from distill.locks import reopen
from distill.processes.dvc_stage import stop_running
from distill.projects.project import find_project
from distill.runs.dvc_project import with_overrides
from distill.runs.sweep import Search, Settings, combine, is_search, require_valid
from flows.lifeline import LocalFlow, end_with_worker
from flows.parameters import title_of
from flows.pool import TrainedModel, require_pool
from flows.stages import failed_state
from flows.trial import task_runner, train_one, train_one_elsewhere

COLUMNS = ("settings", "distance_db", "utilization", "perplexity", "verdict", "version", "model")


def _name() -> str:
    sounds = Path(with_overrides(find_project(), {}).data.path).stem
    settings: Settings = flow_run.parameters["settings"]
    values = {name: each if isinstance(each, str) else ",".join(map(str, each)) for name, each in settings.items()}
    return " ".join([sounds, *(f"{name}={each}" for name, each in values.items())])


@partial(LocalFlow, name="sweep", flow_run_name=_name, validate_parameters=True, persist_result=False)
def sweep(
    settings: Settings,
    search: Search | None = None,
    workers: Annotated[int, Field(ge=1)] = 1,
    runner: Literal["threads", "dask", "pool"] = "threads",
) -> list[dict[str, Any]] | dict[str, Any] | State[Any]:
    """Train every combination of settings, or search ranges of them.

    Args:
        settings: values by `section.key`, such as `{"vqvae.num_quantizers": [2, 3, 4]}`, all of which are combined;
            with a range among them, such as `{"vqvae.learning_rate": "1e-4..1e-2"}`, they are searched by Optuna.
        search: how ranges are searched.
        workers: trainings at a time.
        runner: `threads` of this process, `dask` processes, or the `pool`: each combination is a run of the deployment
            `train/remote`, on whichever worker takes it.

    Returns:
        Of combinations a row each, the least held-out distance first; one that failed has `error`. Of a search what
        `flows.search.run_trials` returns.

    Raises:
        UsageError: a setting is wrong, before anything runs; or Optuna or Dask is asked for and not installed.
        DistillError: everything failed, or the same search runs already.
    """
    end_with_worker()
    project = find_project()
    try:
        require_valid(project, settings, search)
        if runner == "pool":
            if is_search(settings):
                raise UsageError("a search follows each epoch of its trials, which run here: use threads or dask")
            require_pool()
        runs = task_runner(runner, workers)
        if is_search(settings):
            from flows.search import run_trials

            searched = run_trials.with_options(task_runner=runs)
            found: Any = searched(settings, search or Search(), workers, return_state=True).result()
            _show(found["runs"])
            return cast(dict[str, Any], found)
    except DistillError as error:
        return failed_state(error)
    rows: list[dict[str, Any]] = _run_all.with_options(task_runner=runs)(combine(settings), elsewhere=runner == "pool")
    rows.sort(key=lambda row: (row.get("distance_db") is None, row.get("distance_db") or 0.0))
    _show(rows)
    if all("error" in row for row in rows):
        return failed_state(DistillError(f"every combination failed: {rows[0]['error']}"))
    return rows


def _show(rows: list[dict[str, Any]]) -> None:
    columns = (*(("trial", "state") if rows and "trial" in rows[0] else ()), *COLUMNS)
    create_table_artifact(
        [{name: row.get(name, row.get("error", "")) for name in columns} for row in rows], key="sweep"
    )


@flow(name="combinations", flow_run_name="combinations", validate_parameters=False, persist_result=False)
def _run_all(combinations: list[dict[str, dict[str, JsonValue]]], elsewhere: bool) -> list[dict[str, Any]]:
    logger = get_run_logger()
    reopen()
    try:
        train = train_one_elsewhere if elsewhere else train_one
        futures = [train.submit(overrides, title_of(overrides)) for overrides in combinations]
        wait(futures)
    except BaseException:
        # Cancelling reaches this thread alone; the trainings are in others.
        stop_running()
        raise
    rows: list[dict[str, Any]] = []
    for overrides, future in zip(combinations, futures, strict=True):
        result: Any = future.result(raise_on_failure=False)
        if isinstance(result, TrainedModel):
            rows.append(asdict(result))
        else:
            logger.error("%s failed: %s", title_of(overrides), result)
            rows.append({"settings": title_of(overrides), "error": str(result)})
    return rows
