"""One MLflow run a model: which run a workspace records to, how it is opened, found again by each stage, and closed."""

import logging
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from distill.dataset.store import PreparedDataset
from distill.errors import DistillError, Interrupted, TrackingError
from distill.files import read_json, write_json
from distill.projects.project import project_of
from distill.stages.lineage import planned_lineage
from distill.stages.workspace import Workspace, read_report
from distill.tracking import content, run_facts
from distill.tracking.address import client_of, experiment_of, noted_address, tracking_errors, tracking_on
from distill.tracking.content import GROUPS
from distill.tracking.lookup import find_runs
from distill.tracking.run_facts import read_notes

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

SCHEMA = 1
STARTED_BY_TAG = "distill.started_by"
UNFINISHED = {"RUNNING", "SCHEDULED", "KILLED", "FAILED"}
# MLflow's limit for one call.
_MOST_TAGS = 100
_LONGEST_TAG = 5000
# SQLite alone takes longer ones.
_LONGEST_NAME = 250


@dataclass(frozen=True)
class State:
    """Which run a workspace records to; `lineage` is None until its training begins.

    `address` is the one of the record, without a password.
    """

    address: str
    run_id: str
    lineage: str | None
    started_by: str


def sync_command(workspace: Workspace) -> str:
    """The command that completes the record of a run, wherever it is typed."""
    return f"distill tracking sync {shlex.quote(str(workspace.root.resolve()))}"


@contextmanager
def keep_run_open(workspace: Workspace, *, started_by: str, tags: Mapping[str, str]) -> Iterator[None]:
    """A run for a configured workspace, opened before its trainings and closed if the block fails.

    The stages join it. A run that was interrupted is taken up, a finished one is left alone. If the record cannot be
    used, that only costs a warning.
    """
    if not tracking_on() or _is_finished(workspace):
        yield
        return
    try:
        open_run(client_of(project_of(workspace.root)), workspace, started_by=started_by, tags=tags)
    except TrackingError as error:
        logger.warning("%s; the training is recorded afterwards with %s", error, sync_command(workspace))
    try:
        yield
    except BaseException as error:
        # A stage closes the run itself; one stopped between two stages would count as running for ever.
        with suppress(DistillError):
            close_run(client_of(project_of(workspace.root)), workspace, status_after(error))
        raise


def open_run(
    client: "MlflowClient",
    workspace: Workspace,
    *,
    started_by: str,
    lineage: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> str:
    """Take up the unfinished run of a workspace, or make a new one; its id.

    Args:
        client: of the workspace's project.
        workspace: a configured workspace.
        started_by: what starts the run, unless it was noted before.
        lineage: of the model that is trained. A run for another one is closed: its model will not be made any more.
            None before a training begins: any unfinished run of the workspace is taken up.
        tags: more tags.

    Raises:
        TrackingError: it cannot be recorded.
    """
    project, state = project_of(workspace.root), _state_here(workspace)
    with tracking_errors(project):
        status = _status(client, state.run_id) if state else None
        if state and status in UNFINISHED and (lineage is None or state.lineage in (None, lineage)):
            run_id, opened = state.run_id, replace(state, lineage=lineage or state.lineage)
            client.update_run(run_id, status="RUNNING")
            set_tags(client, run_id, {**_first_tags(workspace, opened.started_by, lineage), **(tags or {})})
        else:
            if state and status == "RUNNING":
                client.set_terminated(state.run_id, "KILLED")
            run_id = _create(
                client, project, _name(workspace), {**_first_tags(workspace, started_by, lineage), **(tags or {})}
            )
            opened = State(noted_address(project), run_id, lineage, started_by)
    _write_state(workspace, opened)
    return run_id


def run_to_complete(client: "MlflowClient", workspace: Workspace, *, lineage: str, started_by: str) -> str:
    """The run that a finished workspace belongs to: its own, else one that recorded its model before, else a new one.

    Raises:
        TrackingError: it cannot be recorded.
    """
    project, state = project_of(workspace.root), _state_here(workspace)
    with tracking_errors(project):
        status = _status(client, state.run_id) if state else None
    if state and status and state.lineage == lineage:
        return state.run_id
    trained = [found for stage in GROUPS if (found := read_notes(workspace, stage, lineage))]
    if not (state and state.lineage is None and status in UNFINISHED):
        for run in find_runs(project, lineage):
            here = run.tags.get("distill.workspace") == content.folder_of(workspace)
            # A model trained in several places has several runs; one from the cache has none of its own.
            if run.status == "FINISHED" and (here or not trained):
                starter = run.tags.get(STARTED_BY_TAG, started_by)
                _write_state(workspace, State(noted_address(project), run.run_id, lineage, starter))
                return run.run_id
    return open_run(client, workspace, lineage=lineage, started_by=trained[0].started_by if trained else started_by)


def close_run(client: "MlflowClient", workspace: Workspace, status: str) -> None:
    """Close the workspace's run with a status, if it still counts as running.

    Raises:
        TrackingError: it cannot be recorded.
    """
    state = _state_here(workspace)
    with tracking_errors(project_of(workspace.root)):
        if state and _status(client, state.run_id) == "RUNNING":
            client.set_terminated(state.run_id, status)


def status_after(error: BaseException) -> str:
    """The status of a run that an error ended: FAILED, or KILLED if it was interrupted."""
    return "FAILED" if isinstance(error, Exception) and not isinstance(error, Interrupted) else "KILLED"


def tag_run(workspace: Workspace, tags: Mapping[str, str]) -> None:
    """Tag the run that the workspace recorded to last, if there is one in this record.

    Raises:
        TrackingError: it cannot be recorded.
    """
    project, state = project_of(workspace.root), _state_here(workspace)
    if tracking_on() and state is not None:
        with tracking_errors(project):
            set_tags(client_of(project), state.run_id, tags)


def relabel(workspace: Workspace, before: str, after: str) -> None:
    """Attribute the workspace's run to another lineage: that of the same training after a live change.

    Raises:
        StorageError: the note about the run cannot be written.
    """
    state = _read_state(workspace)
    if state and state.lineage == before:
        _write_state(workspace, replace(state, lineage=after))
    run_facts.relabel(workspace, before, after)


def run_of(workspace: Workspace) -> str | None:
    """The id of the run that the workspace recorded to last, wherever that was.

    Raises:
        ArtifactError: the note about it is damaged or of a newer schema.
    """
    state = _read_state(workspace)
    return state.run_id if state else None


def has_run(workspace: Workspace) -> bool:
    """Whether the workspace has recorded to a run, whatever became of it."""
    return _state_file(workspace).is_file()


def set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    """Tag a run, in as many calls as MLflow needs."""
    from mlflow.entities import RunTag

    recorded = [RunTag(name, value) for name, value in _short(tags).items()]
    for start in range(0, len(recorded), _MOST_TAGS):
        client.log_batch(run_id, tags=recorded[start : start + _MOST_TAGS])


def _is_finished(workspace: Workspace) -> bool:
    """Whether the workspace holds the model that it is configured for, and that has a run."""
    try:
        made = read_report(workspace, "assemble")["lineage"]
        return has_run(workspace) and made == planned_lineage(workspace, vqvae_trained=False).id
    except DistillError:
        return False


def _first_tags(workspace: Workspace, started_by: str, lineage: str | None) -> dict[str, str]:
    if lineage is None:
        return {STARTED_BY_TAG: started_by}
    return content.tags_at_start(workspace, started_by=started_by, lineage=lineage)


def _name(workspace: Workspace) -> str:
    return content.run_name(workspace.params(), PreparedDataset(workspace.prepared).name)


def _create(client: "MlflowClient", project: Path, name: str, tags: Mapping[str, str]) -> str:
    short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    run = client.create_run(experiment_of(client, project), run_name=short, tags=_short(tags))
    return str(run.info.run_id)


def _status(client: "MlflowClient", run_id: str) -> str | None:
    """The status of a run; None when it is not there any more."""
    from mlflow.exceptions import MlflowException

    try:
        info = client.get_run(run_id).info
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return str(info.status) if info.lifecycle_stage == "active" else None


def _short(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:_LONGEST_TAG] for name, value in tags.items()}


def _state_here(workspace: Workspace) -> State | None:
    """The note about the workspace's run, if that is in the record at the current address."""
    state = _read_state(workspace)
    return state if state and state.address == noted_address(project_of(workspace.root)) else None


def _read_state(workspace: Workspace) -> State | None:
    path = _state_file(workspace)
    if not path.is_file():
        return None
    values = read_json(path, what="note about a recorded run", schema=SCHEMA)
    return State(values["address"], values["run_id"], values["lineage"], values["started_by"])


def _state_file(workspace: Workspace) -> Path:
    return workspace.root / ".distill" / "tracking.json"


def _write_state(workspace: Workspace, state: State) -> None:
    write_json(_state_file(workspace), {"schema": SCHEMA, **asdict(state)})
