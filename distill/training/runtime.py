"""Device, precision, threads and random states of a training process."""

import os
import re
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import soundfile
import torch
from torch import Tensor

import distill.arithmetic  # noqa: F401
from distill import __version__
from distill.configs import DEVICES, RunConfig
from distill.errors import UsageError
from distill.instructions import Arithmetic, in_force, portable_here, processor_features, processor_maker
from distill.live.processes import launch_local_size
from distill.workers.place import usable_cores


@dataclass(frozen=True)
class Runtime:
    """Where and how the networks are computed, with nothing left automatic.

    A training of several processes shares `threads` among them; with the device `cuda` each has a GPU of its own.
    """

    device: str
    precision: str
    threads: int
    seed: int
    arithmetic: Arithmetic = "native"
    processes: int = 1

    @property
    def kind(self) -> str:
        """The kind of the device: cpu, cuda or mps."""
        return self.device.partition(":")[0]

    def values(self) -> dict[str, Any]:
        """The settings by name; `processes` only where there are several, as they always were where there is one."""
        return {name: value for name, value in vars(self).items() if name != "processes" or value != 1}

    def autocast(self) -> torch.autocast:
        """The context in which the networks' forward passes run."""
        return torch.autocast(self.kind, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def apply(self) -> None:
        """Set threads, deterministic algorithms and the seed of torch for this process.

        Raises:
            UsageError: the device is not there, or this process was begun with another arithmetic.
        """
        require_device(self.device)
        if self.arithmetic != in_force():
            raise UsageError(
                f"run.arithmetic: {self.arithmetic} was configured, but this process uses another: configure again, "
                "or call distill.instructions.use before anything else"
            )
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if self.kind == "cuda" and self.device != "cuda":
            # What speaks of CUDA without a number, such as the random states, then means this GPU.
            torch.cuda.set_device(self.device)
        torch.set_num_threads(self.threads)
        # Some CUDA and MPS kernels have no deterministic form; there only the CPU promises equal bytes.
        # As use_deterministic_algorithms, which loads the compiler: a second for nothing where nothing is trained.
        torch.set_deterministic_debug_mode("error" if self.device == "cpu" else "warn")
        # Nothing here reads what it has not written; filling each new tensor took a sixth of Griffin-Lim.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.manual_seed(self.seed)


def resolve_runtime(run: RunConfig) -> Runtime:
    """Decide what `auto` stands for on this machine.

    Raises:
        UsageError: a device is asked for that is not there, or more processes than there are GPUs.
    """
    device = resolve_device(run.device, "run.device: ")
    precision = run.precision
    arithmetic = run.arithmetic if portable_here() else "native"
    if precision == "auto":
        bounded = arithmetic == "portable" and device == "cpu"
        precision = "bf16" if native_bf16(device) and not bounded else "fp32"
    threads = run.threads if run.threads != "auto" else usable_cores()
    runtime = Runtime(device, precision, threads, run.seed, arithmetic, run.processes)
    require_devices(runtime)
    return runtime


def resolve_device(name: str, what: str = "device ") -> str:
    """A device as torch calls it; `auto`: CUDA, else MPS, else the CPU.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:N` for the GPU of this number, or `mps`.
        what: how a complaint begins.

    Raises:
        UsageError: it is none of these, or not there.
    """
    if name == "auto":
        return next(each for each in ("cuda", "mps", "cpu") if device_present(each))
    require_device(name, what)
    return name


def device_present(name: str) -> bool:
    """Whether torch can compute on `name` (`cpu`, `cuda`, `cuda:N` or `mps`) here."""
    kind, _, number = name.partition(":")
    if kind == "cuda" and re.fullmatch(DEVICES, name):
        return torch.cuda.is_available() and int(number or "0") < torch.cuda.device_count()
    if name == "mps":
        return torch.backends.mps.is_available()
    return name == "cpu"


def require_device(name: str, what: str = "run.device: ") -> None:
    """Make sure that a device is there.

    Raises:
        UsageError: it is not.
    """
    if device_present(name):
        return
    if name.startswith("cuda:") and (count := torch.cuda.device_count()):
        there = "cuda:0 alone" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise UsageError(f"{what}{name} is not available on this machine, which has {there}")
    raise UsageError(f"{what}{name} is not available on this machine; use cpu or auto")


def require_devices(runtime: Runtime) -> None:
    """Make sure that every process of a training on this host can have a device of its own.

    Raises:
        UsageError: it cannot.
    """
    if runtime.processes == 1:
        return
    processes_here = launch_local_size(runtime.processes)
    kind, _, number = runtime.device.partition(":")
    if kind == "mps" or number:
        raise UsageError(
            f"run.processes: {runtime.processes} processes cannot share the device {runtime.device}: use processes 1, "
            f"or device {'cuda' if number else 'cpu'}"
        )
    if kind == "cuda" and (there := torch.cuda.device_count()) < processes_here:
        raise UsageError(
            f"run.processes: {processes_here} processes need a GPU each, and this machine has {there}: use processes "
            f"{max(1, there)}, or device cpu"
        )


def native_bf16(device: str) -> bool:
    """Whether the device multiplies bf16 matrices faster than fp32 ones (AMX on a CPU, tensor cores on CUDA)."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device == "cpu" and "amx_bf16" in processor_features()


def random_states(device: str) -> dict[str, Tensor]:
    """The states of the generators that training on a device draws from: that of the CPU and its own."""
    states = {"torch": torch.get_rng_state()}
    if device == "cuda":
        states["cuda"] = torch.cuda.get_rng_state()
    elif device == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_states(states: dict[str, Tensor]) -> None:
    """Set the generators to what `random_states` gave."""
    torch.set_rng_state(states["torch"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])


def environment(runtime: Runtime) -> dict[str, Any]:
    """What besides code, data and parameters decides the bytes of a model."""
    on_cuda = runtime.kind == "cuda"
    return {
        "distill": __version__,
        "torch": torch.__version__,
        "torchaudio": version("torchaudio"),
        "vector_quantize_pytorch": version("vector-quantize-pytorch"),
        "numpy": version("numpy"),
        "soxr": version("soxr"),
        "libsndfile": soundfile.__libsndfile_version__,
        "processor": torch.cuda.get_device_name(runtime.device) if on_cuda else _processor(runtime.arithmetic),
        "cuda": torch.version.cuda or "" if on_cuda else "",
        "cudnn": str(torch.backends.cudnn.version()) if on_cuda else "",
        "arithmetic": runtime.arithmetic,
        "threads": runtime.threads,
        "precision": runtime.precision,
        "device": runtime.kind,
    }


def _processor(arithmetic: Arithmetic) -> str:
    """The instruction sets in use and, where MKL has code of its own for each, the maker."""
    if arithmetic == "portable":
        return "AVX2"
    return f"{torch.backends.cpu.get_cpu_capability()} {processor_maker()}".strip()
