"""Device, precision, threads and random states of a training process."""

import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import distill.arithmetic  # noqa: F401
from distill.configs import RunConfig
from distill.dataset.walk import usable_cores
from distill.errors import UsageError


@dataclass(frozen=True)
class Runtime:
    """Where and how the networks are computed, with nothing left automatic."""

    device: str
    precision: str
    threads: int
    seed: int

    def autocast(self) -> torch.autocast:
        """The context in which the networks' forward passes run."""
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def apply(self) -> None:
        """Set threads, deterministic algorithms and the seed of torch for this process.

        Raises:
            UsageError: the device is not there.
        """
        require_device(self.device)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_num_threads(self.threads)
        # Some CUDA and MPS kernels have no deterministic form; there only the CPU promises equal bytes.
        torch.use_deterministic_algorithms(True, warn_only=self.device != "cpu")
        torch.manual_seed(self.seed)


def resolve_runtime(run: RunConfig) -> Runtime:
    """Decide what `auto` stands for on this machine.

    Raises:
        UsageError: a device is asked for that is not there.
    """
    device = run.device
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if device_present(name))
    require_device(device)
    precision = run.precision
    if precision == "auto":
        precision = "bf16" if native_bf16(device) else "fp32"
    threads = run.threads if run.threads != "auto" else usable_cores()
    return Runtime(device=device, precision=precision, threads=threads, seed=run.seed)


def device_present(name: str) -> bool:
    """Whether torch can compute on `name` (`cpu`, `cuda` or `mps`) here."""
    if name == "cuda":
        return torch.cuda.is_available()
    if name == "mps":
        return torch.backends.mps.is_available()
    return name == "cpu"


def require_device(name: str) -> None:
    """Make sure that a device is there.

    Raises:
        UsageError: it is not.
    """
    if not device_present(name):
        raise UsageError(f"run.device: {name} is not available on this machine; use cpu or auto")


def native_bf16(device: str) -> bool:
    """Whether the device multiplies bf16 matrices faster than fp32 ones (AMX on a CPU, tensor cores on CUDA)."""
    if device == "cuda":
        return torch.cuda.get_device_capability()[0] >= 8
    return device == "cpu" and "amx_bf16" in processor_features()


def processor_features() -> frozenset[str]:
    """The processor's feature flags, empty where the system does not tell them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())


def random_states() -> dict[str, Tensor]:
    """The states of every generator that training draws from: torch's on the CPU and on each CUDA device."""
    states = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda_{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_random_states(states: dict[str, Tensor]) -> None:
    """Set the generators to what `random_states` gave."""
    torch.set_rng_state(states["torch"])
    cuda = [state for name, state in sorted(states.items()) if name.startswith("cuda_")]
    if cuda and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(cuda)


def environment(runtime: Runtime) -> dict[str, Any]:
    """What besides code, data and parameters decides the bytes of a model."""
    return {
        "torch": torch.__version__,
        "vector_quantize_pytorch": version("vector-quantize-pytorch"),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": runtime.threads,
        "precision": runtime.precision,
        "device": runtime.device,
    }
