"""The training loop, the same for every model."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from distill.configs import TrainingConfig
from distill.errors import Interrupted, TrainingError
from distill.files import finite
from distill.live.events import (
    CheckpointSaved,
    EpochDone,
    Listeners,
    PreviewWritten,
    StepDone,
    StepSkipped,
    TrainingStarted,
    Warned,
)
from distill.live.stopping import StopRequest
from distill.models.health import Health
from distill.training.checkpoint import Checkpoints, Position
from distill.training.runtime import Runtime

HEALTH_INTERVAL = 20
MOST_SKIPPED_IN_ROW = 10
# A killed training loses at most about this much; when it is saved changes nothing in the result.
CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class StepLoss:
    """Loss of one batch: the scalar to minimise, its named terms, and the health of the batch if it is asked for."""

    total: Tensor
    terms: dict[str, Tensor]
    indices: Tensor | None = None


@dataclass(frozen=True)
class Evaluation:
    """The model after an epoch, in evaluation mode, on clean training items and on all held-out ones.

    Both losses are the same function of the same kind of items; `row` holds what else belongs to the history.
    """

    train_loss: float
    validation_loss: float
    row: dict[str, Any]
    health: Health = field(default_factory=dict)


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

    def start(self) -> None:
        """Prepare an untrained model for its first step."""

    def batches(self, epoch: int, first_step: int) -> Iterator[Any]:
        """The batches of an epoch from `first_step` on, the same whenever they are asked for."""

    def loss(self, batch: Any) -> StepLoss:
        """Loss of a batch in training mode."""

    def batch_health(self, indices: Tensor) -> Health:
        """Codebook health of a batch."""

    def evaluate(self) -> Evaluation:
        """Evaluate after an epoch."""

    def preview(self, epoch: int) -> tuple[Path, ...]:
        """Write previews if this epoch is due; the files written."""

    def concerns(self, history: list[dict[str, Any]]) -> list[Concern]:
        """Warnings after an epoch, from its row and those before."""


@dataclass(frozen=True)
class Trained:
    """The outcome: the best epoch's weights, the history with a row an epoch, the warnings of the last epoch."""

    state: dict[str, Tensor]
    best_epoch: int
    best_loss: float
    history: list[dict[str, Any]]
    warnings: dict[str, str]
    steps: int
    skipped: int


def learning_rate(config: TrainingConfig, step: int, total_steps: int) -> float:
    """Linear warm-up, then a cosine from `learning_rate` down to `min_learning_rate`."""
    warmup = int(config.warmup_fraction * total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    span = config.learning_rate - config.min_learning_rate
    return config.min_learning_rate + span * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def train(
    task: Task,
    config: TrainingConfig,
    runtime: Runtime,
    checkpoints: Checkpoints,
    *,
    emit: Listeners,
    stop: StopRequest,
) -> Trained:
    """Train until the last epoch, an early stop or a request to stop, resuming from the newest checkpoint.

    Raises:
        Interrupted: somebody asked to stop; the state is saved and the same call goes on from it.
        TrainingError: too many steps in a row were not finite.
        StorageError: a checkpoint cannot be written, or another process trains here.
    """
    with checkpoints.lock():
        return _Loop(task, config, runtime, checkpoints, emit, stop).run()


class _Loop:
    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        runtime: Runtime,
        checkpoints: Checkpoints,
        emit: Listeners,
        stop: StopRequest,
    ) -> None:
        self.task, self.config, self.runtime = task, config, runtime
        self.checkpoints, self.emit, self.stop = checkpoints, emit, stop
        self.total_steps = config.epochs * task.steps_per_epoch
        self.optimizer = torch.optim.AdamW(
            task.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.position = Position()
        self.best: dict[str, Tensor] | None = None
        self.best_saved = 0
        self.saved_at = time.monotonic()
        self.told: set[str] = set()

    def run(self) -> Trained:
        restored = self.checkpoints.restore(self.task.model, self.optimizer)
        position = self.position = restored or self.position
        self.best_saved = position.best_epoch
        self.emit(TrainingStarted(self.task.stage, position.step, self.total_steps, self.task.steps_per_epoch))
        if restored is None:
            self.task.start()
        first_step, begun, training_seconds = position.step, time.monotonic(), 0.0
        while not position.finished:
            epoch_begun = time.monotonic()
            self._epoch()
            training_seconds += time.monotonic() - epoch_begun
            row, health = self._evaluate()
            elapsed = time.monotonic() - begun
            done = position.step - first_step
            self.emit(
                EpochDone(
                    self.task.stage,
                    row=row,
                    health=dict(health),
                    seconds=elapsed,
                    eta_seconds=elapsed / max(1, done) * (self.total_steps - position.step),
                    steps_per_second=done / max(1e-9, training_seconds),
                )
            )
            if position.finished or self._due():
                self._save()
        return self._outcome()

    def _epoch(self) -> None:
        position, model = self.position, self.task.model
        model.train()
        for batch in self.task.batches(position.epoch, position.step_in_epoch):
            if self.stop.asked:
                self._save()
                raise Interrupted(
                    f"interrupted in epoch {position.epoch + 1} of {self.config.epochs}; it is saved: "
                    "the same command goes on from here"
                )
            if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
                self._save()
            self._step(batch)
        position.epoch += 1
        position.step_in_epoch = 0

    def _step(self, batch: Any) -> None:
        position, model = self.position, self.task.model
        rate = learning_rate(self.config, position.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Codebooks and running statistics change in the forward pass, before it is known to be finite.
        buffers = [buffer.clone() for buffer in model.buffers()]
        with self.runtime.autocast():
            loss = self.task.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), self.config.gradient_clip)
        position.step += 1
        position.step_in_epoch += 1
        if not bool(torch.isfinite(loss.total) & torch.isfinite(norm)):
            with torch.no_grad():
                for buffer, before in zip(model.buffers(), buffers, strict=True):
                    buffer.copy_(before)
            self._skip()
            return
        self.optimizer.step()
        position.skipped_in_row = 0
        health = None
        if loss.indices is not None and position.step % HEALTH_INTERVAL == 0:
            health = dict(self.task.batch_health(loss.indices))
        names, values = list(loss.terms), torch.stack([term.detach() for term in loss.terms.values()]).tolist()
        terms = dict(zip(names, values, strict=True))
        self.emit(StepDone(self.task.stage, position.step, position.epoch + 1, terms, rate, health))

    def _skip(self) -> None:
        position = self.position
        position.skipped += 1
        position.skipped_in_row += 1
        self.emit(StepSkipped(self.task.stage, position.step, position.skipped_in_row))
        if position.skipped_in_row >= MOST_SKIPPED_IN_ROW:
            raise TrainingError(
                f"{MOST_SKIPPED_IN_ROW} steps in a row gave a loss that is not finite (up to step {position.step}): "
                "lower the learning rate, or use precision fp32"
            )

    def _evaluate(self) -> tuple[dict[str, Any], Health]:
        position, config = self.position, self.config
        self.task.model.eval()
        with torch.no_grad():
            with self.runtime.autocast():
                evaluation = self.task.evaluate()
            previews = self.task.preview(position.epoch)
        self.task.model.train()
        row, not_finite = named_not_finite(
            {
                "epoch": position.epoch,
                "step": position.step,
                "train_loss": evaluation.train_loss,
                "validation_loss": evaluation.validation_loss,
                "overfitting_gap": _gap(evaluation),
                **evaluation.row,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "skipped_steps": position.skipped,
            }
        )
        position.history.append(row)
        if math.isfinite(evaluation.validation_loss) and (
            position.best_loss is None or evaluation.validation_loss < position.best_loss
        ):
            position.best_loss, position.best_epoch = evaluation.validation_loss, position.epoch
            self.best = {name: value.detach().clone() for name, value in self.task.model.state_dict().items()}
        concerns = self.task.concerns(position.history)
        if not_finite:
            concerns.append(Concern("not_finite", f"not finite and left out: {', '.join(not_finite)}"))
        row["warnings"] = "; ".join(concern.message for concern in concerns)
        position.warnings = {concern.kind: concern.message for concern in concerns}
        for concern in concerns:
            if concern.kind not in self.told:
                self.told.add(concern.kind)
                self.emit(Warned(self.task.stage, concern.kind, concern.message))
        if previews:
            self.emit(PreviewWritten(self.task.stage, position.epoch, previews))
        waited = position.epoch - position.best_epoch
        position.finished = (
            position.epoch >= config.epochs
            or any(concern.stop for concern in concerns)
            or 0 < config.early_stop_patience <= waited
        )
        return row, evaluation.health

    def _due(self) -> bool:
        return self.position.epoch % self.config.checkpoint_interval == 0 or self.stop.asked

    def _save(self) -> None:
        position = self.position
        if self.best is not None and self.best_saved != position.best_epoch:
            self.checkpoints.save_best(self.best, position.best_epoch)
            self.best_saved = position.best_epoch
        path = self.checkpoints.save(self.task.model, self.optimizer, position)
        self.saved_at = time.monotonic()
        self.emit(CheckpointSaved(self.task.stage, position.step, path))

    def _outcome(self) -> Trained:
        position = self.position
        if position.best_loss is None:
            raise TrainingError("no epoch had a finite held-out loss: lower the learning rate, or use precision fp32")
        return Trained(
            state=self.checkpoints.load_best(position.best_epoch),
            best_epoch=position.best_epoch,
            best_loss=position.best_loss,
            history=position.history,
            warnings=position.warnings,
            steps=position.step,
            skipped=position.skipped,
        )


def named_not_finite(row: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The row with None for each number that is not finite, and the names of those."""
    clean: dict[str, Any] = finite(row)
    return clean, [name for name in row if row[name] is not None and clean[name] is None]


def _gap(evaluation: Evaluation) -> float:
    return (evaluation.validation_loss - evaluation.train_loss) / max(abs(evaluation.train_loss), 1e-12)
