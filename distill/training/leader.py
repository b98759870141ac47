"""How the first process of a training leads the others: what they do between two steps, and where all of them stand."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from torch import Tensor

from distill.configs import LiveConfig, TrainingConfig
from distill.errors import TrainingError
from distill.live.parameters import Settings
from distill.training.checkpoint import set_state, state_of
from distill.training.group import Group
from distill.training.position import Position
from distill.training.runtime import Runtime
from distill.training.step import Stepper
from distill.training.task import Task

MOST_SKIPPED_IN_ROW = 10


class Signal(IntEnum):
    """What the first process has the others do before a step."""

    STEP = 0
    # It changed settings or went back: they hear anew where all stand.
    LOOK = 1
    # Its state is saved and it ends.
    END = 2


@dataclass(frozen=True)
class Situation:
    """Where all processes stand when an epoch begins or goes on; `tensors` where they are not where they were."""

    position: Position
    settings: Settings
    boost: float
    tensors: dict[str, Tensor] | None


class Leader:
    """The part of the first process; of one that computes alone it does nothing.

    Attributes:
        moved: weights, optimizer and random states are not those that the others have.
    """

    def __init__(self, stepper: Stepper) -> None:
        self.stepper = stepper
        self.moved = True

    def tell(self, position: Position, config: TrainingConfig, live: LiveConfig, boost: float) -> None:
        """Tell the others where all stand."""
        if (group := self.stepper.group) is None:
            return
        model = self.stepper.task.model
        tensors = None
        if self.moved:
            # Each takes them to its own device.
            tensors = {name: value.cpu() for name, value in state_of(model, self.stepper.optimizer).items()}
        group.broadcast(Situation(position, Settings(config, live), boost, tensors))
        self.moved = False
        if not position.finished:
            group.make_alike(model)

    def waited_for(self) -> AbstractContextManager[None]:
        """What the first process does alone and all weights follow from."""
        return self.stepper.group.with_all_threads() if self.stepper.group is not None else nullcontext()

    def signal(self, signal: Signal) -> None:
        """Tell the others what to do next."""
        if self.stepper.group is not None:
            self.stepper.group.broadcast_number(signal)


def follow(task: Task, config: TrainingConfig, runtime: Runtime, group: Group | None) -> dict[str, Any]:
    """Train as one of several processes, of which another leads, until that one has finished; an empty report.

    Raises:
        TrainingError: the first process is gone, or says what it says when too many steps are not finite.
    """
    assert group is not None
    stepper = Stepper(task, config, runtime, group)
    while True:
        situation: Situation | None = group.broadcast(None)
        assert situation is not None
        if situation.tensors is not None:
            set_state(situation.tensors, task.model, stepper.optimizer)
        if situation.position.finished:
            return {}
        task.configure(situation.settings.training)
        group.make_alike(task.model)
        if _epoch(stepper, situation, group) is Signal.END:
            return {}


def _epoch(stepper: Stepper, situation: Situation, group: Group) -> Signal:
    position, task = situation.position, stepper.task
    task.model.train()
    for batch, shard in stepper.batches(position.epoch, position.step_in_epoch):
        signal = Signal(group.broadcast_number(0))
        if signal is not Signal.STEP:
            return signal
        config = situation.settings.training
        step = stepper.step(config, position.step, batch, shard, boost=situation.boost, log=False)
        position.step += 1
        position.skipped_in_row = 0 if step.finite else position.skipped_in_row + 1
        if position.skipped_in_row >= MOST_SKIPPED_IN_ROW:
            raise TrainingError(f"{MOST_SKIPPED_IN_ROW} steps in a row had a loss that is not finite")
    return Signal.LOOK
