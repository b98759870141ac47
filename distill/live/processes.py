"""Whether this process is one of several that train together, and which; free of torch."""

import os

# Variables of torchrun, which a process that the first one starts gets as well.
RANK, SIZE, LOCAL_RANK, LOCAL_SIZE = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"


def begun_rank() -> int | None:
    """The number of this process where somebody has started it as one of several; None: nobody has."""
    return int(os.environ[RANK]) if RANK in os.environ and SIZE in os.environ else None


def begun_size() -> int:
    """How many processes somebody has started; 1 where nobody has."""
    return _number(SIZE, 1)


def begun_here(alone: int) -> int:
    """How many of them are on this host; `alone` where nobody has started this one."""
    return _number(LOCAL_SIZE, alone)


def local_rank() -> int:
    """The number of this process among those of its host."""
    return _number(LOCAL_RANK, 0)


def is_follower() -> bool:
    """Whether another process leads."""
    return bool(begun_rank())


def _number(name: str, alone: int) -> int:
    return int(os.environ.get(name, alone)) if begun_rank() is not None else alone
