"""The sweep flow: every combination of some settings, each a training flow of its own, compared at the end."""

import itertools
import logging
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import wait
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import JsonValue

from distill.errors import DistillError, UsageError
from distill.projects.project import find_project
from distill.runs.dvc import reopen, stop_running
from distill.runs.dvc_project import with_overrides
from flows.lifeline import LocalFlow, end_with_worker
from flows.parameters import title_of
from flows.stages import failed
from flows.train import train

Settings = dict[str, list[JsonValue]]
COLUMNS = ("settings", "distance_db", "utilization", "perplexity", "verdict", "version", "model")


def _name() -> str:
    sounds = Path(with_overrides(find_project(), {}).data.path).stem
    settings: Settings = flow_run.parameters["settings"]
    return " ".join([sounds, *(f"{name}={','.join(map(str, values))}" for name, values in settings.items())])


@partial(LocalFlow, name="sweep", flow_run_name=_name, validate_parameters=True, persist_result=False)
def sweep(
    settings: Settings, workers: int = 1, runner: Literal["threads", "dask"] = "threads"
) -> list[dict[str, Any]] | State[Any]:
    """Train every combination of settings.

    Args:
        settings: values by `section.key`, such as `{"vqvae.num_quantizers": [2, 3, 4]}`.
        workers: trainings at a time.
        runner: `threads` of this process, or `dask` processes.

    Returns:
        A row a combination, the least held-out distance first; one that failed has `error`.

    Raises:
        UsageError: a setting is wrong, before anything runs; or Dask is asked for and not installed.
        DistillError: every combination failed.
    """
    end_with_worker()
    try:
        combinations = combine(settings)
        for overrides in combinations:
            with_overrides(find_project(), overrides)
        runs = task_runner(runner, workers)
    except DistillError as error:
        return failed(error)
    rows: list[dict[str, Any]] = _run_all.with_options(task_runner=runs)(combinations)
    rows.sort(key=lambda row: (row.get("distance_db") is None, row.get("distance_db") or 0.0))
    create_table_artifact(
        [{name: row.get(name, row.get("error", "")) for name in COLUMNS} for row in rows], key="sweep"
    )
    if all("error" in row for row in rows):
        return failed(DistillError(f"every combination failed: {rows[0]['error']}"))
    return rows


def combine(settings: Settings) -> list[dict[str, dict[str, JsonValue]]]:
    """Every combination of the values, as overrides by section, in the order given.

    >>> combine({"run.seed": [0, 1]})
    [{'run': {'seed': 0}}, {'run': {'seed': 1}}]

    Raises:
        UsageError: a name is not `section.key`, or has no values.
    """
    for name, values in settings.items():
        if name.count(".") != 1 or not values:
            raise UsageError(f"{name}={values}: expected section.key and values, such as vqvae.num_quantizers=2,3,4")
    found = []
    for chosen in itertools.product(*settings.values()):
        overrides: dict[str, dict[str, JsonValue]] = {}
        for name, value in zip(settings, chosen, strict=True):
            section, key = name.split(".")
            overrides.setdefault(section, {})[key] = value
        found.append(overrides)
    return found


def task_runner(name: str, workers: int) -> TaskRunner[Any]:
    """What runs the trainings.

    Raises:
        UsageError: Dask is not installed.
    """
    if name == "threads":
        return ThreadPoolTaskRunner(max_workers=workers)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise UsageError("Dask is not installed: pip install 'distill-audio[dask]'") from error
    # It tells of every connection.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    local = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    return DaskTaskRunner(cluster_kwargs={**local, "host": "127.0.0.1"})


@flow(name="combinations", flow_run_name="combinations", validate_parameters=False, persist_result=False)
def _run_all(combinations: list[dict[str, dict[str, JsonValue]]]) -> list[dict[str, Any]]:
    logger = get_run_logger()
    reopen()
    try:
        futures = [_train.submit(overrides, title_of(overrides)) for overrides in combinations]
        wait(futures)
    except BaseException:
        # Cancelling reaches this thread alone; the trainings are in others.
        stop_running()
        raise
    rows: list[dict[str, Any]] = []
    for overrides, future in zip(combinations, futures, strict=True):
        result: Any = future.result(raise_on_failure=False)
        if isinstance(result, BaseException):
            logger.error("%s failed: %s", title_of(overrides), result)
            result = {"settings": title_of(overrides), "error": str(result)}
        rows.append(result)
    return rows


@task(name="Train", task_run_name="Train {title}", cache_policy=NO_CACHE, persist_result=False)
def _train(overrides: dict[str, dict[str, JsonValue]], title: str) -> dict[str, Any] | State[Any]:
    state: State[Any] = train(**overrides, return_state=True)
    if not state.is_completed():
        return failed(DistillError(state.message or f"{title} failed"))
    return cast(dict[str, Any], state.result())
