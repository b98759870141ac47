"""Whether this process is one of several that train together, and which; free of torch."""

import os

# Variables of torchrun, which a process that the first one starts gets as well.
RANK, SIZE, LOCAL_RANK, LOCAL_SIZE = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"


def launch_rank() -> int | None:
    """The number of this process among those that were launched together; None: it was launched alone."""
    return int(os.environ[RANK]) if RANK in os.environ and SIZE in os.environ else None


def launch_size() -> int:
    """How many processes were launched together; 1: this one alone."""
    return _number(SIZE, 1)


def launch_local_size(alone: int) -> int:
    """How many of them are on this host; `alone` where this process was launched alone."""
    return _number(LOCAL_SIZE, alone)


def local_rank() -> int:
    """The number of this process among those of its host."""
    return _number(LOCAL_RANK, 0)


def is_follower() -> bool:
    """Whether another process leads."""
    return bool(launch_rank())


def _number(name: str, alone: int) -> int:
    return int(os.environ.get(name, alone)) if launch_rank() is not None else alone
