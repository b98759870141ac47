"""A flow's run in MLflow and its model in the registry; what this needs takes seconds to load."""

from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from distill.errors import DistillError
from distill.library.registry import RegisteredVersion
from distill.library.registry import register as put_into_registry
from distill.projects.workspaces import RunWorkspace
from distill.tracking import runs
from distill.tracking.address import artifact_location, tracking_address
from distill.tracking.content import run_name


def open_run(opened: RunWorkspace) -> None:
    """Make the run of a workspace known before it trains, or take up the one that was interrupted."""
    params = opened.workspace.params()
    tags = {"prefect.flow_run": str(flow_run.id or ""), "prefect.flow_run_name": str(flow_run.name or "")}
    runs.open_run(opened.workspace, started_by="prefect", name=run_name(params, Path(params.data.path).stem), tags=tags)


@task(name="Register the model", cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=5)
def record(opened: RunWorkspace, path: Path) -> RegisteredVersion | None:
    """Complete the record of the run and register its model; a record that is away only costs a warning."""
    logger = get_run_logger()
    try:
        run_id = runs.complete(opened.workspace, started_by="prefect")
        version = put_into_registry(path, opened.project, run_id=run_id)
    except DistillError as error:
        logger.warning("%s; later: distill tracking sync %s, distill model register %s", error, opened.root, path)
        return None
    logger.info("%s %s", version.reference, "registered" if version.created else "was registered before")
    return version


def show(opened: RunWorkspace, path: Path, version: RegisteredVersion | None) -> None:
    """Link the model, its run and its version in Prefect's page."""
    run_id, address = runs.run_of(opened.workspace), tracking_address(opened.project)
    lines = [f"- model: [{path}]({path.as_uri()})"]
    if version is not None:
        lines.append(f"- registered as **{version.reference}**")
    if run_id is not None and artifact_location(opened.project) is None:
        lines.append(f"- [MLflow run]({address}/#/runs/{run_id})")
    elif run_id is not None:
        lines.append(
            f"- MLflow run `{run_id}` in `{address}`: [its page](http://127.0.0.1:5000/#/runs/{run_id}), "
            "which `distill tracking open` serves"
        )
    create_markdown_artifact("\n".join(lines), key="model", description="The model, its run and its version")
