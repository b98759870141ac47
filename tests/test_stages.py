"""The stages from sounds to a model: what they write, that it follows from the inputs alone, and what they refuse."""

import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from command_util import Command
from distill.artifact.model_file import read_manifest, read_model
from distill.errors import ArtifactError, DataError, DistillError, Interrupted, UsageError
from distill.generation.generator import generate
from distill.live.events import Event, Progress, StageFinished
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import STAGES
from distill.stages.versions import CODE_VERSIONS
from distill.stages.workspace import Workspace, read_report
from distill.training.vqvae import VQVAETask
from pipeline_util import bytes_of, make_workspace, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("stages"), vqvae={"preview_count": 1})
    run(workspace, *STAGES)
    return workspace


def test_the_model_holds_both_networks_and_what_they_follow_from(finished: Workspace) -> None:
    model = read_model(finished.model("tiny"))
    manifest = model.manifest
    assert (manifest.format, manifest.version, manifest.model_type) == ("distill_model", 2, "vqvae")
    assert manifest.metadata.name == "tiny"
    assert manifest.metadata.dataset == "sounds"
    assert manifest.metadata.file_count == 8
    assert manifest.metadata.train_files + manifest.metadata.validation_files == 8
    assert list(manifest.codebook_health_snapshot) == ["level_0", "level_1", "level_2"]
    assert len(manifest.loss_curve_history.val_losses) == 3
    assert manifest.prior_metadata is not None
    assert manifest.memorization is not None
    assert manifest.lineage.code_versions.keys() == {*STAGES, "register"} - {"train_vocoder", "assemble"}
    summary = json.loads((finished.prepared / "summary.json").read_text())
    assert manifest.lineage.data_digest == summary["digest"]
    report = json.loads(finished.report("assemble").read_text())
    assert report["digest"] == model.digest
    assert finished.model("tiny").with_suffix(".md").read_text().startswith("# tiny\n")


def test_the_model_makes_sounds(finished: Workspace) -> None:
    one, two = generate(finished.model("tiny"), count=2, seconds=0.7, seed=3)
    assert len(one.samples) == len(two.samples) == round(0.7 * one.sample_rate)
    assert np.isfinite(one.samples).all()
    assert not np.array_equal(one.samples, two.samples)


def test_nothing_of_the_machine_or_the_moment_is_in_an_output(finished: Workspace) -> None:
    names = [name for name in bytes_of(finished.root) if name.endswith((".json", ".csv", ".md", ".distill"))]
    assert len(names) > 10
    for name in names:
        path = finished.root / name
        manifest = json.dumps(read_manifest(path).document()) if name.endswith(".distill") else ""
        text = manifest or path.read_text()
        assert str(finished.root) not in text, name
        assert f'"{socket.gethostname()}"' not in text, name
        assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", text), name


def test_another_name_is_another_file_with_the_same_weights_and_lineage(finished: Workspace, tmp_path: Path) -> None:
    shutil.copytree(finished.root, tmp_path / "named")
    workspace = make_workspace(tmp_path / "named", model={"name": "other", "description": "x"})
    run(workspace, "assemble")
    one, two = read_manifest(finished.model("tiny")), read_manifest(workspace.model("other"))
    assert one.tensor_digest == two.tensor_digest
    assert one.lineage.id == two.lineage.id
    assert two.metadata.description == "x"


def test_stages_report_what_they_do(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    events: list[Event] = []
    run(workspace, "prepare", "configure", events=events)
    assert [event.stage for event in events if isinstance(event, StageFinished)] == ["prepare", "configure"]
    done = [event.done for event in events if isinstance(event, Progress) and event.unit == "sounds"]
    assert done == list(range(1, 9))


def test_a_changed_prior_parameter_leaves_the_configuration_of_the_vqvae_alone(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    run(workspace, "prepare", "configure")
    vqvae, prior = (workspace.config(stage).read_bytes() for stage in ("train_vqvae", "train_prior"))
    make_workspace(tmp_path, prior={"epochs": 7})
    run(workspace, "configure")
    assert workspace.config("train_vqvae").read_bytes() == vqvae
    assert workspace.config("train_prior").read_bytes() != prior


def test_presets(tmp_path: Path) -> None:
    automatic = dict.fromkeys(("epochs", "dropout", "batch_size", "augmentation_expansion", "learning_rate"), "auto")
    workspace = make_workspace(tmp_path, vqvae=automatic, run={"preset": "reference"})
    run(workspace, "prepare")
    report = run(workspace, "configure")
    assert (report["preset"], report["vqvae"]["dropout"], report["vqvae"]["epochs"]) == ("reference", 0.4, 100)
    make_workspace(tmp_path, vqvae=automatic, run={"preset": "tuned"})
    report = run(workspace, "configure")
    assert (report["preset"], report["vqvae"]["dropout"]) == ("tuned", 0.0)


def test_a_stage_before_its_inputs_says_what_to_run(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    with pytest.raises(DataError, match="prepare first"):
        run(workspace, "configure")
    with pytest.raises(DataError, match="configure first"):
        run(workspace, "train_vqvae")
    with pytest.raises(UsageError, match="there is no stage"):
        run(workspace, "trian_vqvae")


def test_a_prior_of_another_vqvae_is_refused(finished: Workspace, tmp_path: Path) -> None:
    shutil.copytree(finished.root, tmp_path / "mixed")
    workspace = make_workspace(tmp_path / "mixed", run={"seed": 5})
    run(workspace, "prepare", "configure", "train_vqvae")
    with pytest.raises(ArtifactError, match="belongs to another VQ-VAE"):
        run(workspace, "assemble")


def test_live_changes_that_cannot_be_replayed_are_refused(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    run(workspace, "prepare", "configure")
    workspace.journal("train_vqvae").parent.mkdir()
    workspace.journal("train_vqvae").write_text('{"sequence": 1}\n')
    with pytest.raises(ArtifactError, match="line 1: not a journal entry"):
        run(workspace, "train_vqvae")
    workspace.journal("train_vqvae").write_text("no json\n")
    with pytest.raises(ArtifactError, match="line 1"):
        run(workspace, "train_vqvae")
    assert not workspace.vqvae.exists()


def test_asking_to_stop_ends_preparation(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    stop = StopRequest()
    stop.ask()
    with pytest.raises(Interrupted):
        run(workspace, "prepare", stop=stop)
    assert not workspace.prepared.exists()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_few_files_are_enough(tmp_path: Path, count: int) -> None:
    from sounds_util import folder_of_tones

    folder_of_tones(tmp_path / "sounds", count, seconds=0.6)
    workspace = make_workspace(tmp_path, vqvae={"epochs": 1}, prior={"epochs": 1}, memorization={"sounds": 1})
    report = run(workspace, "prepare")
    assert bool(report["warnings"]) == (count < 5)
    run(workspace, *STAGES[1:])
    assert read_manifest(workspace.model("tiny")).metadata.file_count == count


def test_the_core_needs_no_orchestrator_and_no_tracker(tmp_path: Path) -> None:
    """The whole pipeline and generation run where Prefect, MLflow, DVC, Gradio and Typer cannot be imported."""
    make_workspace(tmp_path, vqvae={"epochs": 1}, prior={"epochs": 1}, memorization={"sounds": 1})
    script = """
        import sys
        for name in ("prefect", "mlflow", "dvc", "gradio", "typer", "rich", "ruamel"):
            sys.modules[name] = None
        from pathlib import Path
        from distill.generation.generator import generate
        from distill.live.events import Listeners
        from distill.live.stop_request import StopRequest
        from distill.stages.pipeline import STAGES, run_stage
        from distill.stages.workspace import Call, Workspace
        workspace = Workspace(Path(sys.argv[1]))
        for stage in STAGES:
            run_stage(stage, Call(workspace, Listeners(), StopRequest()))
        assert len(generate(workspace.model("tiny"), seconds=0.3)) == 1
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr


def test_real_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = os.environ.get("DISTILL_TEST_AUDIO")
    if not folder:
        pytest.skip("DISTILL_TEST_AUDIO names no folder of real sounds")
    # Some are stereo; their space need not be learned well.
    monkeypatch.setattr("distill.stages.train_prior.STEPS", 20)
    sounds = sorted(Path(folder).rglob("*.wav"), key=lambda path: (path.stat().st_size, path.name))[40:400:40]
    workspace = make_workspace(tmp_path, vqvae={"preview_count": 1, "epochs": 1}, prior={"epochs": 1})
    for path in (tmp_path / "sounds").iterdir():
        path.unlink()
    for index, path in enumerate(sounds):
        (tmp_path / "sounds" / f"{index}{path.suffix}").symlink_to(path)
    run(workspace, *STAGES)
    paths = list(workspace.previews.glob("*.flac"))
    assert paths
    for path in paths:
        samples, _ = soundfile.read(path)
        assert np.abs(samples).max() > 0.001
    with pytest.raises(DistillError):
        generate(workspace.model("tiny"), seconds=-1)


def test_a_pipeline_that_uses_the_former_name_of_a_stage_still_works(
    finished: Workspace, tmp_path: Path, distill: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "old")
    shutil.copytree(finished.root, workspace.root)
    workspace.report("assemble").unlink()
    monkeypatch.chdir(workspace.root)
    distill("stage", "register", "--code", str(CODE_VERSIONS["assemble"]))
    assert bytes_of(workspace.root / "models") == bytes_of(finished.root / "models")
    assert not workspace.report("assemble").exists()
    assert read_report(workspace, "assemble") == read_report(finished, "assemble")
    assert "register" in read_manifest(workspace.model("tiny")).lineage.code_versions


def test_a_training_figure_that_was_not_finite_is_left_out_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path)
    run(workspace, "prepare", "configure")
    measured, first = VQVAETask._evaluate, True

    def evaluate(self: VQVAETask, split: str, chunks: np.ndarray) -> Any:
        nonlocal first
        terms, *rest = measured(self, split, chunks)
        if split == "train" and first:
            first, terms = False, dict.fromkeys(terms, math.inf)
        return terms, *rest

    monkeypatch.setattr(VQVAETask, "_evaluate", evaluate)
    run(workspace, "train_vqvae")
    curves = read_manifest(workspace.vqvae).loss_curve_history
    assert curves.recon_losses[0] is None
    assert None not in curves.recon_losses[1:]
