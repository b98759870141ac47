"""`distill run` against a training in a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from distill.cli.main import app
from distill.errors import DistillError
from distill.live.folder import RunFolder
from distill.stages.workspace import Workspace
from pipeline_util import make_workspace, run
from steering_util import journal_of

STAGE = "train_vqvae"


def call(*arguments: str) -> Any:
    """A command's JSON."""
    result = CliRunner().invoke(app, ["run", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def complaint(*arguments: str) -> str:
    """The line that a command that fails ends with."""
    result = CliRunner().invoke(app, ["run", *arguments])
    assert isinstance(result.exception, DistillError)
    assert result.exit_code != 0
    return str(result.exception)


def wait(done: Callable[[], Any], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.02)


@contextmanager
def training(workspace: Workspace) -> Iterator["subprocess.Popen[bytes]"]:
    """A training of the VQ-VAE that goes on until it is stopped."""
    command = [sys.executable, "-m", "distill", "stage", STAGE, "-w", str(workspace.root), "--quiet"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    folder = RunFolder(workspace.root, STAGE)
    try:
        wait(lambda: folder.running() or child.poll() is not None)
        assert child.poll() is None, child.communicate()
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("steered"), vqvae={"epochs": 2000, "preview_interval": 10000})
    run(workspace, "prepare", "configure")
    return workspace


def test_a_training_is_listed_tuned_measured_and_stopped(workspace: Workspace) -> None:
    root, folder = str(workspace.root), RunFolder(workspace.root, STAGE)
    with training(workspace) as child:
        answer = call(
            "tune", root, "max_lr=5e-4", "weight_full=0.4", "weight_l1=0.3", "--validate", "less", "--after", "1"
        )
        assert {name: new for name, (_, new) in answer["changes"].items()} == {
            "max_lr": 5e-4,
            "weight_full": 0.4,
            "weight_l1": 0.3,
        }
        (entry,) = journal_of(workspace, STAGE)
        assert entry["step"] == answer["step"]
        assert call("tune", root, "max_lr=5e-4")["changes"] == {}
        assert json.loads(folder.config_file.read_text())["max_lr"] == 5e-4
        assert "sum to 0.95 to 1.05" in complaint("tune", root, "weight_full=0.9", "max_lr=1e-3")
        assert "did you mean max_lr" in complaint("tune", root, "max_lrr=1e-3")
        assert "KEY=VALUE" in complaint("tune", root, "max_lr")
        assert "valid number (given: 'NaN')" in complaint("tune", root, "gradient_clip=NaN")
        assert "valid number" in complaint("tune", root, "gradient_clip=1e999")
        paused = call("pause", root)["step"]
        assert call("pause", root)["step"] == paused
        wait(lambda: call("list", root)["runs"][0]["state"] == "paused")
        (listed,) = call("list", root)["runs"]
        assert listed["running"]
        assert listed["pid"] == child.pid
        assert listed["total_steps"] == 6000
        saved = call("checkpoint", root)
        assert saved["step"] == call("checkpoint", root)["step"] == paused
        assert Path(saved["checkpoint"]).is_file()
        measured = call("validate", root, "--name", "now")
        assert measured["metrics"]["validation_lsd_db"] > 0
        assert call("validate", root, "--name", "now") == measured
        call("resume", root)
        wait(lambda: folder.validation("less-after").is_file())
        compared = call("diff", root, "less-before", "less-after")
        assert compared["settings"]["max_lr"][1] == 5e-4
        assert "validation_loss" in compared["figures"]
        found = call("snapshots", root)
        assert {each["name"] for each in found["validations"]} == {"less-before", "less-after", "now"}
        (asked,) = [each for each in found["checkpoints"] if each["kind"] == "asked"]
        assert asked["step"] == paused
        assert asked["changed"]["max_lr"][1] == 5e-4
        assert asked["size"] > 1000
        call("tune", root, "decay=0.8")
        back = call("rollback", root, str(paused))
        assert back["to"] == paused
        assert back["changes"]["decay"][0] == 0.8
        assert call("stop", root)["was_running"]
        assert child.wait(60) == 3
    assert not call("stop", root)["was_running"]
    assert "is not running" in complaint("tune", root, "max_lr=1e-3")
    assert "is not running" in complaint("pause", root)
    assert "no checkpoint of step 1" in complaint("rollback", root, "1")
    assert call("rollback", root, str(paused))["abandoned"] == 0
    assert max(each["step"] for each in call("snapshots", root)["checkpoints"]) == paused
    (listed,) = call("list", root)["runs"]
    assert listed["state"] == "stopped"
    shown = CliRunner().invoke(app, ["run", "snapshots", root], env={"COLUMNS": "200"})
    assert "measured: now" in shown.output
    with training(workspace):
        assert call("tune", root, "max_lr=1e-3")["step"] >= paused


def test_a_folder_without_trainings_is_one_line(tmp_path: Path) -> None:
    assert "no training has run there" in complaint("tune", str(tmp_path), "max_lr=1e-3")
    assert call("list", str(tmp_path)) == {"runs": []}


@pytest.mark.parametrize("command", ["list", "snapshots", "stop"])
def test_no_command_loads_torch(workspace: Workspace, command: str) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from distill.cli.main import app; "
        f"result = CliRunner().invoke(app, ['run', {command!r}, {str(workspace.root)!r}]); "
        "assert result.exit_code == 0, result.output; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
