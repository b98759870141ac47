"""Publishing a run goes by stage: the user's own stages stay, and what keeps a run back is named as it is."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill.locks import lock
from distill.projects.template import JOURNALS
from distill.runs.dvc_project import DvcRun, open_project, plan_run
from distill.runs.publish import publish
from distill.stages.pipeline import STAGES
from distill.versions.dvc import dvc
from page_util import make_sounds
from registry_util import make_folder

FOREIGN = {"cmd": "python -c pass", "deps": [{"path": "prepare.txt", "hash": "md5", "md5": "0" * 32, "size": 1}]}


def write(path: Path, values: Any) -> None:
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def make_project(root: Path, path: str) -> Path:
    """A project whose stages only take notes, with a stage of the user's own that has run before."""
    project = make_folder(root)
    (project / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    analytics = false\n")
    stages: dict[str, Any] = {
        stage: {"cmd": f"echo {stage} > {stage}.txt", "params": ["data"], "outs": [f"{stage}.txt"]} for stage in STAGES
    }
    stages["prepare"]["deps"] = ["${data.path}"]
    stages["evaluate"] = {"cmd": FOREIGN["cmd"], "deps": ["prepare.txt"]}
    write(project / "dvc.yaml", {"stages": stages})
    write(project / "dvc.lock", {"schema": "2.0", "stages": {"evaluate": FOREIGN}})
    write(project / "params.yaml", {"schema": 1, "data": {"path": path}})
    make_sounds(project / path, 3)
    return project


def finished(project: Path) -> DvcRun:
    run = plan_run(project, {})
    with open_project(run, lambda: None):
        dvc(run.root, "repro", *STAGES)
    return run


@pytest.mark.parametrize("path", ["sounds", "../kit"])
def test_a_stage_of_the_users_own_is_left_alone(tmp_path: Path, path: str) -> None:
    project = make_project(tmp_path / "project", path)
    assert publish(finished(project)) is None
    locked = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert locked["evaluate"] == FOREIGN
    assert locked["prepare"]["deps"][0]["path"] == path
    assert set(locked) == {*STAGES, "evaluate"}
    assert dvc(project, "status", "--json", *STAGES).strip() == "{}"
    assert (project / "assemble.txt").read_text() == "assemble\n"


def test_what_keeps_a_run_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.runs.publish.BUSY_SECONDS", 0.2)
    project = make_project(tmp_path / "project", "sounds")
    run = finished(project)
    before = (project / "dvc.lock").read_bytes()
    described = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(described.replace("echo assemble", "echo again"))
    assert publish(run) == "dvc.yaml describes the stage assemble in another way since"
    (project / "dvc.yaml").write_text("vars: []\n")
    assert "has no stages" in str(publish(run))
    (project / "dvc.yaml").write_text(f"vars: [{{size: 1}}]\n{described}")
    assert publish(run) == "the vars of dvc.yaml have changed since"
    (project / "dvc.yaml").write_text(described + "# a remark\n")
    (project / "params.yaml").write_text("schema: [1\n")
    assert "params.yaml is not YAML" in str(publish(run))
    for odd in ("", "- 1\n", "data: 5\n"):
        (project / "params.yaml").write_text(odd)
        assert "has no sections of parameters" in str(publish(run))
    (project / "params.yaml").write_text("schema: 1\ndata: {path: sounds, chunk_seconds: 2.0}\n")
    assert publish(run) == "params.yaml has changed since"
    write(project / "params.yaml", {"schema": 1, "data": {"path": "sounds"}})
    (project / JOURNALS[0]).parent.mkdir(exist_ok=True)
    (project / JOURNALS[0]).write_text("{}\n")
    assert publish(run) == f"{JOURNALS[0]} is not that of the run"
    (project / JOURNALS[0]).unlink()
    at_work = project / ".dvc" / "tmp"
    with lock(at_work / "lock", lambda: None):
        assert "DVC works in the project" in str(publish(run))
    (at_work / "rwlock").write_text(json.dumps({"write": {"prepare.txt": {"pid": os.getpid(), "cmd": "dvc repro"}}}))
    assert "dvc repro runs in the project" in str(publish(run))
    (at_work / "rwlock").unlink()
    assert (project / "dvc.lock").read_bytes() == before
    (project / "assemble.txt").write_text("the user's own\n")
    assert "stay as they are" in str(publish(run))
    assert (project / "assemble.txt").read_text() == "the user's own\n"
    (project / "sounds" / "more.wav").write_bytes(b"more")
    assert publish(run) == "the sounds have changed since"
    assert (project / "dvc.lock").read_bytes() == before
    assert publish(plan_run(project, {"run": {"seed": 5}})) == "its parameters are not those of params.yaml"
