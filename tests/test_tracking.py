"""The record of runs: one run a model, complete however the training went, and never in its way."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from database_util import put_database
from distill import __version__
from distill.errors import DataError
from distill.live.events import Listeners
from distill.live.stop_request import StopRequest
from distill.params import parse_params
from distill.processes.run_lock import hold
from distill.runs.folder import Order, write_order
from distill.stages.pipeline import STAGES, run_stage
from distill.stages.workspace import Call, Workspace, read_report
from distill.tracking import content, record, runs
from distill.tracking.address import client_of
from distill.tracking.listener import track
from distill.tracking.lookup import find_runs
from distill.versions.git import code_state
from page_util import free_port, wait
from pipeline_util import bytes_of, make_workspace
from pipeline_util import run as pipeline_run
from project_util import call, make_project

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from command_util import Command

# MLflow warns of what it uses of other packages.
pytestmark = pytest.mark.filterwarnings("ignore:::mlflow", "ignore:.*type hint.*:UserWarning")


def run_stages(workspace: Workspace, *stages: str, **environment: str) -> None:
    """Run stages in this process, each recorded as `distill stage` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DISTILL_TRACKING", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        for stage in stages:
            with track(workspace) as recorder:
                run_stage(stage, Call(workspace, Listeners([recorder]), StopRequest()))


@pytest.fixture
def _recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process trains is recorded, in its project."""
    for name in ("DISTILL_TRACKING", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def recorded(client: "MlflowClient") -> "list[Run]":
    experiment = client.get_experiment_by_name("distill")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def curve(client: "MlflowClient", run: "Run", name: str) -> dict[int, float]:
    points = client.get_metric_history(run.info.run_id, name)
    assert len({point.step for point in points}) == len(points), f"{name} has an epoch twice"
    return {point.step: point.value for point in points}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project in which every stage ran once, each in a process of its own."""
    root = put_database(tmp_path_factory.mktemp("tracking"))
    workspace = make_workspace(root, vqvae={"num_quantizers": 2, "preview_count": 1})
    (root / ".dvc").mkdir()
    run_stages(workspace, *STAGES, DVC_ROOT=str(root))
    return workspace


def test_the_name_of_a_run_begins_with_what_shapes_its_codes_and_is_never_ambiguous() -> None:
    values = {"vqvae": {"epochs": 8, "num_quantizers": 4, "decay": 0.9}, "prior": {"epochs": 3}, "run": {"seed": 2}}
    name = content.run_name(parse_params(values, where="here"), "kit")
    assert name == "num_quantizers=4 vqvae.epochs=8 decay=0.9 prior.epochs=3 seed=2 on kit"
    assert content.run_name(parse_params({"run": {"processes": 2}}, where="here"), "kit") == "processes=2 on kit"


def test_a_run_holds_everything_of_its_model(project: Workspace) -> None:
    client = client_of(project.root)
    (run,) = recorded(client)
    assert run.info.status == "FINISHED"
    assert "num_quantizers=2" in run.info.run_name
    params, tags = run.data.params, run.data.tags
    assert tags["distill.origin.train_vqvae"] == tags["distill.origin.train_prior"] == "this run"
    assert "distill.origin.train_vocoder" not in tags
    assert params["vqvae.num_quantizers"] == "2"
    assert params["prior.hidden"] == "16"
    assert params["run.threads"] == "1"
    assert "auto" not in params.values()
    for stage in ("train_vqvae", "train_prior"):
        group = content.GROUPS[stage]
        with project.history(stage).open(newline="") as file:
            rows = list(csv.DictReader(file))
        for column in rows[0].keys() - {"epoch", "warnings"}:
            level = re.fullmatch(r"level_(\d)_(utilization|perplexity|dead_codes)", column)
            name = f"codebook/level_{level[1]}/{level[2]}" if level else f"{group}/{column}"
            expected = {int(row["epoch"]): float(row[column]) for row in rows if row[column]}
            assert curve(client, run, name) == pytest.approx(expected), name
        assert set(curve(client, run, f"{group}/epoch_seconds")) == set(curve(client, run, f"{group}/train_loss"))
        assert min(curve(client, run, f"{group}/memory_mb").values()) > 50
        assert tags[f"distill.origin.{stage}"] == "this run"
    for level in range(2):
        for figure in ("utilization", "perplexity", "dead_codes"):
            assert len(curve(client, run, f"codebook/level_{level}/{figure}")) == 3
    register = read_report(project, "assemble")
    assert tags["distill.started_by"] == "dvc"
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("dvc repro", "LOCAL")
    assert tags["mlflow.user"]
    assert tags["mlflow.runName"]
    assert tags["distill.version"] == __version__
    assert tags.get("mlflow.source.git.commit", "") == tags["distill.commit"] == (code_state().commit or "")
    assert tags["distill.project_commit"] == ""
    assert tags["distill.digest"] == register["digest"]
    assert tags["distill.lineage"] == register["lineage"]
    assert tags["distill.verdict"] == register["verdict"]
    warnings = read_report(project, "train_vqvae")["warnings"]
    assert [tags[f"distill.warning.train_vqvae.{n + 1}"] for n in range(len(warnings))] == warnings
    assert run.inputs.dataset_inputs[0].dataset.name == "sounds"
    files = {
        item.path
        for folder in ("", "plots/train_vqvae", "reports", "previews", "environment")
        for item in client.list_artifacts(run.info.run_id, folder or None)
    }
    assert {"params.yaml", "plots/train_vqvae/loss.png", "plots/train_vqvae/codebook_usage.png"} <= files
    assert {f"reports/{stage}.json" for stage in STAGES} <= files
    assert {"environment/train_vqvae.cdx.json", "environment/train_prior.cdx.json"} <= files
    assert any(name.endswith(".flac") for name in files)
    assert [found.run_id for found in find_runs(project.root, register["lineage"])] == [run.info.run_id]


@pytest.mark.usefixtures("_recording")
def test_completing_twice_changes_nothing(
    project: Workspace, distill: "Command", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    client = client_of(project.root)
    before = recorded(client)[0].to_dictionary()
    run_id, known = before["info"]["run_id"], project.params_file.read_text()
    made_with = Path(client.download_artifacts(run_id, "params.yaml")).read_text()
    # The folder may be on its way to another model by now.
    project.params_file.write_text(known.replace("seed: 0", "seed: 7"))
    try:
        (said,) = json.loads(distill("tracking", "sync", "--json").out)["runs"]
    finally:
        project.params_file.write_text(known)
    assert said["run_id"] == run_id
    assert recorded(client)[0].to_dictionary() == before
    assert Path(client.download_artifacts(run_id, "params.yaml")).read_text() == made_with
    with hold(project.root):
        refused = distill("tracking", "sync", code=1)
    assert "is being trained" in refused.err


def test_a_project_somewhere_else_completes_the_run_that_it_brought_along(project: Workspace, tmp_path: Path) -> None:
    (first,) = recorded(client_of(project.root))
    moved = tmp_path / "moved"
    shutil.copytree(project.root, moved)
    untouched = bytes_of(project.root)
    (lost,) = (moved / "mlartifacts").rglob("reports/assemble.json")
    lost.unlink()
    # In a process of its own, as MLflow remembers the place of a run as long as one lives.
    done = call(moved, sys.executable, "-m", "distill", "tracking", "sync", "--json")
    (said,) = json.loads(done.stdout)["runs"]
    assert said["run_id"] == first.info.run_id
    assert [run.info.run_id for run in recorded(client_of(moved))] == [first.info.run_id]
    assert lost.is_file()
    assert bytes_of(project.root) == untouched


def test_a_stage_from_the_cache_is_filled_in_and_says_where_it_came_from(project: Workspace) -> None:
    client = client_of(project.root)
    first = recorded(client)[0]
    params = project.params_file.read_text()
    project.params_file.write_text(params.replace("hidden: 16", "hidden: 32"))
    try:
        run_stages(project, "configure", "train_prior", "check_memorization", "assemble")
    finally:
        project.params_file.write_text(params)
    second = next(run for run in recorded(client) if run.info.run_id != first.info.run_id)
    assert second.data.tags["distill.origin.train_vqvae"] == f"cache of run {first.info.run_id}"
    assert second.data.tags["distill.origin.train_prior"] == "this run"
    assert second.data.tags["distill.started_by"] == "cli"
    for name in ("vqvae/validation_loss", "codebook/level_0/utilization"):
        assert curve(client, second, name) == curve(client, first, name)
    assert "vqvae/epoch_seconds" not in second.data.metrics
    assert "prior/epoch_seconds" in second.data.metrics
    # The first model again, all of it from the cache: it has its run already.
    run_stages(project, "configure", DISTILL_TRACKING="off")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DISTILL_TRACKING", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        pipeline_run(project, "train_prior", "check_memorization", "assemble")
        assert record.complete(project, started_by="cli") == first.info.run_id
    assert len(recorded(client)) == 2


def test_the_same_training_again_makes_no_second_run(project: Workspace) -> None:
    client = client_of(project.root)
    before = len(recorded(client))
    run_stages(project, *STAGES[2:])
    assert len(recorded(client)) == before


@pytest.mark.usefixtures("_recording")
def test_a_stage_that_fails_ends_the_run_that_was_opened_for_it(tmp_path: Path) -> None:
    (put_database(tmp_path) / ".dvc").mkdir()
    workspace = make_workspace(tmp_path)
    run_stages(workspace, "prepare", "configure")
    runs.open_run(client_of(tmp_path), workspace, started_by="prefect")
    workspace.config("train_vqvae").unlink()
    with pytest.raises(DataError):
        run_stages(workspace, "train_vqvae")
    (run,) = recorded(client_of(tmp_path))
    assert run.info.status == "FAILED"


def test_a_run_that_will_not_be_finished_any_more_is_closed(tmp_path: Path) -> None:
    (put_database(tmp_path) / ".dvc").mkdir()
    workspace = make_workspace(tmp_path, vqvae={"epochs": 1}, prior={"epochs": 1})
    run_stages(workspace, "prepare", "configure", "train_vqvae")
    params = workspace.params_file.read_text()
    workspace.params_file.write_text(params.replace("codebook_size: 8", "codebook_size: 16"))
    run_stages(workspace, "configure", "train_vqvae")
    later, earlier = recorded(client_of(tmp_path))
    assert (earlier.info.status, later.info.status) == ("KILLED", "RUNNING")


@pytest.mark.usefixtures("_recording")
def test_a_prior_for_a_given_model_is_recorded_with_that_models_parameters(
    project: Workspace, tmp_path: Path, distill: "Command", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("schema: 1\n")
    (put_database(tmp_path) / ".dvc").mkdir()
    prior = project.params().prior.model_dump(mode="json")
    settings = [f"prior.{key}={value}" for key, value in prior.items() if value != "auto"]
    settings += ["data.chunk_seconds=0.35", "run.threads=1", "run.precision=fp32", "memorization.sounds=2"]
    flags = [item for setting in [*settings, "memorization.seconds=0.5"] for item in ("--set", setting)]
    model = project.model("tiny")
    distill("train-prior", str(model), str(project.root / "sounds"), "-o", "new.distill", "-q", *flags)
    (run,) = recorded(client_of(tmp_path))
    assert run.info.status == "FINISHED"
    assert run.data.params["vqvae.codebook_size"] == "8"
    assert run.data.tags["distill.origin.train_vqvae"] == "the given model"
    assert "prior/validation_perplexity" in run.data.metrics


@pytest.mark.slow
def test_a_killed_training_goes_on_in_its_run_with_no_epoch_twice(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, vqvae={"epochs": 20})
    (put_database(tmp_path) / ".dvc").mkdir()
    run_stages(workspace, "prepare", "configure")
    state = tmp_path / ".distill" / "state" / "train_vqvae"
    child = subprocess.Popen(
        [sys.executable, "-m", "distill", "stage", "train_vqvae", "-q"],
        cwd=tmp_path,
        env={**os.environ, "DISTILL_TRACKING": "on"},
    )
    try:
        wait(lambda: list(state.glob("*/*")) and (tmp_path / ".distill" / "tracking.json").exists())
        time.sleep(0.5)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    run_stages(workspace, *STAGES[2:])
    client = client_of(tmp_path)
    (run,) = recorded(client)
    assert run.info.status == "FINISHED"
    assert set(curve(client, run, "vqvae/validation_loss")) == set(range(1, 21))


@pytest.mark.usefixtures("_recording")
def test_distill_train_records_the_same_as_the_stages(
    project: Workspace, tmp_path: Path, distill: "Command", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("schema: 1\n")
    (put_database(tmp_path) / ".dvc").mkdir()
    settings = []
    for section, values in (("vqvae", project.params().vqvae), ("prior", project.params().prior)):
        settings += [
            f"{section}.{key}={value}" for key, value in values.model_dump(mode="json").items() if value != "auto"
        ]
    settings += ["data.chunk_seconds=0.35", "data.speed_semitones=[2.0]", "run.threads=1", "run.precision=fp32"]
    settings += ["run.device=cpu", "memorization.sounds=2", "memorization.seconds=0.5"]
    flags = [item for setting in settings for item in ("--set", setting)]
    distill("train", str(project.root / "sounds"), "-q", "--model-name", "tiny", *flags)
    client, other = client_of(tmp_path), client_of(project.root)
    (run,) = recorded(client)
    first = min(recorded(other), key=lambda each: each.info.start_time)
    assert run.data.tags["distill.started_by"] == "cli"
    assert run.data.tags["distill.digest"] == first.data.tags["distill.digest"]
    timed = ("epoch_seconds", "steps_per_second", "memory_mb")
    assert set(run.data.metrics) == set(first.data.metrics)
    for name in first.data.metrics:
        if not name.endswith(timed):
            assert curve(client, run, name) == curve(other, first, name)
    assert {k: v for k, v in run.data.params.items() if k != "data.path"} == {
        k: v for k, v in first.data.params.items() if k != "data.path"
    }


@pytest.mark.slow
def test_a_flow_records_the_same_as_dvc_repro(tmp_path: Path) -> None:
    by_dvc, by_flow = (make_project(tmp_path / name) for name in ("by_dvc", "by_flow"))
    call(by_dvc, sys.executable, "-m", "dvc", "repro")
    train = "from flows.train import train; train()"
    call(by_flow, sys.executable, "-c", train, PREFECT_HOME=str(tmp_path / "prefect"))
    client, other = client_of(by_dvc), client_of(by_flow)
    (run,), (same,) = recorded(client), recorded(other)
    assert (run.data.tags["distill.started_by"], same.data.tags["distill.started_by"]) == ("dvc", "prefect")
    assert run.data.params == same.data.params
    for name in ("distill.digest", "distill.lineage", "distill.health", "distill.verdict"):
        assert run.data.tags[name] == same.data.tags[name]
    # The flow registers its model too, whose figures then stand with the run.
    assert set(run.data.metrics) == {name for name in same.data.metrics if not name.startswith("model/")}
    for name in run.data.metrics:
        if not name.endswith(("epoch_seconds", "steps_per_second", "memory_mb")):
            assert curve(client, run, name) == curve(other, same, name)
    assert "Data and pipelines are up to date" in call(by_flow, sys.executable, "-m", "dvc", "status").stdout


@pytest.mark.usefixtures("_recording")
def test_a_server_that_is_away_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, distill: "Command", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = make_workspace(tmp_path, vqvae={"epochs": 2}, prior={"epochs": 2})
    (put_database(tmp_path) / ".dvc").mkdir()
    away = f"http://127.0.0.1:{free_port()}"
    with caplog.at_level("WARNING", logger="distill"):
        run_stages(workspace, *STAGES, MLFLOW_TRACKING_URI=away, DVC_ROOT=str(tmp_path))
    assert "nothing answers there" in caplog.text
    assert workspace.model("tiny").is_file()
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", away)
        assert "nothing answers there" in distill("tracking", "sync", code=1).err
    distill("tracking", "sync")
    client = client_of(tmp_path)
    (run,) = recorded(client)
    assert run.info.status == "FINISHED"
    for group in ("vqvae", "prior"):
        assert set(curve(client, run, f"{group}/validation_loss")) == {1, 2}
        # What no file of the stages tells is not lost either.
        assert set(curve(client, run, f"{group}/epoch_seconds")) == {1, 2}
        assert run.data.tags[f"distill.origin.train_{group}"] == "this run"
    assert run.data.tags["distill.started_by"] == "dvc"


def test_nothing_is_recorded_when_it_is_off(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, vqvae={"epochs": 1}, prior={"epochs": 1})
    run_stages(workspace, "prepare", "configure", "train_vqvae", DISTILL_TRACKING="off")
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / ".distill" / "tracking.json").exists()


@pytest.mark.usefixtures("_recording")
def test_a_workspace_without_a_finished_run_is_one_line(
    tmp_path: Path, distill: "Command", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(distill("tracking", "sync", code=1).complaints) == 1


@pytest.mark.usefixtures("_recording")
def test_a_run_opened_before_the_stages_is_adopted(tmp_path: Path) -> None:
    root = tmp_path / "project" / "runs" / "work"
    root.mkdir(parents=True)
    workspace = make_workspace(root, vqvae={"epochs": 1}, prior={"epochs": 1})
    write_order(workspace.root, Order("sounds"))
    run_stages(workspace, "prepare", "configure")
    client = client_of(put_database(tmp_path / "project"))
    opened = runs.open_run(client, workspace, started_by="prefect", tags={"flow": "x"})
    run_stages(workspace, *STAGES[2:])
    (run,) = recorded(client)
    assert run.info.run_id == opened == runs.run_of(workspace)
    assert run.data.tags["distill.started_by"] == "prefect"
    assert run.data.tags["flow"] == "x"
    assert run.info.status == "FINISHED"
