"""Trainings that a work pool's workers do elsewhere: started through the deployment, followed, and told back."""

import json
import time
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import Cancelling
from pydantic import JsonValue

from distill.errors import DistillError, Interrupted, StorageError, UsageError
from distill.locks import require_open
from flows.elsewhere import persistently

DEPLOYMENT = "train/remote"
RESULT = "training-result"
POLL_SECONDS = 2.0


def require_server() -> None:
    """Make sure that the server that Prefect's settings name answers; of no effect where they name none.

    Raises:
        StorageError: it does not.
    """
    address = get_current_settings().api.url
    if not address:
        return
    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise StorageError(f"Prefect's server at {address} does not answer: start it, or unset PREFECT_API_URL")


def require_pool() -> None:
    """Make sure that trainings can be given to a work pool.

    Raises:
        UsageError: no server is named, or it has no such deployment.
        StorageError: the server does not answer.
    """
    if not get_current_settings().api.url:
        raise UsageError("a sweep over workers needs Prefect's server: set PREFECT_API_URL to its address")
    require_server()
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound as error:
            raise UsageError(f"{DEPLOYMENT} is not deployed: prefect deploy --name {DEPLOYMENT}") from error
        except httpx.HTTPStatusError as error:
            raise StorageError(f"Prefect's server refuses: {error}; is PREFECT_API_AUTH_STRING right?") from error


def train_in_pool(overrides: dict[str, dict[str, JsonValue]]) -> dict[str, Any]:
    """Train with these parameters on whichever worker takes the run; what `train` gives back there.

    Raises:
        DistillError: the training failed, with its line.
        Interrupted: it was cancelled, there or here.
    """
    started = cast(FlowRun, run_deployment(DEPLOYMENT, parameters=dict(overrides), timeout=0))
    with get_client(sync_client=True) as client:
        try:
            run = _ended(client, started.id)
        except BaseException:
            client.set_flow_run_state(started.id, Cancelling(), force=True)
            raise
        state = run.state
        if state is None or state.is_cancelled():
            raise Interrupted(f"{run.name} was cancelled")
        if not state.is_completed():
            raise DistillError(state.message or f"{run.name} failed")
        return _told(client, run.id)


def tell_result(result: dict[str, Any]) -> None:
    """Leave what a training gave with its flow run, where whoever started it finds it."""
    create_table_artifact([result], key=RESULT, description="What the training gave")


def _ended(client: SyncPrefectClient, run_id: UUID) -> FlowRun:
    while True:
        run = persistently(lambda: client.read_flow_run(run_id))
        if run.state is not None and run.state.is_final():
            return run
        until = time.monotonic() + POLL_SECONDS
        while time.monotonic() < until:
            require_open()
            time.sleep(0.2)


def _told(client: SyncPrefectClient, run_id: UUID) -> dict[str, Any]:
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]), key=ArtifactFilterKey(any_=[RESULT]))
    found = client.read_artifacts(artifact_filter=wanted)
    if not found:
        raise DistillError(f"flow run {run_id} ended without a result")
    # A table is kept as JSON.
    return cast(dict[str, Any], json.loads(str(found[-1].data))[0])
