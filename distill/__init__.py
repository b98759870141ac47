"""Train a generative audio model on a few sounds of one's own.

>>> import distill
>>> distill.load("gone.distill")
Traceback (most recent call last):
...
distill.errors.ArtifactError: gone.distill does not exist; expected a distill_model file there
"""

import importlib
import os
from typing import Any

# MKL otherwise adds up in an order that depends on where in memory a process happens to hold its numbers. It reads
# this once, before its first product.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# Threads of OpenMP otherwise spin while they wait for each other. Beside other work the one that they wait for may have
# lost its core to that work, or to those that spin. It is read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

# What `distill.api` gives, which brings torch along: the command needs none of it at its start.
_API = ("Model", "NewSound", "check", "load", "train")


def __getattr__(name: str) -> Any:
    if name in _API:
        return getattr(importlib.import_module("distill.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
