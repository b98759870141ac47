"""One MLflow run a model: opened by whoever starts, found again by each stage, completed from the workspace's files."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.dataset.store import PreparedDataset
from distill.errors import TrackingError
from distill.files import read_json, write_json
from distill.live.controller import Mode
from distill.live.events import LayerActivity, PlateauSeen, RolledBack, Tuned
from distill.projects.project import project_of
from distill.stages.workspace import Workspace, read_report
from distill.tracking import content, run_facts, sbom
from distill.tracking.address import (
    client_of,
    experiment_of,
    noted_address,
    tracking_errors,
    tracking_on,
)
from distill.tracking.content import GROUPS, Metric
from distill.tracking.lookup import find_runs
from distill.tracking.run_facts import read_measured

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

SCHEMA = 1
THIS_RUN = "this run"
STARTED_BY = "distill.started_by"
UNFINISHED = {"RUNNING", "SCHEDULED", "KILLED", "FAILED"}
# MLflow takes so many of each in one call.
_MOST_METRICS, _MOST_PARAMS, _MOST_TAGS = 1000, 100, 100
_LONGEST_TAG = 5000
# SQLite alone takes longer ones.
_LONGEST_NAME = 250
_LONGEST_DIGEST = 36


@dataclass(frozen=True)
class State:
    """Which run a workspace records to; `lineage` is None until its training begins.

    `address` is the one of the record, without a password.
    """

    address: str
    run_id: str
    lineage: str | None
    started_by: str


def read_state(workspace: Workspace) -> State | None:
    """The workspace's note about its run.

    Raises:
        ArtifactError: the note is damaged or of a newer schema.
    """
    path = _state_file(workspace)
    if not path.is_file():
        return None
    values = read_json(path, what="note about a recorded run", schema=SCHEMA)
    return State(values["address"], values["run_id"], values["lineage"], values["started_by"])


def run_of(workspace: Workspace) -> str | None:
    """The id of the run that the workspace recorded to last."""
    state = read_state(workspace)
    return state.run_id if state else None


def open_run(workspace: Workspace, *, started_by: str, name: str, tags: Mapping[str, str] | None = None) -> str | None:
    """Make a run for a workspace before its stages, or take up the one that was interrupted there; its id.

    None, with a warning, where it cannot be recorded.
    """
    if not tracking_on():
        return None
    project = project_of(workspace.root)
    tags = {STARTED_BY: started_by, **(tags or {})}
    try:
        client, state = client_of(project), read_state(workspace)
        with tracking_errors(project):
            if state and state.address == _place(project) and _status(client, state.run_id) in UNFINISHED:
                client.update_run(state.run_id, status="RUNNING")
                _set_tags(client, state.run_id, tags)
                return state.run_id
        run_id = _create(client, project, name, tags)
    except TrackingError as error:
        logger.warning("%s; the training is recorded afterwards with distill tracking sync", error)
        return None
    _write_state(workspace, State(_place(project), run_id, None, started_by))
    return run_id


def join_run(client: "MlflowClient", workspace: Workspace, *, lineage: str, started_by: str) -> str:
    """The run of the workspace's model: the one that is open for this lineage, else a new one.

    Raises:
        TrackingError: it cannot be recorded.
    """
    project = project_of(workspace.root)
    address, state = _place(project), read_state(workspace)
    if state and state.address != address:
        state = None
    with tracking_errors(project):
        status = _status(client, state.run_id) if state else None
        if state and status in UNFINISHED and state.lineage in (None, lineage):
            run_id, started_by = state.run_id, state.started_by
            client.update_run(run_id, status="RUNNING")
            _set_tags(client, run_id, content.tags_at_start(workspace, started_by=started_by, lineage=lineage))
        else:
            if state and status == "RUNNING":
                # Its model will not be made any more: data or parameters changed.
                client.set_terminated(state.run_id, "KILLED")
            tags = content.tags_at_start(workspace, started_by=started_by, lineage=lineage)
            name = content.run_name(workspace.params(), PreparedDataset(workspace.prepared).name)
            run_id = _create(client, project, name, tags)
    _write_state(workspace, State(address, run_id, lineage, started_by))
    return run_id


def complete(workspace: Workspace, *, started_by: str) -> str:
    """Fill in whatever the run of a finished workspace lacks, from the workspace's files, and close it; its id.

    A second call changes nothing. `started_by` counts where nobody noted what started the training.

    Raises:
        TrackingError: it cannot be recorded.
        StorageError: the workspace is not finished.
    """
    at_end = content.tags_at_end(workspace)
    project = project_of(workspace.root)
    client = client_of(project)
    lineage = at_end["distill.lineage"]
    run_id = _run_to_complete(client, project, workspace, lineage, started_by)
    with tracking_errors(project):
        for stage in GROUPS:
            fill_metrics(client, run_id, workspace, stage, lineage)
        summary = content.summary_of(workspace)
        known = client.get_run(run_id)
        missing = {name: value for name, value in summary.items() if known.data.metrics.get(name) != value}
        _log_metrics(client, run_id, [Metric(name, value, 0) for name, value in missing.items()])
        _log_params(client, run_id, content.parameters_of(workspace), known.data.params)
        _log_dataset(client, run_id, workspace, known)
        origins = _origins(client, project, run_id, workspace, at_end, known.data.tags)
        card = workspace.model(workspace.params().model.name).with_suffix(".md")
        note = {"mlflow.note.content": card.read_text(encoding="utf-8")} if card.is_file() else {}
        _set_tags(client, run_id, {**at_end, **origins, **note})
        for path, folder in [*content.files_of(workspace), *sbom.files_of(workspace, lineage)]:
            client.log_artifact(run_id, str(path), folder or None)
        if known.info.status != "FINISHED":
            client.set_terminated(run_id, "FINISHED")
    return run_id


def fill_metrics(client: "MlflowClient", run_id: str, workspace: Workspace, stage: str, lineage: str) -> None:
    """Record the epochs of a stage's history that the run has not yet, with what was measured of them; none twice."""
    rows = content.read_history(workspace, stage)
    if not rows:
        return
    known = recorded_epochs(client, run_id, stage)
    noted = read_measured(workspace, stage, lineage)
    epochs = noted.epochs if noted else {}
    batch: list[Metric] = []
    for row in rows:
        if (epoch := int(row["epoch"])) not in known:
            metrics = content.metrics_of_row(stage, {**row, **epochs.get(epoch, {})})
            # An epoch's figures go out in one call: either all of them are there or none.
            if len(batch) + len(metrics) > _MOST_METRICS:
                _log_metrics(client, run_id, batch)
                batch = []
            batch += metrics
    _log_metrics(client, run_id, batch)


def recorded_epochs(client: "MlflowClient", run_id: str, stage: str) -> set[int]:
    """The epochs of a stage that the run has."""
    # Every row has this figure, and what belongs to an epoch is recorded in one call.
    return {metric.step for metric in client.get_metric_history(run_id, f"{GROUPS[stage]}/step")}


def log_epoch(client: "MlflowClient", run_id: str, stage: str, row: Mapping[str, Any]) -> None:
    """Record an epoch's row, with what was measured beside it (times, memory)."""
    _log_metrics(client, run_id, content.metrics_of_row(stage, dict(row)))


def relabel(workspace: Workspace, before: str, after: str) -> None:
    """Let the workspace's run be that of another lineage: of the same training after a live change.

    Raises:
        StorageError: the note about the run cannot be written.
    """
    state = read_state(workspace)
    if state and state.lineage == before:
        _write_state(workspace, replace(state, lineage=after))
    run_facts.relabel(workspace, before, after)


def log_change(client: "MlflowClient", run_id: str, stage: str, event: Tuned, lineage: str) -> None:
    """Record a live change: the new values at its step, a line about it, and the lineage that follows."""
    numbers = {name: new for name, (_, new) in event.changes.items() if isinstance(new, (int, float))}
    _log_metrics(client, run_id, [Metric(_tune(stage, name), float(new), event.step) for name, new in numbers.items()])
    words = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in event.changes.items())
    said = {f"distill.tune.{stage}.{event.seq}": f"step {event.step}: {words} ({event.who})"}
    _set_tags(client, run_id, {**said, "distill.lineage": lineage})


def log_rollback(client: "MlflowClient", run_id: str, stage: str, event: RolledBack, lineage: str) -> None:
    """Record that a training went back, and the lineage that follows."""
    words = f"step {event.step}: back to step {event.to}, {event.abandoned} changes no longer count"
    _set_tags(client, run_id, {f"distill.rollback.{stage}.{event.step}": words, "distill.lineage": lineage})


def log_plateau(client: "MlflowClient", run_id: str, event: PlateauSeen) -> None:
    """Record the counter of evaluations without improvement, and the controller's mode as its number (0: warm-up)."""
    figures = {"plateau_counter": event.info["counter"], "mode": list(Mode).index(Mode(event.info["mode"]))}
    _log_metrics(
        client, run_id, [Metric(_tune(event.stage, name), value, event.step) for name, value in figures.items()]
    )


def _tune(stage: str, name: str) -> str:
    """The metric of a figure that both trainings have; their steps would mix under one name."""
    return f"tune/{name}" if stage == "train_vqvae" else f"tune/{GROUPS[stage]}/{name}"


def log_activity(client: "MlflowClient", run_id: str, event: LayerActivity) -> None:
    """Record the mean absolute activation of each block, at its step."""
    values = {name: value for name, value in event.blocks.items() if value is not None}
    _log_metrics(client, run_id, [Metric(f"activity/{name}", value, event.step) for name, value in values.items()])


def mark_origin(client: "MlflowClient", run_id: str, stage: str) -> None:
    """Note that a stage really ran in this run."""
    client.set_tag(run_id, f"distill.origin.{stage}", THIS_RUN)


def end_run(client: "MlflowClient", workspace: Workspace, status: str) -> None:
    """Close the workspace's run, if it still counts as running: as KILLED or FAILED."""
    project, state = project_of(workspace.root), read_state(workspace)
    if state is None or state.address != _place(project):
        return
    with tracking_errors(project):
        if _status(client, state.run_id) == "RUNNING":
            client.set_terminated(state.run_id, status)


def tag_run(workspace: Workspace, tags: Mapping[str, str]) -> None:
    """Tag the run that the workspace recorded to last, if there is one in this record.

    Raises:
        TrackingError: it cannot be recorded.
    """
    project, state = project_of(workspace.root), read_state(workspace)
    if tracking_on() and state is not None and state.address == _place(project):
        with tracking_errors(project):
            _set_tags(client_of(project), state.run_id, tags)


def has_run(workspace: Workspace) -> bool:
    """Whether the workspace has recorded to a run, whatever became of it."""
    return _state_file(workspace).is_file()


def _run_to_complete(client: "MlflowClient", project: Path, workspace: Workspace, lineage: str, started_by: str) -> str:
    """The workspace's own run; else one that its model was recorded in before; else a new one."""
    state = read_state(workspace)
    mine = state if state and state.address == _place(project) else None
    with tracking_errors(project):
        status = _status(client, mine.run_id) if mine else None
    if mine and status and mine.lineage == lineage:
        return mine.run_id
    trained = [found for stage in GROUPS if (found := read_measured(workspace, stage, lineage))]
    opened = mine is not None and mine.lineage is None and status in UNFINISHED
    for run in () if opened else find_runs(project, lineage):
        here = run.tags.get("distill.workspace") == content.folder_of(workspace)
        # What was trained in several places is several runs; what was trained nowhere else is none.
        if run.status == "FINISHED" and (here or not trained):
            _write_state(workspace, State(_place(project), run.run_id, lineage, run.tags.get(STARTED_BY, started_by)))
            return run.run_id
    return join_run(client, workspace, lineage=lineage, started_by=trained[0].started_by if trained else started_by)


def _origins(
    client: "MlflowClient",
    project: Path,
    run_id: str,
    workspace: Workspace,
    at_end: Mapping[str, str],
    tags: Mapping[str, str],
) -> dict[str, str]:
    """Where each stage came from: this run, another run with the same report, DVC's cache, or a given model."""
    found = {}
    for stage in GROUPS:
        name, digest = f"distill.origin.{stage}", at_end.get(f"distill.report.{stage}")
        if name in tags:
            continue
        if digest is None:
            found[name] = "the given model"
        elif not content.trains(stage, read_report(workspace, stage)):
            continue
        elif read_measured(workspace, stage, at_end["distill.lineage"]):
            found[name] = THIS_RUN
        else:
            runs = client.search_runs(
                [experiment_of(client, project)],
                filter_string=f"tags.`distill.report.{stage}` = '{digest}' and tags.`{name}` = '{THIS_RUN}'",
                order_by=["attributes.start_time ASC"],
                max_results=2,
            )
            others = [run.info.run_id for run in runs if run.info.run_id != run_id]
            found[name] = f"cache of run {others[0]}" if others else "cache"
    return found


def _create(client: "MlflowClient", project: Path, name: str, tags: Mapping[str, str]) -> str:
    with tracking_errors(project):
        experiment = experiment_of(client, project)
        short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
        run = client.create_run(experiment, run_name=short, tags=_short(tags))
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


def _log_metrics(client: "MlflowClient", run_id: str, metrics: Sequence[Metric]) -> None:
    from mlflow.entities import Metric as Recorded

    if metrics:
        now = int(time.time() * 1000)
        client.log_batch(run_id, metrics=[Recorded(each.name, each.value, now, each.epoch) for each in metrics])


def _log_params(client: "MlflowClient", run_id: str, params: Mapping[str, str], known: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    missing = [Param(name, value) for name, value in params.items() if name not in known]
    for start in range(0, len(missing), _MOST_PARAMS):
        client.log_batch(run_id, params=missing[start : start + _MOST_PARAMS])


def _log_dataset(client: "MlflowClient", run_id: str, workspace: Workspace, known: Any) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    if known.inputs and known.inputs.dataset_inputs:
        return
    prepared = PreparedDataset(workspace.prepared)
    source = {"path": workspace.params().data.path, "digest": prepared.digest}
    dataset = Dataset(
        name=prepared.name,
        digest=prepared.digest[:_LONGEST_DIGEST],
        source_type="distill",
        source=json.dumps(source),
        profile=json.dumps({key: prepared.summary[key] for key in sorted(prepared.summary) if key != "schema"})[:16000],
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    recorded = [RunTag(name, value) for name, value in _short(tags).items()]
    for start in range(0, len(recorded), _MOST_TAGS):
        client.log_batch(run_id, tags=recorded[start : start + _MOST_TAGS])


def _short(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:_LONGEST_TAG] for name, value in tags.items()}


def _state_file(workspace: Workspace) -> Path:
    return workspace.root / ".distill" / "tracking.json"


def _write_state(workspace: Workspace, state: State) -> None:
    write_json(_state_file(workspace), {"schema": SCHEMA, **asdict(state)})


def _place(project: Path) -> str:
    return noted_address(project)
