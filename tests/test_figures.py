"""What is compared between runs: few figures."""

from pathlib import Path

import yaml

from distill.stages.figures import FIGURES
from distill.stages.pipeline import STAGES

PROJECT = Path(__file__).parents[1]


def test_dvc_compares_figures_and_keeps_reports_as_outputs() -> None:
    pipeline = yaml.safe_load((PROJECT / "dvc.yaml").read_text())
    for name in STAGES:
        stage = pipeline["stages"][name]
        assert f"reports/{name}.json" in stage["outs"]
        assert stage.get("metrics", []) == ([f"metrics/{name}.json"] if name in FIGURES else [])
