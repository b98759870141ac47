"""Trainings of several processes: what one process computes, one line when a process is gone, and no orphan."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from distill.errors import UsageError
from distill.live.events import Event, StepDone, Tuned
from distill.stages.workspace import Workspace, read_config, read_report
from distill.training.runtime import Runtime, require_devices
from page_util import wait
from pipeline_util import bytes_of, make_workspace, run
from sounds_util import noise, save

FEW = {"vqvae": {"batch_size": 4, "preview_count": 0, "epochs": 4}, "prior": {"batch_size": 4}}


def workspace_of(root: Path, processes: int, **changes: dict[str, Any]) -> Workspace:
    """A prepared workspace; what is compared computes with as many threads in all."""
    run_changes = {"processes": processes, "threads": 2, **changes.pop("run", {})}
    workspace = make_workspace(root, run=run_changes, **{**FEW, **changes})
    run(workspace, "prepare", "configure")
    return workspace


def stage(
    workspace: Workspace, name: str, *, launcher: tuple[str, ...] = (), prefix: tuple[str, ...] = (), **variables: str
) -> "subprocess.Popen[str]":
    """`distill stage` in a process of its own."""
    command = [*prefix, sys.executable, *launcher, "-m", "distill", "stage", name, "-w", str(workspace.root)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **variables},
    )


def done(process: "subprocess.Popen[str]") -> str:
    out, said = process.communicate(timeout=200)
    assert process.returncode == 0, out + said
    return said


def trained(workspace: Workspace) -> dict[str, bytes]:
    """What the first process, which is this one, and those that it starts write."""
    run(workspace, "train_vqvae")
    return outputs(workspace)


def outputs(workspace: Workspace) -> dict[str, bytes]:
    return {name: data for name, data in bytes_of(workspace.root).items() if not name.startswith("status")}


def steps(workspace: Workspace, name: str) -> list[StepDone]:
    events: list[Event] = []
    run(workspace, name, events=events)
    return [event for event in events if isinstance(event, StepDone)]


def require_near(found: list[StepDone], wanted: list[StepDone]) -> None:
    assert len(found) == len(wanted)
    for mine, one in zip(found, wanted, strict=True):
        assert mine.terms == pytest.approx(one.terms, rel=1e-4), one.step
        assert mine.learning_rate == one.learning_rate


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = workspace_of(tmp_path_factory.mktemp("two") / "w", 2)
    trained(workspace)
    return workspace


def copy_of(workspace: Workspace, root: Path) -> Workspace:
    """What was prepared and configured, without what was trained."""
    for name in ("sounds", "prepared", "config", "params.yaml"):
        source = workspace.root / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
    return Workspace(root)


def test_two_processes_train_what_one_does(uninterrupted: Workspace, tmp_path: Path) -> None:
    one = workspace_of(tmp_path / "one", 1)
    run(one, "train_vqvae")
    mine, theirs = (read_report(each, "train_vqvae") for each in (uninterrupted, one))
    assert mine["steps"] == theirs["steps"]
    assert mine["final"] == pytest.approx(theirs["final"], rel=0.02)
    assert read_config(uninterrupted, "train_vqvae")["runtime"]["processes"] == 2
    assert "processes" not in read_config(one, "train_vqvae")["runtime"]


def processes_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The other processes of a training, in the order of their numbers."""

    def numbered() -> list[psutil.Process]:
        # One that was just forked has the environment of the first.
        children = psutil.Process(process.pid).children()
        return children if all("RANK" in child.environ() for child in children) else []

    return sorted(wait(numbered), key=lambda child: int(child.environ()["RANK"]))


def wait_for_checkpoint(workspace: Workspace) -> None:
    wait(lambda: list(workspace.root.rglob("checkpoint-*.safetensors")))


@pytest.mark.parametrize("victim", [pytest.param("first", marks=pytest.mark.slow), "other"])
def test_a_killed_process_ends_all_and_the_same_command_resumes(
    uninterrupted: Workspace, victim: str, tmp_path: Path
) -> None:
    workspace = copy_of(uninterrupted, tmp_path)
    training = stage(workspace, "train_vqvae")
    others = processes_of(training)
    wait_for_checkpoint(workspace)
    killed = time.monotonic()
    os.kill(training.pid if victim == "first" else others[0].pid, signal.SIGKILL)
    _, said = training.communicate(timeout=30)
    assert psutil.wait_procs(others, timeout=10)[1] == []
    assert time.monotonic() - killed < 15
    if victim == "other":
        assert training.returncode == 1
        complaints = [line for line in said.splitlines() if line.startswith("distill:") or "Error" in line]
        assert complaints == [
            "distill: process 2 of 2 of the training was killed (SIGKILL), and all have ended: run the same command to "
            "resume"
        ]
    assert not (workspace.root / "reports" / "train_vqvae.json").exists()
    assert trained(workspace) == {k: v for k, v in outputs(uninterrupted).items() if k in outputs(workspace)}


@pytest.mark.slow
def test_torchrun_starts_the_same_training(uninterrupted: Workspace, tmp_path: Path) -> None:
    workspace = copy_of(uninterrupted, tmp_path)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done(stage(workspace, "train_vqvae", launcher=launcher))
    assert workspace.vqvae.read_bytes() == uninterrupted.vqvae.read_bytes()
    wrong = stage(workspace, "train_vqvae", launcher=(*launcher[:-1], "3"))
    _, said = wrong.communicate(timeout=100)
    assert "3 processes were started, but run.processes is 2" in said
    assert wrong.returncode != 0


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two networks that reach each other by a wire, at 10.97.0.1 and 10.97.0.2: where processes are on two hosts."""
    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not here")
    names = [f"distill-{os.getpid()}-{number}" for number in (1, 2)]
    wire = ["link", "add", "wire", "netns", names[0], "type", "veth", "peer", "name", "wire", "netns", names[1]]
    try:
        for arguments in (["netns", "add", names[0]], ["netns", "add", names[1]], wire):
            subprocess.run(["ip", *arguments], check=True, capture_output=True)
        for number, name in enumerate(names, start=1):
            for arguments in (
                ["addr", "add", f"10.97.0.{number}/24", "dev", "wire"],
                ["link", "set", "wire", "up"],
                ["link", "set", "lo", "up"],
            ):
                subprocess.run(["ip", "-n", name, *arguments], check=True)
        yield names
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no networks of their own here: {error}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.mark.slow
def test_two_hosts_train_the_bytes_of_one(hosts: list[str], uninterrupted: Workspace, tmp_path: Path) -> None:
    workspace = copy_of(uninterrupted, tmp_path)
    shared = ("-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "10.97.0.1")
    both = [
        stage(
            workspace,
            "train_vqvae",
            launcher=(*shared, "--node-rank", str(number)),
            prefix=("ip", "netns", "exec", name),
            GLOO_SOCKET_IFNAME="wire",
        )
        for number, name in enumerate(hosts)
    ]
    for process in both:
        done(process)
    assert workspace.vqvae.read_bytes() == uninterrupted.vqvae.read_bytes()


def test_another_number_of_processes_begins_anew_and_says_so(
    uninterrupted: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = tmp_path / "w"
    shutil.copytree(uninterrupted.root, workspace)
    changed = workspace_of(workspace, 1)
    run(changed, "train_vqvae")
    assert "begun with run.processes 2 before; with 1 it is another training" in caplog.text


def test_a_live_change_reaches_all_processes(tmp_path: Path) -> None:
    change = {"augmentation_strength": 0.0, "max_lr": 0.0001}
    entry = {"schema": 1, "stage": "train_vqvae", "seq": 1, "step": 2, "who": "", "change": change}
    found = []
    for processes in (1, 2):
        workspace = workspace_of(tmp_path / str(processes), processes)
        workspace.journal("train_vqvae").parent.mkdir()
        workspace.journal("train_vqvae").write_text(json.dumps({**entry, "result": {}}) + "\n")
        events: list[Event] = []
        run(workspace, "train_vqvae", events=events)
        assert [event.step for event in events if isinstance(event, Tuned)] == [2]
        found.append([event for event in events if isinstance(event, StepDone)])
    rates = [[step.learning_rate for step in each] for each in found]
    assert rates[0] == rates[1]
    for one, two in zip(*found, strict=True):
        assert two.terms == pytest.approx(one.terms, rel=2e-3)


@pytest.mark.slow
def test_a_stop_is_resumed_to_the_same_bytes(uninterrupted: Workspace, tmp_path: Path) -> None:
    workspace = copy_of(uninterrupted, tmp_path)
    training = stage(workspace, "train_vqvae")
    others = processes_of(training)
    wait_for_checkpoint(workspace)
    training.send_signal(signal.SIGTERM)
    _, said = training.communicate(timeout=60)
    assert (training.returncode, said.count("distill: interrupted")) == (3, 1)
    assert psutil.wait_procs(others, timeout=10)[1] == []
    trained(workspace)
    assert workspace.vqvae.read_bytes() == uninterrupted.vqvae.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("processes", [2, 3])
def test_fifty_steps_of_both_models_have_the_losses_of_one_process(processes: int, tmp_path: Path) -> None:
    """With as many threads in all: torch sums in as many parts as it has threads, and processes are such parts."""
    for seed in range(6):
        save(tmp_path / "sounds" / f"noise{seed}.wav", noise(2.0, seed))
    # A code on the border between two vectors counts the less, the more there are; what follows from it does, the
    # smaller the steps are.
    vqvae = {"batch_size": 24, "epochs": 2, "steps_per_epoch": 26, "learning_rate": 1e-5, "min_learning_rate": 1e-6}
    vqvae |= {"augmentation_expansion": 80, "dropout": 0.2, "codebook_size": 8, "checkpoint_interval": 100}
    vqvae["preview_count"] = 0
    prior = {"batch_size": 6, "epochs": 50, "dropout": 0.2, "checkpoint_interval": 100}
    found: dict[int, list[list[StepDone]]] = {}
    for number in (1, processes):
        root = tmp_path / str(number)
        root.mkdir()
        shutil.copytree(tmp_path / "sounds", root / "sounds")
        run_changes = {"processes": number, "threads": processes}
        workspace = make_workspace(root, run=run_changes, data={"chunk_seconds": 0.7}, vqvae=vqvae, prior=prior)
        run(workspace, "prepare", "configure")
        found[number] = [steps(workspace, "train_vqvae")]
        # The priors learn the same codes.
        if number > 1:
            shutil.copy(Workspace(tmp_path / "1").vqvae, workspace.vqvae)
        found[number].append(steps(workspace, "train_prior"))
    for one, several in zip(found[1], found[processes], strict=True):
        assert len(one) >= 50
        require_near(several[:50], one[:50])
        used = [[(step.health or {}).values() for step in each if step.health] for each in (one, several)]
        utilization = [[[level["utilization"] for level in health] for health in each] for each in used]
        assert utilization[0] == utilization[1]


@pytest.mark.parametrize("value", ["0", "-1", "257"])
def test_a_number_of_processes_that_cannot_be_is_refused(value: str, tmp_path: Path) -> None:
    from distill.params import Params, with_settings

    with pytest.raises(UsageError, match=r"run\.processes: Input should be .* \(given: "):
        with_settings(Params(), [f"run.processes={value}"])


def test_a_batch_must_have_an_item_for_each_process(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, run={"processes": 5}, **FEW)
    run(workspace, "prepare")
    with pytest.raises(UsageError, match="5 processes cannot share batches of 4 items: use processes 4, or raise"):
        run(workspace, "configure")


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cuda:1", "2 processes cannot share the device cuda:1: use processes 1, or device cuda"),
        ("mps", "2 processes cannot share the device mps: use processes 1, or device cpu"),
    ],
)
def test_processes_do_not_share_a_gpu(device: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        require_devices(Runtime(device, "fp32", 1, 0, processes=2))


def test_each_process_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_devices(Runtime("cuda", "fp32", 1, 0, processes=2))
    with pytest.raises(UsageError, match="3 processes need a GPU each, and this machine has 2: use processes 2"):
        require_devices(Runtime("cuda", "fp32", 1, 0, processes=3))


def test_what_follows_from_parameters_is_the_same_for_one_process_as_it_always_was() -> None:
    from distill.params import Params, parse_params

    values = Params().model_dump(mode="json", by_alias=True)
    assert "processes" not in values["run"]
    two = parse_params({**values, "run": {**values["run"], "processes": 2}}, where="here")
    assert two.model_dump(mode="json", by_alias=True)["run"]["processes"] == 2
