"""Which place work is done at."""

import os

from distill.workers.place import Here, Place
from distill.workers.processes import Processes

# Processes take 2 to 3 s to start, and two of them do about a third more than two threads: below this they do not pay.
PROCESS_SECONDS = 20.0
# Dask's own name for it.
ADDRESS = "DASK_SCHEDULER_ADDRESS"


def place_for(seconds: float, workers: int, dask: str | None = None) -> Place:
    """The place for work of about this many seconds of one core.

    Args:
        seconds: of one core.
        workers: threads or processes of this machine.
        dask: address of a Dask scheduler; without it the one that DASK_SCHEDULER_ADDRESS names.

    Raises:
        UsageError: the cluster cannot be used.
    """
    address = dask or os.environ.get(ADDRESS)
    if not address:
        return place_here(seconds, workers)
    # What uses a model needs no Dask.
    from distill.workers.cluster import Cluster

    return Cluster(address)


def place_here(seconds: float, workers: int) -> Place:
    """The same on this machine."""
    return Processes(workers) if workers > 1 and seconds >= PROCESS_SECONDS else Here(workers)
