"""`distill run` against a training in a process of its own."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from command_util import run_command
from distill.cli.main import app
from distill.errors import DistillError
from distill.live.events import Progress, TrainingStarted
from distill.live.folder import RunFolder
from distill.live.parameters import Kind, everything
from distill.live.status import StatusListener
from distill.runs.folder import Order, write_order
from distill.runs.trainings import where_it_stands
from distill.stages.workspace import Workspace
from page_util import wait
from pipeline_util import make_workspace, run
from steering_util import journal_of

STAGE = "train_vqvae"
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "runtime-config.md"


def said(*arguments: str) -> str:
    """What a command prints for people."""
    result = CliRunner().invoke(app, ["run", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def complaint(*arguments: str) -> str:
    """The line that a command that fails ends with."""
    result = CliRunner().invoke(app, ["run", *arguments])
    assert isinstance(result.exception, DistillError)
    assert result.exit_code != 0
    return str(result.exception)


@contextmanager
def training(workspace: Workspace) -> Iterator["subprocess.Popen[bytes]"]:
    """A training of the VQ-VAE that goes on until it is stopped."""
    command = [sys.executable, "-m", "distill", "stage", STAGE, "-w", str(workspace.root), "--quiet"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    folder = RunFolder(workspace.root, STAGE)
    try:
        # It runs before it has begun, and what has not begun cannot be tuned.
        wait(lambda: (folder.running() and folder.begun()) or child.poll() is not None)
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
    write_order(workspace.root, Order("sounds"))
    return workspace


def do_as_the_page_says(workspace: Workspace) -> None:
    """Say to one training what the page says one by one, except that it is to stop."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [shlex.split(line, comments=True)[2:] for line in "".join(blocks).splitlines() if "distill run" in line]
    assert len(lines) > 10
    lines.remove(["stop", "kit-1a2b3c4d"])
    # A measurement of the page's name is there already.
    meant = {"kit-1a2b3c4d": str(workspace.root), "200": "1", "now": "then"}
    for words in lines:
        if "softer-after" in words:
            wait(RunFolder(workspace.root, STAGE).validation("softer-after").is_file)
        answer = run_command(*(meant.get(word, word) for word in words))
        if words[0] == "checkpoint":
            meant["300"] = str(answer["step"])


def test_a_training_is_listed_tuned_measured_and_stopped(workspace: Workspace) -> None:
    root, folder = str(workspace.root), RunFolder(workspace.root, STAGE)
    with training(workspace) as child:
        answer = run_command(
            "tune", root, "max_lr=5e-4", "weight_full=0.4", "weight_l1=0.3", "--validate", "less", "--after", "1"
        )
        assert answer["before"]["name"] == "less-before"
        assert answer["after"] == {"name": "less-after", "step": answer["step"] + 1}
        assert {name: new for name, (_, new) in answer["changes"].items()} == {
            "max_lr": 5e-4,
            "weight_full": 0.4,
            "weight_l1": 0.3,
        }
        (entry,) = journal_of(workspace, STAGE)
        assert entry["step"] == answer["step"]
        assert run_command("tune", root, "max_lr=5e-4")["changes"] == {}
        assert json.loads(folder.config_file.read_text())["max_lr"] == 5e-4
        assert "sum to 0.95 to 1.05" in complaint("tune", root, "weight_full=0.9", "max_lr=1e-3")
        assert "did you mean max_lr" in complaint("tune", root, "max_lrr=1e-3")
        assert "KEY=VALUE" in complaint("tune", root, "max_lr")
        assert "valid number (given: 'NaN')" in complaint("tune", root, "gradient_clip=NaN")
        assert "valid number" in complaint("tune", root, "gradient_clip=1e999")
        assert said("resume", root).startswith("it was not paused, at step ")
        paused = run_command("pause", root)["step"]
        assert said("pause", root) == f"it was paused already, at step {paused}\n"
        wait(lambda: run_command("list", root)["runs"][0]["state"] == "paused")
        (listed,) = run_command("list", root)["runs"]
        assert listed["running"]
        assert listed["pid"] == child.pid
        assert listed["total_steps"] == 6000
        saved = run_command("checkpoint", root)
        assert saved["step"] == run_command("checkpoint", root)["step"] == paused
        assert Path(saved["checkpoint"]).is_file()
        measured = run_command("validate", root, "--name", "now")
        assert measured["metrics"]["validation_lsd_db"] > 0
        assert run_command("validate", root, "--name", "now") == measured
        assert said("resume", root) == f"resumed at step {paused}\n"
        wait(lambda: folder.validation("less-after").is_file())
        compared = run_command("diff", root, "less-before", "less-after")
        assert compared["settings"]["max_lr"][1] == 5e-4
        assert "validation_loss" in compared["figures"]
        # Others than the one that was asked for give way to newer ones meanwhile.
        figures = run_command("diff", root, str(paused), "now")["figures"]
        assert not {"step", "epoch"} & figures.keys()
        found = run_command("snapshots", root)
        assert {each["name"] for each in found["validations"]} == {"less-before", "less-after", "now"}
        (asked,) = [each for each in found["checkpoints"] if each["kind"] == "asked"]
        assert asked["step"] == paused
        assert asked["changed"]["max_lr"][1] == 5e-4
        assert asked["size"] > 1000
        assert all((folder.noted()[0] / each["file"]).stat().st_size == each["size"] for each in found["best"])
        run_command("tune", root, "decay=0.8")
        back = run_command("rollback", root, str(paused))
        assert back["to"] == paused
        assert back["changes"]["decay"][0] == 0.8
        assert said("tune", root, "decay=0.8").startswith("decay: ")
        assert said("rollback", root, str(paused)).splitlines()[:2] == [
            f"back at step {paused}",
            "live changes that no longer count: 1",
        ]
        lines = said("tune", root, "decay=0.8", "--validate", "slow", "--after", "1").splitlines()
        assert lines[2] == f"then: distill run diff {root} slow-before slow-after"
        assert said("tune", root, "decay=0.8").startswith("no setting changed (step ")
        assert run_command("stop", root)["was_running"]
        assert child.wait(60) == 3
    assert not run_command("stop", root)["was_running"]
    assert "is not running" in complaint("tune", root, "max_lr=1e-3")
    assert "is not running" in complaint("pause", root)
    assert "no checkpoint of step 1" in complaint("rollback", root, "1")
    assert run_command("rollback", root, str(paused))["abandoned"] == 1
    assert run_command("rollback", root, str(paused))["abandoned"] == 0
    assert max(each["step"] for each in run_command("snapshots", root)["checkpoints"]) == paused
    (listed,) = run_command("list", root)["runs"]
    assert listed["state"] == "stopped"
    shown = CliRunner().invoke(app, ["run", "snapshots", root], env={"COLUMNS": "200"})
    assert "measured: now" in shown.output
    (*_, best) = run_command("snapshots", root)["best"]
    assert best["loss"] == min(each["loss"] for each in run_command("snapshots", root)["best"])
    assert f"best: epoch {best['epoch']}" in shown.output


def test_a_folder_without_trainings_is_one_line(tmp_path: Path) -> None:
    assert "no training has run there" in complaint("tune", str(tmp_path), "max_lr=1e-3")
    assert run_command("list", str(tmp_path)) == {"runs": []}


# Every command of the group, in an order in which all of them succeed, the last ones when the training has ended.
ALL = [
    ["list"],
    ["tune", "min_lr=2e-5"],
    ["pause"],
    ["checkpoint"],
    ["validate", "--name", "a"],
    ["rollback", "STEP"],
    ["resume"],
    ["tune", "min_lr=1e-5", "--validate", "b"],
    ["snapshots"],
    ["diff", "a", "b-before"],
    ["rollback", "STEP", "--config-only"],
    ["stop"],
    ["stop"],
    ["rollback", "STEP"],
    ["prune", "--keep", "0"],
    ["remove"],
]
RUN_ALL = """
import json, sys, time
from pathlib import Path
from distill.live.folder import RunFolder
from typer.testing import CliRunner
from distill.cli.main import app
root, commands = sys.argv[1], json.loads(sys.argv[2])
step = ""
for name, *rest in commands:
    rest = [step if each == "STEP" else each for each in rest]
    result = CliRunner().invoke(app, ["run", name, root, *rest, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "torch" not in sys.modules, name
    step = str(json.loads(result.stdout)["step"]) if name == "checkpoint" else step
    while name == "stop" and RunFolder(Path(root), "train_vqvae").running():
        time.sleep(0.05)
"""


def test_it_goes_on_does_as_the_page_says_and_answers_every_command_in_json_without_torch(
    workspace: Workspace,
) -> None:
    root = str(workspace.root)
    (*_, before) = run_command("snapshots", root)["checkpoints"]
    group = next(each for each in app.registered_groups if each.name == "run").typer_instance
    assert group is not None
    assert {name for name, *_ in ALL} == {
        each.name or str(getattr(each.callback, "__name__", "")) for each in group.registered_commands
    }
    with training(workspace) as child:
        assert run_command("tune", root, "max_lr=1e-3")["step"] >= before["step"]
        do_as_the_page_says(workspace)
        # The page's last word, to stop, is among these.
        command = [sys.executable, "-c", RUN_ALL, str(workspace.root), json.dumps(ALL)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert child.wait(60) == 3


def test_the_help_of_tune_has_the_table() -> None:
    shown = CliRunner().invoke(app, ["run", "tune", "--help"], env={"COLUMNS": "200"}).output
    rows = set(re.findall(r"^│ (\w+) ", shown, flags=re.MULTILINE))
    assert {name for name, each in everything().items() if each.kind is not Kind.STARTUP_ONLY} <= rows
    assert "codebook_size" not in rows


def test_what_is_counted_before_the_first_step_is_no_step(tmp_path: Path) -> None:
    listener = StatusListener(tmp_path)
    listener(Progress("train_prior", 40, 200, "columns of codes"))
    folder = RunFolder(tmp_path, "train_prior")
    assert where_it_stands(folder)["step"] is where_it_stands(folder)["total_steps"] is None
    listener.written = 0.0
    listener(TrainingStarted("train_prior", 0, 720, 3))
    assert (where_it_stands(folder)["step"], where_it_stands(folder)["total_steps"]) == (0, 720)
