"""What a model brings to the training loop."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from distill.dataset.split import TRAIN, VALIDATION
from distill.models.health import Health
from distill.models.shard import Peers, Shard

# An evaluation hears no more held-out items than these, or than the steps of an epoch: it takes no longer than they do.
EVALUATED = 128


def add_terms(sums: dict[str, float], terms: Mapping[str, Tensor], count: int) -> None:
    """Add the terms of a batch, means over so many items, to sums over all items."""
    for name, value in terms.items():
        sums[name] = sums.get(name, 0.0) + float(value) * count


def row_of(train: Mapping[str, float], validation: Mapping[str, float]) -> dict[str, Any]:
    """The terms of both splits, each by its split and its name, as they lie in the history."""
    both = {TRAIN: train, VALIDATION: validation}
    return {f"{split}_{name}": value for split, terms in both.items() for name, value in terms.items()}


@dataclass(frozen=True)
class StepLoss:
    """Loss of one batch: the scalar to minimize, its named terms, and the codes of the batch where it has some.

    Of a batch that processes share (`distill.models.shard`), loss and terms are what the items of this process add to
    those of the batch.
    """

    total: Tensor
    terms: dict[str, Tensor]
    indices: Tensor | None = None


@dataclass(frozen=True)
class Evaluation:
    """The model after an epoch, in evaluation mode, on clean training items and on held-out ones.

    Both losses are the same function of the same kind of items; `row` holds what else belongs to the history. `quality`
    is a held-out figure that no weight changes, better when lower; `high_frequencies` as in `controller.Measurement`;
    `reconstruction` the held-out loss without what says nothing of the output, where there is such a part.
    """

    train_loss: float
    validation_loss: float
    row: dict[str, Any]
    health: Health = field(default_factory=dict)
    quality: float = math.nan
    high_frequencies: float | None = None
    reconstruction: float | None = None

    @property
    def criterion(self) -> float:
        """What the best epoch has the least of."""
        return self.validation_loss if self.reconstruction is None else self.reconstruction

    @property
    def gap(self) -> float:
        """How far the held-out loss lies above that of training, relative to it."""
        return (self.validation_loss - self.train_loss) / max(abs(self.train_loss), 1e-12)


@dataclass(frozen=True)
class Concern:
    """A warning about the training so far; `stop` ends it with this epoch."""

    kind: str
    message: str
    stop: bool = False


class Task(Protocol):
    """What a model brings to the loop. Evaluation and previews draw from no global generator."""

    stage: str
    steps_per_epoch: int

    @property
    def model(self) -> nn.Module:
        """The network, on its device."""

    def configure(self, config: Any) -> None:
        """Go on with other parameters, of those that may change; losses of evaluations stay those of the start."""

    def start(self) -> None:
        """Prepare an untrained model for its first step."""

    def batches(self, epoch: int, first_step: int) -> Iterator[Any]:
        """The batches of an epoch from `first_step` on, the same whenever they are asked for."""

    def shards(self, epoch: int, first_step: int, peers: Peers) -> Iterator[tuple[Any, Shard]]:
        """What this process computes of each of these batches, and which part of it that is."""

    def loss(self, batch: Any) -> StepLoss:
        """Loss of a batch in training mode."""

    def batch_health(self, indices: Tensor) -> Health:
        """Codebook health of a batch."""

    def evaluate(self) -> Evaluation:
        """Evaluate after an epoch."""

    def preview(self, epoch: int) -> tuple[Path, ...]:
        """Write previews if this epoch is due; the files written."""

    def go_back(self, epoch: int) -> None:
        """Remove previews of later epochs: the training goes on from this one, maybe on another course.

        Raises:
            StorageError: they cannot be removed.
        """

    def concerns(self, history: list[dict[str, Any]]) -> list[Concern]:
        """Warnings after an epoch, from its row and those before."""
