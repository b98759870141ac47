"""A project whose pipeline has run, stage by stage as a run of its own, and whose results were published in it."""

from pathlib import Path
from typing import Any

from distill.processes.dvc_stage import repro
from distill.runs.dvc_project import DvcRun, open_project, plan_run
from distill.runs.publish import publish
from distill.stages.pipeline import STAGES
from project_util import make_project

QUIET = {"DISTILL_TRACKING": "off"}


def made(project: Path, overrides: dict[str, dict[str, Any]]) -> DvcRun:
    """A run of a project, with its folder."""
    run = plan_run(project, overrides)
    with open_project(run, lambda: None):
        pass
    return run


def stages(run: DvcRun, *names: str) -> list[bool]:
    """Run stages of a run as DVC does; whether each did run."""
    return [
        repro(run.root, name, environment=QUIET, on_line=lambda _line: None, on_wait=lambda: None) for name in names
    ]


def make_published(root: Path) -> Path:
    """Such a project; what was published is not committed."""
    work = made(make_project(root, vqvae={"preview_count": 1}), {})
    assert all(stages(work, *STAGES))
    assert publish(work) is None
    return root
