"""The processes of a training stage: which runtime each has, and how they come together."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from distill.configs import MOST_PROCESSES
from distill.errors import DistillError, UsageError
from distill.live.processes import is_follower, launch_rank, launch_size
from distill.programs import PYTHON
from distill.stages.workspace import Call
from distill.training.group import Group, ProcessLost, join_group, runtime_here
from distill.training.launch import Started, store_of_first
from distill.training.runtime import Runtime, require_devices

logger = logging.getLogger(__name__)

LOST_SECONDS = 2.0


class Team:
    """The processes of a training as one of them sees them; a training of one process is a team of its own.

    Attributes:
        runtime: what this process computes with.
        first: whether this process leads: it alone writes files, emits events and is steered.
    """

    def __init__(self, runtime: Runtime, started: Started | None, stack: ExitStack) -> None:
        self.runtime, self.first = runtime, not is_follower()
        self._started, self._stack = started, stack
        self._several = runtime.processes > 1

    def meet(self) -> Group | None:
        """Wait for the others, once in a training; None where there are none.

        Raises:
            TrainingError: one of them is gone, or differs.
        """
        if not self._several:
            return None
        if self._started is not None:
            self._started.wait_until_ready()
        store = self._started.store if self._started is not None else store_of_first()
        return self._stack.enter_context(join_group(self.runtime, store))


@contextmanager
def team_of(call: Call, stage: str, runtime: Runtime) -> Iterator[Team]:
    """The processes that a training is configured for: those that torchrun has started, or others are started here.

    Raises:
        UsageError: there is another number of processes than is configured, or there are fewer GPUs.
        TrainingError: one of them ended before the training was done.
    """
    size = runtime.processes
    if launch_rank() is not None and launch_size() != size:
        raise UsageError(
            f"{launch_size()} processes were started, but run.processes is {size}: start {size}, or set run.processes "
            "and run the stage configure again"
        )
    if size == 1:
        with ExitStack() as stack:
            yield Team(runtime, None, stack)
        return
    require_devices(runtime)
    started = None
    if launch_rank() is None:
        command = [*PYTHON, "-m", "distill", "stage", stage, "--workspace", str(call.workspace.root), "--quiet"]
        started = Started(command, size, call.stop)
    done = False
    try:
        with ExitStack() as stack:
            yield Team(runtime_here(runtime), started, stack)
        done = True
    except DistillError as error:
        if started is not None:
            # What went wrong here may follow from what went wrong there, which takes a moment to be known.
            started.require_all(within=LOST_SECONDS if isinstance(error, ProcessLost) else 0.0)
        raise
    finally:
        if started is not None:
            started.end(done=done)


def tell_of_others(call: Call, stage: str, runtime: Runtime, key: Callable[[Runtime], str]) -> None:
    """Say so where the same training was begun with another number of processes: it is another one, and begins anew."""
    mine = call.workspace.state(stage, key(runtime))
    if mine.exists():
        return
    for size in range(1, MOST_PROCESSES + 1):
        if call.workspace.state(stage, key(replace(runtime, processes=size))).exists():
            logger.warning(
                "%s: begun with run.processes %d before; with %d it is another training, which begins anew",
                stage,
                size,
                runtime.processes,
            )
            return
