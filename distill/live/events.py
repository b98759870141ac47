"""Events of a run and the listeners they go to."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.errors import DistillError, Interrupted

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """Something that happened in a stage."""

    stage: str


@dataclass(frozen=True)
class StageStarted(Event):
    """The stage begins; `config` holds its resolved parameters."""

    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageFinished(Event):
    """The stage is done; `report` is what it wrote to its report, `seconds` what it took."""

    report: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Progress(Event):
    """`done` of `total` units of work are behind us."""

    done: int
    total: int
    unit: str


@dataclass(frozen=True)
class Expected(Event):
    """What is expected of the whole run, in s: `left` until its end, `total` from its start to its end.

    `first` is left until sounds can be heard; None where the run makes none.
    """

    left: float
    total: float
    first: float | None


@dataclass(frozen=True)
class TrainingStarted(Event):
    """A training begins at `step` of `total_steps` (0 unless it resumes) with `steps_per_epoch` steps an epoch."""

    step: int
    total_steps: int
    steps_per_epoch: int


@dataclass(frozen=True)
class StepDone(Event):
    """A training step: its loss terms, the learning rate and, every few steps, the codebook health of its batch."""

    step: int
    epoch: int
    terms: dict[str, float]
    learning_rate: float
    health: dict[str, Any] | None


@dataclass(frozen=True)
class StepSkipped(Event):
    """A step whose loss or gradient was not finite; `in_row` such steps have followed each other."""

    step: int
    in_row: int


@dataclass(frozen=True)
class EpochDone(Event):
    """An epoch: `row` is its row in the history; times and speed are of this process alone.

    `steps_per_second` counts training alone, `eta_seconds` is the rest of this training.
    """

    row: dict[str, Any]
    health: dict[str, Any]
    seconds: float
    eta_seconds: float
    steps_per_second: float


@dataclass(frozen=True)
class PreviewWritten(Event):
    """Held-out originals and reconstructions were written to `files`."""

    epoch: int
    files: tuple[Path, ...]


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """The state of the training at `step` is on disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class LayerActivity(Event):
    """Mean absolute activation of each block of the network in one step, by the block's name."""

    step: int
    blocks: dict[str, float]


@dataclass(frozen=True)
class PlateauSeen(Event):
    """What an evaluation says about a plateau, as `distill.live.controller.get_plateau_info` gives it."""

    step: int
    info: dict[str, Any]


@dataclass(frozen=True)
class Tuned(Event):
    """Entry `seq` of the journal took effect after `step` steps; `changes` has (old, new) by parameter."""

    step: int
    seq: int
    who: str
    changes: dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class RolledBack(Event):
    """The training went back from `step` to step `to`; `abandoned` entries of the journal no longer count."""

    step: int
    to: int
    abandoned: int


@dataclass(frozen=True)
class Validated(Event):
    """The model was measured at `step` by a command; the figures are stored under `name`."""

    step: int
    name: str
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Paused(Event):
    """The training waits, or goes on when `paused` is false."""

    step: int
    paused: bool


@dataclass(frozen=True)
class Warned(Event):
    """Something the user should know; `kind` groups warnings of one sort."""

    kind: str
    message: str


Listener = Callable[[Event], None]


class Listeners:
    """Passes each event on to every listener.

    A listener that fails is reported once and left out from then on: watching never ends a training. Only a request to
    stop passes through.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = list(listeners)

    def with_listener(self, listener: Listener) -> "Listeners":
        """The same listeners and one more."""
        return Listeners([*self._listeners, listener])

    def __call__(self, event: Event) -> None:
        for listener in list(self._listeners):
            try:
                listener(event)
            except Interrupted:
                raise
            except Exception as error:
                self._listeners.remove(listener)
                known = isinstance(error, DistillError)
                said = f" ({error})" if known else ""
                name = type(listener).__name__
                logger.warning("%s failed and is left out from here on%s", name, said, exc_info=not known)
