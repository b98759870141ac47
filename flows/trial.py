"""One training of a sweep as a task, and what runs such tasks beside each other."""

import logging
from typing import Any, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import JsonValue

from distill.errors import DistillError, Interrupted, UsageError
from flows.pool import TrainedModel, train_in_pool
from flows.stages import failed_state
from flows.train import train


@task(name="Train", task_run_name="Train {title}", cache_policy=NO_CACHE, persist_result=False)
def train_one(overrides: dict[str, dict[str, JsonValue]], title: str) -> TrainedModel | State[Any]:
    """Train with these parameters in place of the project's."""
    state: State[Any] = train(**overrides, return_state=True)
    if state.is_cancelled():
        return Cancelled(message=state.message)
    if not state.is_completed():
        return failed_state(DistillError(state.message or f"{title} failed"))
    return cast(TrainedModel, state.result())


@task(name="Train elsewhere", task_run_name="Train {title} elsewhere", cache_policy=NO_CACHE, persist_result=False)
def train_one_elsewhere(overrides: dict[str, dict[str, JsonValue]], title: str) -> TrainedModel | State[Any]:
    """The same as a run of the deployment `train/remote`, on whichever worker takes it."""
    try:
        return train_in_pool(overrides)
    except Interrupted as error:
        return Cancelled(message=str(error))
    except DistillError as error:
        return failed_state(error)


def task_runner(name: str, workers: int) -> TaskRunner[Any]:
    """What runs the trainings.

    Raises:
        UsageError: Dask is not installed.
    """
    if name in ("threads", "pool"):
        return ThreadPoolTaskRunner(max_workers=workers)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise UsageError("Dask is not installed: pip install 'distill-audio[dask]'") from error
    # It logs every connection.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    local = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    return DaskTaskRunner(cluster_kwargs={**local, "host": "127.0.0.1"})
