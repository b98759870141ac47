"""Trainings that a work pool does elsewhere: started through the deployment, followed, and their results read."""

import json
from dataclasses import asdict, dataclass
from typing import cast
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
from flows.elsewhere import persistently, wait

DEPLOYMENT = "train/remote"
RESULT = "training-result"
POLL_SECONDS = 2.0


@dataclass(frozen=True)
class TrainedModel:
    """A training flow's model, as a row of a sweep has it.

    Attributes:
        model: path of the model file.
        workspace: the run's folder.
        digest: of the weights.
        verdict: of the check for memorization.
        distance_db: held-out distance of the VQ-VAE.
        perplexity: held-out perplexity of the prior.
        utilization: of the codebook that is used least.
        settings: the parameters that were given.
        run_id: of the run in MLflow; None: it is not recorded.
        version: NAME/VERSION in the registry; None: it is not registered.
        published: whether it is the project's own now.
    """

    model: str
    workspace: str
    digest: str
    verdict: str
    distance_db: float
    perplexity: float
    utilization: float
    settings: str
    run_id: str | None
    version: str | None
    published: bool


def require_server() -> None:
    """Make sure that the server that Prefect's settings name answers, if they name one.

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


def train_in_pool(overrides: dict[str, dict[str, JsonValue]]) -> TrainedModel:
    """Train with these parameters on whichever worker takes the run.

    Raises:
        DistillError: the training failed, with its line.
        Interrupted: it was cancelled, there or here.
    """
    started = cast(FlowRun, run_deployment(DEPLOYMENT, parameters=dict(overrides), timeout=0))
    with get_client(sync_client=True) as client:
        try:
            run = _wait_for(client, started.id)
        except BaseException:
            client.set_flow_run_state(started.id, Cancelling(), force=True)
            raise
        state = run.state
        if state is None or state.is_cancelled():
            raise Interrupted(f"{run.name} was cancelled")
        if not state.is_completed():
            raise DistillError(state.message or f"{run.name} failed")
        return _read_result(client, run.id)


def leave_result(model: TrainedModel) -> None:
    """Leave a trained model's facts with its flow run, where its starter finds them."""
    create_table_artifact([asdict(model)], key=RESULT, description="What the training gave")


def _wait_for(client: SyncPrefectClient, run_id: UUID) -> FlowRun:
    while True:
        run = persistently(lambda: client.read_flow_run(run_id))
        if run.state is not None and run.state.is_final():
            return run
        wait(POLL_SECONDS)


def _read_result(client: SyncPrefectClient, run_id: UUID) -> TrainedModel:
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]), key=ArtifactFilterKey(any_=[RESULT]))
    found = client.read_artifacts(artifact_filter=wanted)
    if not found:
        raise DistillError(f"flow run {run_id} ended without a result")
    # A table is kept as JSON.
    return TrainedModel(**json.loads(str(found[-1].data))[0])
