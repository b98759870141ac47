"""GPUs for trainings that run beside each other: each has some of its own as long as there are enough."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NoReturn

from distill.configs import RunConfig
from distill.locks import acquire

VISIBLE = "CUDA_VISIBLE_DEVICES"


class _Taken(Exception):
    """Another training has this slot."""


@contextmanager
def gpus_for(project: Path, run: RunConfig) -> Iterator[dict[str, str]]:
    """The variables by which the stages of a run see GPUs that no other run of the project has, until the block ends.

    A run takes one GPU for each of its processes. Where all are taken, runs share them. There is nothing to say where
    this process sees fewer than two GPUs, and for a run that is not to choose among them.

    Raises:
        StorageError: the locks cannot be made.
    """
    names = visible_gpus() if run.device in ("auto", "cuda") else []
    if len(names) < 2:
        yield {}
        return
    slot, descriptor = _free_slot(project / ".distill" / "gpus")
    try:
        first = slot * run.processes
        chosen = dict.fromkeys(names[number % len(names)] for number in range(first, first + run.processes))
        yield {VISIBLE: ",".join(chosen)}
    finally:
        os.close(descriptor)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA names them."""
    if (given := os.environ.get(VISIBLE)) is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    # The driver's own tool says it at once, where torch would be loaded for seconds to say that there are none.
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return []
    return [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]


def _free_slot(folder: Path) -> tuple[int, int]:
    """The first free number, and the descriptor of its lock."""

    def refuse() -> NoReturn:
        raise _Taken

    for number in count():
        try:
            return number, acquire(folder / f"{number}.lock", refuse)
        except _Taken:
            continue
    raise AssertionError("numbers do not end")
