"""Models of two, three and four levels: what DVC compares and draws of their training, and that they can be used."""

import json
import shutil
from pathlib import Path

import pytest
from test_dvc import dvc

from distill.audio.sound import read_sound
from distill.codes.model import CodesModel
from distill.codes.sound import decode, encode_sound
from distill.models.levels import level_labels
from distill.stages.workspace import read_report
from pipeline_util import make_workspace, run
from project_util import PROJECT, git


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_every_level_is_counted_drawn_and_decoded(tmp_path: Path, levels: int) -> None:
    vqvae = {"epochs": 2, "num_quantizers": levels}
    workspace = make_workspace(tmp_path, sounds=6, data={"path": "sounds"}, vqvae=vqvae, prior={"epochs": 1})
    # Those of before had another number of levels.
    old = workspace.plots("train_vqvae") / "utilization" / "3_detail.csv"
    old.parent.mkdir(parents=True)
    old.write_text("epoch,utilization\n1,1\n")
    run(workspace, "prepare", "configure", "train_vqvae", "train_prior")
    report = read_report(workspace, "train_vqvae")
    assert json.loads(workspace.metrics("train_vqvae").read_text()) == {
        "lsd_db": report["best"]["validation_lsd_db"],
        "utilization": min(level["utilization"] for level in report["codebook"].values()),
        "dead_codes": sum(level["dead_codes"] for level in report["codebook"].values()),
    }
    assert json.loads(workspace.metrics("prepare").read_text())["sounds"] == 6
    assert not workspace.metrics("configure").exists()
    shutil.copy(PROJECT / "dvc.yaml", tmp_path)
    git(tmp_path, "init", "-q")
    dvc("init", "-q", cwd=tmp_path)
    said = dvc("plots", "show", "-o", "page", cwd=tmp_path)
    assert "failed" not in said.lower()
    assert "warn" not in said.lower()
    page = (tmp_path / "page" / "index.html").read_text()
    drawn = [f"{number}_{label.lower()}.csv" for number, label in enumerate(level_labels(levels))]
    assert sorted(path.name for path in old.parent.iterdir()) == drawn
    for name in (*drawn, "validation_lsd_db", "validation_perplexity"):
        assert name in page
    model = CodesModel.load(workspace.vqvae)
    grid = encode_sound(model, read_sound(next((tmp_path / "sounds").glob("tone*"))), "tone")
    assert grid.levels == levels
    assert decode(model, grid).any()
