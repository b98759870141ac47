"""Which instruction sets of the processor the numeric libraries use: said once, before they are loaded."""

import os
import sys
from pathlib import Path
from typing import Literal

from distill.errors import UsageError

Arithmetic = Literal["native", "portable"]

# What each library reads, numpy and its OpenBLAS while they are loaded, the others before their first product. MKL
# promises equal code on processors of every maker by COMPATIBLE alone. What is not named here (soxr, libsndfile, the
# mathematics of the C library) has no code for what lies beyond AVX2.
_PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
}


def use(arithmetic: Arithmetic) -> None:
    """Make this process, and those that it starts, compute in one way; before numpy and torch are loaded.

    `portable` gives the same bytes on every x86-64 processor with AVX2; on others it is the same as `native`.

    Raises:
        UsageError: the libraries are loaded already and would not heed it.
    """
    if arithmetic == "native" or not portable_here() or in_force() == "portable":
        return
    if "numpy" in sys.modules:
        raise UsageError(
            "run.arithmetic: portable comes too late, numpy is loaded: call distill.instructions.use('portable') "
            "before anything else is imported, or use native"
        )
    os.environ.update(_PORTABLE)


def in_force() -> Arithmetic:
    """How this process computes."""
    return "portable" if all(os.environ.get(name) == value for name, value in _PORTABLE.items()) else "native"


def portable_here() -> bool:
    """Whether this processor can do what `portable` asks for, and says so."""
    return "avx2" in processor_features()


def processor_features() -> frozenset[str]:
    """The processor's feature flags, empty where the system does not tell them."""
    return frozenset(_told("flags").split() or _told("Features").split())


def processor_maker() -> str:
    """Who made the processor, as it says itself; empty where the system does not tell."""
    return _told("vendor_id")


def _told(name: str) -> str:
    """What the system says first of a property of its processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in found if key.strip() == name), "")
