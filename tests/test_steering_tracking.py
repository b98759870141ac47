"""A training that is tuned while it runs is one recorded run, with its changes and the lineage they lead to."""

from pathlib import Path

import pandas as pd
import pytest

from database_util import put_database
from distill.errors import Interrupted
from distill.live.events import EpochDone, Event, Listeners, StageFinished
from distill.live.folder import RunFolder
from distill.live.stop_request import StopRequest
from distill.runs.folder import Order, write_order
from distill.runs.trainings import roll_back, snapshots
from distill.stages.pipeline import STAGES, run_stage
from distill.stages.workspace import Call, read_report
from distill.tracking.address import client_of
from distill.tracking.listener import track
from pipeline_util import make_workspace, run
from steering_util import at_steps, edit

pytestmark = pytest.mark.filterwarnings("ignore:::mlflow", "ignore:.*type hint.*:UserWarning")


def test_changes_are_events_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISTILL_TRACKING", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (put_database(tmp_path) / "runs" / "run").mkdir(parents=True)
    workspace = make_workspace(tmp_path / "runs" / "run")
    write_order(workspace.root, Order("sounds"))
    acts = [
        at_steps(
            "train_vqvae", {2: lambda: edit(RunFolder(workspace.root, "train_vqvae"), max_lr=5e-4, log_interval=1)}
        ),
        at_steps(
            "train_prior",
            {3: lambda: edit(RunFolder(workspace.root, "train_prior"), gradient_clip=0.5, log_interval=1)},
        ),
    ]
    for stage in STAGES:
        with track(workspace) as recorder:
            run_stage(stage, Call(workspace, Listeners([recorder, *acts]), StopRequest()))
    client = client_of(tmp_path)
    experiment = client.get_experiment_by_name("distill")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    tags = run.data.tags
    assert tags["distill.lineage"] == read_report(workspace, "assemble")["lineage"]
    assert "max_lr 0.001 -> 0.0005" in tags["distill.tune.train_vqvae.1"]
    assert tags["distill.tune.train_prior.1"].startswith("step 3: gradient_clip 1.0 -> 0.5, log_interval")
    assert [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, "tune/max_lr")] == [
        (2, 5e-4)
    ]
    assert len(client.get_metric_history(run.info.run_id, "activity/encoder.0")) > 3
    assert len(client.get_metric_history(run.info.run_id, "activity/prior.0")) > 0
    steps = [int(row.step) for row in pd.read_csv(workspace.history("train_vqvae")).itertuples()]
    for name in ("plateau_counter", "mode"):
        assert [each.step for each in client.get_metric_history(run.info.run_id, f"tune/{name}")] == steps
    assert tags["distill.origin.train_vqvae"] == tags["distill.origin.train_prior"] == "this run"
    assert run.info.status == "FINISHED"


def test_a_damaged_journal_of_another_training_does_not_end_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISTILL_TRACKING", raising=False)
    (put_database(tmp_path) / "runs" / "run").mkdir(parents=True)
    workspace = make_workspace(tmp_path / "runs" / "run")
    write_order(workspace.root, Order("sounds"))
    run(workspace, "prepare", "configure")
    journal = workspace.journal("train_prior")
    journal.parent.mkdir(exist_ok=True)
    journal.write_text("<<<<<<< HEAD\n")

    def mend(event: Event) -> None:
        if isinstance(event, StageFinished) and event.stage == "train_vqvae":
            journal.unlink()

    with track(workspace) as recorder:
        for stage in STAGES[2:]:
            run_stage(stage, Call(workspace, Listeners([recorder, mend]), StopRequest()))
    client = client_of(tmp_path)
    experiment = client.get_experiment_by_name("distill")
    assert experiment is not None
    (recorded,) = client.search_runs([experiment.experiment_id])
    assert recorded.data.tags["distill.lineage"] == read_report(workspace, "assemble")["lineage"]


def test_a_training_that_went_back_and_on_otherwise_is_recorded_as_it_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISTILL_TRACKING", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (put_database(tmp_path) / ".dvc").mkdir()
    (tmp_path / "runs" / "run").mkdir(parents=True)
    workspace = make_workspace(tmp_path / "runs" / "run", vqvae={"epochs": 3})
    write_order(workspace.root, Order("sounds"))
    folder, stop = RunFolder(workspace.root, "train_vqvae"), StopRequest()

    def stop_at_the_end(event: Event) -> None:
        if isinstance(event, EpochDone) and event.row["epoch"] == 2:
            stop.ask()

    run(workspace, "prepare", "configure")
    with pytest.raises(Interrupted), track(workspace) as recorder:
        run_stage("train_vqvae", Call(workspace, Listeners([recorder, stop_at_the_end]), stop))
    first = snapshots(folder)["checkpoints"][0]["step"]
    roll_back(folder, first, config_only=False, who="test", timeout=5)
    edit(folder, max_lr=2e-5, min_lr=1e-5)
    with track(workspace) as recorder:
        run_stage("train_vqvae", Call(workspace, Listeners([recorder]), StopRequest()))
    client = client_of(tmp_path)
    experiment = client.get_experiment_by_name("distill")
    assert experiment is not None
    (recorded,) = client.search_runs([experiment.experiment_id])
    metrics = client.get_metric_history(recorded.info.run_id, "vqvae/validation_loss")
    newest = {each.step: each.value for each in sorted(metrics, key=lambda each: each.timestamp)}
    history = pd.read_csv(workspace.history("train_vqvae"))
    assert newest == dict(zip(history["epoch"], history["validation_loss"], strict=True))
    # Only what has become otherwise is recorded twice.
    assert len(metrics) == len(newest) + 1
