"""Work that the tests have done in other processes, which find this module where they are told to."""

import os
import signal
import time
from pathlib import Path


def where(common: str, item: int) -> tuple[int, str]:
    """Which process works on an item."""
    return os.getpid(), f"{common}{item}"


def slowly(_common: None, item: int) -> int:
    time.sleep(0.2)
    return item


def dies_at(common: tuple[Path, int, int], item: int) -> int:
    """Work that kills its process at an item, as often as is asked for; what died is counted in a folder."""
    folder, at, times = common
    if item == at and len(list(folder.iterdir())) < times:
        (folder / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * item


def fails(_common: None, item: int) -> int:
    raise ValueError(f"item {item}")


def prints(_common: None, item: int) -> int:
    print("not an answer")  # noqa: T201
    os.write(1, b"nor this\n")
    return item


def registers(model: Path, project: Path, ready: Path) -> int:
    """Register a model once what it takes is loaded; its version."""
    from distill.registry.registration import register
    from distill.tracking.address import client_of

    client_of(project)
    ready.touch()
    return register(model, project).version
