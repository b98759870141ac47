"""Devices that do not know float64, as MPS, played by tensors that refuse it; what of a GPU counts."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from distill.artifact.model_file import read_model
from distill.audio.mel import MelTransform
from distill.codec.load import build_networks
from distill.configs import PriorConfig, SpectrogramConfig
from distill.dataset.store import PreparedDataset
from distill.models.losses import log_spectral_distance
from distill.models.prior import IGNORED, sum_by_level
from distill.training.codes_file import prior_codes
from distill.training.prior import PriorTask
from distill.training.runtime import Runtime, environment, random_states
from pipeline_util import make_workspace, run


class OnDevice(Tensor):
    """A tensor on a device: what is computed from it lies there as well, until it is brought to the processor."""

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.cpu:
            return args[0].as_subclass(Tensor)
        if func is Tensor.numpy:
            raise TypeError("a tensor of a device has no numpy array")
        found = super().__torch_function__(func, types, args, kwargs or {})
        for each in found if isinstance(found, (list, tuple)) else [found]:
            if isinstance(each, OnDevice) and each.dtype == torch.float64:
                raise TypeError("the device has no float64")
        return found


def on_device(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(OnDevice)


def test_the_played_device_refuses_float64() -> None:
    with pytest.raises(TypeError, match="no float64"):
        on_device(torch.ones(2)).double()
    assert not isinstance(on_device(torch.ones(2)).cpu().double(), OnDevice)


def test_figures_are_added_up_on_the_processor() -> None:
    generator = torch.Generator().manual_seed(0)
    nll, targets = (
        torch.rand(2, 7, generator=generator),
        torch.tensor([[1, 2, 3, 4, 5, 6, 0], [1, 2, IGNORED] + [0] * 4]),
    )
    for found, expected in zip(
        sum_by_level(on_device(nll), on_device(targets), 3), sum_by_level(nll, targets, 3), strict=True
    ):
        assert not isinstance(found, OnDevice)
        assert found.dtype == torch.float64
        assert torch.equal(found, expected)
    power = 100 * torch.rand(2, 16, 9, generator=generator)
    found = log_spectral_distance(on_device(power), on_device(power.flip(0)))
    assert not isinstance(found, OnDevice)
    assert torch.equal(found, log_spectral_distance(power, power.flip(0)))


def test_a_prior_is_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace(tmp_path, vqvae={"epochs": 1})
    run(workspace, "prepare", "configure", "train_vqvae")
    vqvae = build_networks(read_model(workspace.vqvae), workspace.vqvae).vqvae
    config = PriorConfig(hidden=16, layers=1, heads=2)
    dataset, runtime = PreparedDataset(workspace.prepared), Runtime("cpu", "fp32", 1, 0)
    task = PriorTask(prior_codes(dataset, vqvae, config, runtime, tmp_path, digest="a"), vqvae, config, runtime)
    task.model.eval()
    expected = task.evaluate()
    monkeypatch.setattr(type(task.model), "forward", _moved(type(task.model).forward))
    assert task.evaluate() == expected


def test_inverses_are_compared() -> None:
    from distill.training.inverses import _distance

    mel = MelTransform(SpectrogramConfig())
    made = torch.rand(1, 4096, generator=torch.Generator().manual_seed(0))
    assert _distance(on_device(made), on_device(made.flip(1)), mel) == _distance(made, made.flip(1), mel)


def test_of_several_gpus_the_state_of_the_one_in_use_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training goes on where there are fewer, and they have no order that a name could lose."""
    state = torch.arange(8, dtype=torch.uint8)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: state)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: pytest.fail("the states of all GPUs were asked for"))
    states = random_states("cuda")
    assert states.keys() == {"torch", "cuda"}
    assert torch.equal(states["cuda"], state)
    assert random_states("cpu").keys() == {"torch"}


def test_the_gpu_that_computes_is_the_processor_of_a_lineage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "A GPU")
    found = environment(Runtime("cuda", "fp32", 1, 0))
    assert (found["processor"], found["device"]) == ("A GPU", "cuda")
    assert environment(Runtime("cpu", "fp32", 1, 0))["processor"] != "A GPU"


def _moved(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *arguments: on_device(forward(*arguments))
