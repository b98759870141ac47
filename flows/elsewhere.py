"""A run on a worker that shares nothing but addresses: what it checks, takes, puts back, and holds among workers."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from distill.errors import DistillError, UsageError
from distill.locks import require_open
from distill.tracking.address import ADDRESS, tracking_on
from distill.versions.dvc import check_out, dvc
from distill.versions.worker_clone import Origin, require_remote, require_same_version

# Messages of a store, a record or a server that is unreachable, rather than one that refuses.
_AWAY = re.compile(
    r"could not connect|cannot connect|connection (?:refused|reset|aborted|was closed)|does not answer|answers there|"
    r"timed? ?out|server disconnected|service ?unavailable|slow ?down|internal ?error|the database system is",
    re.IGNORECASE,
)
# Between two tries; all in all ten minutes.
_DELAYS = (2, 4, 8, 16, 30, *[60] * 9)
# A place that a dead worker held is free again after so long.
LEASE_SECONDS = 60

_Result = TypeVar("_Result")


def require_shared(project: Path, origin: Origin) -> None:
    """Make sure that what a run makes here reaches the others.

    Raises:
        UsageError: this worker has another distill, or lacks an address.
        StorageError: DVC fails.
    """
    require_same_version(origin)
    if tracking_on() and not os.environ.get(ADDRESS):
        raise UsageError(f"this worker would record into a file of its own: set {ADDRESS} where it is started")
    require_remote(project)


def fetch_sounds(project: Path, path: str) -> None:
    """Bring the sounds of a run from DVC's remote.

    Raises:
        DataError: they are nowhere.
    """
    persistently(lambda: check_out(project, path, remote=True))


def put_back(root: Path, stage: str) -> None:
    """Put what a stage made, and what it followed from, on DVC's remote.

    Raises:
        StorageError: the remote refuses it, or stays away.
    """
    persistently(lambda: dvc(root, "push", "--run-cache", stage))


def persistently(act: Callable[[], _Result]) -> _Result:
    """Do something that needs another machine, with retries while that machine is unreachable.

    Raises:
        DistillError: as `act` does, at once where trying again would not help.
        Interrupted: this process runs no more stages.
    """
    for delay in _DELAYS:
        try:
            return act()
        except (DistillError, httpx.TransportError) as error:
            if isinstance(error, DistillError) and not _AWAY.search(str(error)):
                raise
            get_run_logger().warning("%s; trying again in %d s", error, delay)
        wait(delay)
    return act()


def wait(seconds: float) -> None:
    """Wait for so long.

    Raises:
        Interrupted: this process runs no more stages.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        require_open()
        time.sleep(0.2)


@contextmanager
def across_hosts(key: str) -> Iterator[None]:
    """Hold a key among all workers of a Prefect server, by a global concurrency limit of one place.

    The limit is deleted when the block ends well: waiting workers find the result then.
    """
    name = f"distill-{key}"

    def make() -> None:
        with get_client(sync_client=True) as client:
            try:
                client.upsert_global_concurrency_limit_by_name(name, limit=1)
            except httpx.HTTPStatusError as error:
                # Another worker may have made it just now.
                if error.response.status_code != 409:
                    raise

    persistently(make)
    # A server that restarts must not end a training; then the place may be taken twice, which costs time alone.
    done = False
    try:
        with concurrency(name, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False):
            yield
            done = True
        with get_client(sync_client=True) as client, suppress(ObjectNotFound):
            client.delete_global_concurrency_limit_by_name(name)
    except httpx.HTTPError:
        # What was done is there. Without its server the place becomes free when its lease ends.
        if not done:
            raise
