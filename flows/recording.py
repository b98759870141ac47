"""A flow's run in MLflow and its model in the registry; what this needs takes seconds to load."""

import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled

from distill.errors import DistillError, Interrupted
from distill.registry.registration import register as put_into_registry
from distill.registry.registry import RegisteredVersion
from distill.runs.dvc_project import DvcRun
from distill.stages.workspace import Workspace
from distill.tracking import runs
from distill.tracking.address import is_server, tracking_address, without_password
from distill.tracking.record import complete
from distill.versions.worker_clone import origin_of
from flows.elsewhere import persistently
from flows.stages import artifact_key, failed_state


def keep_run_open(run: DvcRun) -> AbstractContextManager[None]:
    """The run of a configured workspace while it trains, tagged with this flow run."""
    tags = {"prefect.flow_run": str(flow_run.id or ""), "prefect.flow_run_name": str(flow_run.name or "")}
    return runs.keep_run_open(run.workspace, started_by="prefect", tags=tags)


def run_of(run: DvcRun) -> str | None:
    """The id of the workspace's run."""
    return runs.run_of(run.workspace)


@task(name="Register the model", cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=5)
def record(run: DvcRun, path: Path) -> RegisteredVersion | State[Any] | None:
    """Complete the record of the run and register its model; an unreachable record only costs a warning.

    On a worker, where it could not be completed later, the run fails; a restart takes everything from the remote.
    """
    logger = get_run_logger()
    away = origin_of(run.project) is not None

    def register() -> RegisteredVersion:
        run_id = complete(run.workspace, started_by="prefect")
        return put_into_registry(path, run.project, run_id=run_id)

    try:
        version = persistently(register) if away else register()
    except Interrupted as error:
        return Cancelled(message=str(error), data=error)
    except DistillError as error:
        if away:
            return failed_state(error)
        logger.warning("%s; later: distill tracking sync %s, distill model register %s", error, run.root, path)
        return None
    logger.info("%s %s", version.reference, "registered" if version.created else "was registered before")
    return version


def tag(workspace: Workspace, tags: Mapping[str, str]) -> None:
    """Tag the run of a workspace, each tag as `distill.NAME`; an unreachable record only costs a warning."""
    try:
        runs.tag_run(workspace, {f"distill.{name}": value for name, value in tags.items()})
    except DistillError as error:
        get_run_logger().warning("%s; the trial is not tagged", error)


def show(run: DvcRun, path: Path, version: RegisteredVersion | None) -> None:
    """Link the model, its run and its version in Prefect's page."""
    words = summary(run.project, path, version, run_of(run))
    key = artifact_key("model", run.inputs.params.model.name)
    create_markdown_artifact(words, key=key, description="The model, its run and its version")


def summary(project: Path, path: Path, version: RegisteredVersion | None, run_id: str | None) -> str:
    """What Prefect's page says about a model, in Markdown; its readers need not know MLflow's password."""
    address = without_password(tracking_address(project))
    away = origin_of(project) is not None
    lines = [f"- model: {path.name}, made on {socket.gethostname()}" if away else f"- model: [{path}]({path.as_uri()})"]
    if version is not None:
        lines.append(f"- registered as **{version.reference}**")
    if run_id is not None and is_server(address):
        lines.append(f"- [MLflow run]({address}/#/runs/{run_id})")
    elif run_id is not None:
        lines.append(
            f"- MLflow run `{run_id}` in `{address}`: [its page](http://127.0.0.1:5000/#/runs/{run_id}), "
            "which `distill tracking open` serves"
        )
    return "\n".join(lines)
