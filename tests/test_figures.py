"""What is compared between runs: few figures."""

import json
from pathlib import Path

import pytest
import yaml

from distill.stages.figures import FIGURES
from distill.stages.pipeline import STAGES
from distill.stages.workspace import read_report
from pipeline_util import make_workspace, run

PROJECT = Path(__file__).parents[1]


@pytest.mark.parametrize("levels", [2, 4])
def test_a_training_writes_its_figures(tmp_path: Path, levels: int) -> None:
    workspace = make_workspace(tmp_path, vqvae={"epochs": 2, "num_quantizers": levels})
    run(workspace, "prepare", "configure", "train_vqvae")
    report = read_report(workspace, "train_vqvae")
    figures = json.loads(workspace.metrics("train_vqvae").read_text())
    assert figures == {
        "lsd_db": report["best"]["validation_lsd_db"],
        "utilization": min(level["utilization"] for level in report["codebook"].values()),
        "dead_codes": sum(level["dead_codes"] for level in report["codebook"].values()),
    }
    assert json.loads(workspace.metrics("prepare").read_text())["sounds"] == 8
    assert not workspace.metrics("configure").exists()


def test_dvc_compares_figures_and_keeps_reports_as_outputs() -> None:
    pipeline = yaml.safe_load((PROJECT / "dvc.yaml").read_text())
    for name in STAGES:
        stage = pipeline["stages"][name]
        assert f"reports/{name}.json" in stage["outs"]
        assert stage.get("metrics", []) == ([f"metrics/{name}.json"] if name in FIGURES else [])
