"""Arithmetic that is the same on every processor: what it bounds, and the digests that other machines had."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.artifact.model_file import read_manifest
from distill.configs import RunConfig
from distill.errors import UsageError
from distill.instructions import in_force, portable_here, use
from distill.training import runtime
from distill.training.runtime import Runtime, environment, random_states, resolve_runtime
from pipeline_util import make_workspace, run

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "explanation" / "reproducibility.md"

needs_avx2 = pytest.mark.skipif(not portable_here(), reason="portable is for x86-64 processors with AVX2")

BOUNDED = """
import sys
from distill.instructions import in_force, use
assert "numpy" not in sys.modules and "torch" not in sys.modules
use("portable")
import torch
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
print(in_force(), torch.backends.cpu.get_cpu_capability(), [n for n in __cpu_dispatch__ if __cpu_features__[n]])
"""


# A machine may set these for its own reasons; they decide the code that native arithmetic takes.
CHOICES = ("ATEN_", "MKL_", "NPY_", "ONEDNN_", "OPENBLAS_")


def child(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh process in which a warning is an error, and nothing is chosen for it."""
    unset = {name: value for name, value in os.environ.items() if not name.startswith(CHOICES)}
    environment = {**unset, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=250)


@needs_avx2
def test_portable_uses_avx2_and_nothing_beyond_it() -> None:
    done = child("-c", BOUNDED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "portable AVX2 ['X86_V3']"


@needs_avx2
def test_portable_is_refused_where_it_comes_too_late() -> None:
    assert in_force() == "native"
    use("native")
    with pytest.raises(UsageError, match="numpy is loaded"):
        use("portable")
    with pytest.raises(UsageError, match="this process uses another"):
        Runtime(device="cpu", precision="fp32", threads=1, seed=0, arithmetic="portable").apply()


def test_portable_stands_for_native_where_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = RunConfig(device="cpu", precision="auto", arithmetic="portable")
    monkeypatch.setattr(runtime, "portable_here", lambda: False)
    assert resolve_runtime(asked).arithmetic == "native"
    monkeypatch.setattr(runtime, "portable_here", lambda: True)
    monkeypatch.setattr(runtime, "native_bf16", lambda device: True)
    # Tiles of AMX are beyond AVX2.
    assert (resolve_runtime(asked).arithmetic, resolve_runtime(asked).precision) == ("portable", "fp32")
    assert resolve_runtime(RunConfig(device="cpu")).precision == "bf16"


@needs_avx2
def test_a_stage_computes_as_params_yaml_says(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, run={"arithmetic": "portable"})
    run(workspace, "prepare", "configure")
    command = [sys.executable, "-m", "distill", "stage", "train_vqvae", "-w", str(tmp_path), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    said = read_manifest(workspace.vqvae).lineage.environment
    assert (said.arithmetic, said.processor) == ("portable", "AVX2")


def measured(arithmetic: str) -> dict[str, str]:
    done = child("scripts/arithmetic_digest.py", arithmetic)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@needs_avx2
def test_digests_are_those_that_other_machines_had() -> None:
    rows = re.findall(r"^\| (\w+ AVX\S+) \| (\w+) \| ([\d.]+) \| `(\w+)` \|$", TABLE.read_text(), flags=re.MULTILINE)
    known = {(processor, arithmetic, torch): digest for processor, arithmetic, torch, digest in rows}
    assert known
    unknown = []
    for arithmetic in ("native", "portable"):
        found = measured(arithmetic)
        row = (found["processor"], found["arithmetic"], found["torch"])
        if row in known:
            assert found["digest"] == known[row], row
        else:
            unknown.append(f"| {' | '.join(row)} | `{found['digest']}` |")
    if unknown:
        # Nobody has seen this processor compute: that is to be told, and is no fault of the code.
        pytest.xfail(f"please add to {TABLE.relative_to(ROOT)}: {' '.join(unknown)}")


def test_lineage_names_every_version_that_decides_bytes() -> None:
    said = environment(Runtime(device="cpu", precision="fp32", threads=2, seed=0))
    libraries = ("distill", "torch", "torchaudio", "vector_quantize_pytorch", "numpy", "soxr", "libsndfile")
    assert all(re.match(r"\d+\.\d+", said[name]) for name in libraries)
    assert said["numpy"] == np.__version__
    assert said["arithmetic"] == "native"
    assert torch.backends.cpu.get_cpu_capability() in said["processor"]
    portable = environment(Runtime(device="cpu", precision="fp32", threads=2, seed=0, arithmetic="portable"))
    assert portable["processor"] == "AVX2"


def test_a_float32_is_multiplied_as_one_on_cuda() -> None:
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"


def test_memory_is_not_filled_by_deterministic_algorithms() -> None:
    Runtime(device="cpu", precision="fp32", threads=1, seed=0).apply()
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory


def test_random_states_are_those_of_the_device_in_use() -> None:
    assert list(random_states("cpu")) == ["torch"]


@pytest.mark.gpu
def test_random_states_of_the_gpu_in_use_are_kept_alone() -> None:
    assert list(random_states("cuda")) == ["torch", "cuda"]
    assert environment(Runtime(device="cuda", precision="fp32", threads=2, seed=0))["cuda"]
