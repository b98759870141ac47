"""What is written into the run of a model: epochs and live changes while it trains, the rest once it is finished."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.dataset.store import PreparedDataset
from distill.live.controller import Mode
from distill.live.events import LayerActivity, PlateauSeen, RolledBack, Tuned
from distill.projects.project import project_of
from distill.stages.workspace import Workspace, read_report
from distill.tracking import content
from distill.tracking.address import client_of, experiment_of, tracking_errors
from distill.tracking.content import GROUPS, Metric
from distill.tracking.run_facts import bills_of, read_notes
from distill.tracking.runs import run_to_complete, set_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

THIS_RUN = "this run"
# MLflow's limits for one call.
_MOST_METRICS, _MOST_PARAMS = 1000, 100
_LONGEST_DIGEST = 36
# What epochs of different courses of a training differ in.
_COURSE = ("step", "validation_loss")


def complete(workspace: Workspace, *, started_by: str) -> str:
    """Fill in whatever the run of a finished workspace lacks, from the workspace's files, and close it; its id.

    A second call changes nothing. `started_by` counts only if no note says what started the training.

    Raises:
        TrackingError: it cannot be recorded.
        StorageError: the workspace is not finished.
    """
    at_end = content.tags_at_end(workspace)
    project = project_of(workspace.root)
    client = client_of(project)
    lineage = at_end["distill.lineage"]
    run_id = run_to_complete(client, workspace, lineage=lineage, started_by=started_by)
    with tracking_errors(project):
        if client.get_run(run_id).info.status == "FINISHED":
            # What is there stays: the workspace may be on its way to another model by now.
            _bring_back(client, run_id, [*content.files_of(workspace), *bills_of(workspace, lineage)])
            return run_id
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
        set_tags(client, run_id, {**at_end, **origins, **note})
        for path, folder in [*content.files_of(workspace), *bills_of(workspace, lineage)]:
            client.log_artifact(run_id, str(path), folder or None)
        if known.info.status != "FINISHED":
            client.set_terminated(run_id, "FINISHED")
    return run_id


def _bring_back(client: "MlflowClient", run_id: str, files: Sequence[tuple[Path, str]]) -> None:
    """Record the files that a finished run has lost."""
    folders = {folder for _, folder in files}
    there = {each.path for folder in folders for each in client.list_artifacts(run_id, folder or None)}
    for path, folder in files:
        if (f"{folder}/{path.name}" if folder else path.name) not in there:
            client.log_artifact(run_id, str(path), folder or None)


def fill_metrics(client: "MlflowClient", run_id: str, workspace: Workspace, stage: str, lineage: str) -> None:
    """Record the epochs of a stage's history that the run lacks or has from another course of the training.

    With them go the figures measured beside them.
    """
    rows = content.read_history(workspace, stage)
    if not rows:
        return
    known = recorded_epochs(client, run_id, stage)
    noted = read_notes(workspace, stage, lineage)
    epochs = noted.epochs if noted else {}
    batch: list[Metric] = []
    for row in rows:
        if not is_recorded(row, known):
            metrics = content.metrics_of_row(stage, {**row, **epochs.get(int(row["epoch"]), {})})
            # An epoch's figures go out in one call: either all of them are there or none.
            if len(batch) + len(metrics) > _MOST_METRICS:
                _log_metrics(client, run_id, batch)
                batch = []
            batch += metrics
    _log_metrics(client, run_id, batch)


def recorded_epochs(client: "MlflowClient", run_id: str, stage: str) -> dict[int, dict[str, float]]:
    """The epochs of a stage that the run has, each with the newest of the figures that tell its course from others."""
    found: dict[int, dict[str, float]] = {}
    for figure in _COURSE:
        history = client.get_metric_history(run_id, f"{GROUPS[stage]}/{figure}")
        for metric in sorted(history, key=lambda each: each.timestamp):
            found.setdefault(metric.step, {})[figure] = metric.value
    return found


def is_recorded(row: Mapping[str, Any], known: Mapping[int, Mapping[str, float]]) -> bool:
    """Whether an epoch's row is among `recorded_epochs`: after a return to an earlier step it has other figures."""
    figures = {name: float(row[name]) for name in _COURSE if row[name] is not None and row[name] == row[name]}
    return known.get(int(row["epoch"])) == figures


def log_epoch(client: "MlflowClient", run_id: str, stage: str, row: Mapping[str, Any]) -> None:
    """Record an epoch's row, with the figures measured beside it (times, memory)."""
    _log_metrics(client, run_id, content.metrics_of_row(stage, dict(row)))


def log_change(client: "MlflowClient", run_id: str, event: Tuned | RolledBack, lineage: str) -> None:
    """Record a live change or a return to an earlier step, with a line about it and the lineage that follows.

    The new values of a change are recorded at its step.
    """
    if isinstance(event, RolledBack):
        name = f"distill.rollback.{event.stage}.{event.step}"
        words = f"step {event.step}: back to step {event.to}, {event.abandoned} changes no longer count"
    else:
        new = {key: value for key, (_, value) in event.changes.items() if isinstance(value, (int, float))}
        _log_metrics(
            client, run_id, [Metric(_tune(event.stage, key), float(each), event.step) for key, each in new.items()]
        )
        name = f"distill.tune.{event.stage}.{event.seq}"
        changes = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in event.changes.items())
        words = f"step {event.step}: {changes} ({event.who})"
    set_tags(client, run_id, {name: words, "distill.lineage": lineage})


def log_plateau(client: "MlflowClient", run_id: str, event: PlateauSeen) -> None:
    """Record the counter of evaluations without improvement, and the controller's mode as its number (0: warm-up)."""
    figures = {"plateau_counter": event.info["counter"], "mode": list(Mode).index(Mode(event.info["mode"]))}
    _log_metrics(
        client, run_id, [Metric(_tune(event.stage, name), value, event.step) for name, value in figures.items()]
    )


def log_activity(client: "MlflowClient", run_id: str, event: LayerActivity) -> None:
    """Record the mean absolute activation of each block, at its step."""
    values = {name: value for name, value in event.blocks.items() if value is not None}
    _log_metrics(client, run_id, [Metric(f"activity/{name}", value, event.step) for name, value in values.items()])


def mark_origin(client: "MlflowClient", run_id: str, stage: str) -> None:
    """Note that a stage really ran in this run."""
    client.set_tag(run_id, f"distill.origin.{stage}", THIS_RUN)


def _tune(stage: str, name: str) -> str:
    """The metric of a figure that both trainings have; their steps would mix under one name."""
    return f"tune/{name}" if stage == "train_vqvae" else f"tune/{GROUPS[stage]}/{name}"


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
        elif read_notes(workspace, stage, at_end["distill.lineage"]):
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
