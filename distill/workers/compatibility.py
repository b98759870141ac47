"""What has to be the same in two processes so that both give the same results."""

import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from distill import __version__
from distill.instructions import in_force, processor_maker

_PACKAGES = ("torch", "torchaudio", "vector-quantize-pytorch", "numpy", "soxr", "soundfile")


@lru_cache(maxsize=1)
def facts() -> dict[str, str]:
    """Versions of what computes, and which instructions of the processor it uses, of this process."""
    # Before torch, whose instructions it sets.
    import torch

    import distill.arithmetic  # noqa: F401

    arithmetic = in_force()
    capability = f"{torch.backends.cpu.get_cpu_capability()} {processor_maker()}".strip()
    return {
        "distill": __version__,
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{name: _version(name) for name in _PACKAGES},
        "arithmetic": arithmetic,
        "processor": "any with AVX2" if arithmetic == "portable" else capability,
    }


def difference(mine: dict[str, str], theirs: dict[str, str]) -> str:
    """The first thing in which a worker differs from its caller, in words; empty where both are the same.

    >>> difference({"distill": "2.0"}, {"distill": "1.0"})
    'distill 1.0, and not 2.0'
    """
    for name, value in mine.items():
        if theirs.get(name) != value:
            return f"{name} {theirs.get(name, 'that is not known')}, and not {value}"
    return ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
