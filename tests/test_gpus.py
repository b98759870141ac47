"""Which GPU a run gets, and which a device names; the tests marked `gpu` compute on one."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from distill.configs import RunConfig
from distill.errors import DistillError, UsageError
from distill.live.events import Event, StepDone
from distill.params import Params, with_settings
from distill.processes.gpus import VISIBLE, gpus_for, visible_gpus
from distill.training.runtime import device_present, resolve_device, resolve_runtime
from pipeline_util import make_workspace, run

AUTO = RunConfig()


def test_runs_beside_each_other_have_gpus_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "5, 6")
    with ExitStack() as runs:
        found = [runs.enter_context(gpus_for(tmp_path, AUTO))[VISIBLE] for _ in range(3)]
        # The third finds both taken and shares one.
        assert found == ["5", "6", "5"]
        with gpus_for(tmp_path, RunConfig(device="cpu")) as none, gpus_for(tmp_path, RunConfig(device="cuda:1")) as one:
            assert none == one == {}
    with gpus_for(tmp_path, AUTO) as again:
        assert again == {VISIBLE: "5"}


def test_a_run_of_several_processes_has_as_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "0,1,2,GPU-7a")
    two = RunConfig(device="cuda", processes=2)
    with gpus_for(tmp_path, two) as first, gpus_for(tmp_path, two) as second:
        assert (first[VISIBLE], second[VISIBLE]) == ("0,1", "2,GPU-7a")


@pytest.mark.parametrize("visible", ["", "3"])
def test_without_a_choice_nothing_is_said(visible: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    with gpus_for(tmp_path, AUTO) as found:
        assert found == {}
    monkeypatch.delenv(VISIBLE)
    assert len(visible_gpus()) == torch.cuda.device_count()


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::pydantic.warnings.PydanticDeprecatedSince20", "ignore::ResourceWarning"
)
def test_the_stages_of_a_flow_see_the_gpus_of_their_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distill.runs.dvc_project import open_project, plan_run
    from flows import train
    from project_util import make_project

    seen: list[dict[str, str]] = []

    def look(_stage: str, *, environment: dict[str, str], **_others: Any) -> NoReturn:
        seen.append(environment)
        raise DistillError("seen")

    monkeypatch.setattr(train, "run_as_task", look)
    work = plan_run(make_project(tmp_path / "project"), {})
    with open_project(work, lambda: None) as lock, pytest.raises(DistillError, match="seen"):
        train._run(work, {}, lock, {VISIBLE: "6"})
    assert seen[0][VISIBLE] == "6"


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:12", "mps", "auto"])
def test_parameters_take_every_device_that_commands_take(name: str) -> None:
    assert with_settings(Params(), [f"run.device={name}"]).run.device == name


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda1", "cpu:0", ""])
def test_other_names_are_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(UsageError, match=r"run\.device: .* is no device: use auto, cpu, cuda, cuda:N"):
        with_settings(Params(), [f"run.device='{name}'"])


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for count, there in ((1, "cuda:0 alone"), (4, "cuda:0 to cuda:3")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        with pytest.raises(UsageError, match=rf"^device cuda:4 is not available on this machine, which has {there}$"):
            resolve_device("cuda:4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match=r"^run\.device: cuda:1 is not available on this machine; use cpu or auto$"):
        resolve_runtime(RunConfig(device="cuda:1"))


def test_the_flows_schema_refuses_what_is_no_device() -> None:
    from flows.parameters import RunParams

    assert RunParams.model_json_schema()["properties"]["device"]["pattern"] == r"^(auto|cpu|mps|cuda(:\d{1,3})?)$"


def losses(root: Path, device: str, precision: str) -> dict[str, list[float]]:
    """Held-out losses and the loss of each step of both models and the vocoder, trained on a device."""
    few = {"epochs": 4, "learning_rate": 1e-4}
    vocoder = {"enabled": True, "epochs": 2, "steps_per_epoch": 4, "batch_size": 4, "hidden": 16, "blocks": 1}
    workspace = make_workspace(
        root, run={"device": device, "precision": precision}, vqvae=few, prior=few, vocoder=vocoder
    )
    run(workspace, "prepare", "configure")
    found = {}
    for stage in ("train_vqvae", "train_prior", "train_vocoder"):
        events: list[Event] = []
        found[f"{stage} end"] = [run(workspace, stage, events=events)["best"]["validation_loss"]]
        found[stage] = [sum(event.terms.values()) for event in events if isinstance(event, StepDone)]
    return found


@pytest.fixture(scope="module")
def gpu() -> str:
    if not device_present("cuda"):
        pytest.skip("there is no GPU")
    return "cuda"


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.01), ("bf16", 0.1)])
def test_a_gpu_trains_what_the_cpu_trains(gpu: str, precision: str, tolerance: float, tmp_path: Path) -> None:
    """The random numbers are others there, so that losses agree as those of two seeds do, and the first exactly."""
    wanted, found = losses(tmp_path / "cpu", "cpu", "fp32"), losses(tmp_path / "gpu", gpu, precision)
    for name, values in wanted.items():
        assert len(found[name]) == len(values)
        if name.endswith("end"):
            assert found[name] == pytest.approx(values, rel=0.25), name
    # Nothing random has entered the first step of a vocoder but its weights, which begin on the CPU.
    assert found["train_vocoder"][0] == pytest.approx(wanted["train_vocoder"][0], rel=max(0.05, tolerance))


@pytest.mark.gpu
def test_a_numbered_gpu_is_the_one_that_is_used(gpu: str, tmp_path: Path) -> None:
    last = f"{gpu}:{torch.cuda.device_count() - 1}"
    before = torch.cuda.memory_allocated(last)
    workspace = make_workspace(tmp_path, run={"device": last})
    run(workspace, "prepare", "configure")
    torch.cuda.reset_peak_memory_stats(last)
    run(workspace, "train_vqvae")
    assert torch.cuda.max_memory_allocated(last) > before


@pytest.mark.gpu
def test_each_process_has_a_gpu(gpu: str, tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    workspace = make_workspace(tmp_path, run={"device": gpu, "processes": 2})
    run(workspace, "prepare", "configure")
    for stage in ("train_vqvae", "train_prior"):
        assert run(workspace, stage)["steps"] > 0
