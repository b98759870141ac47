"""The training loop, the same for every model."""

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.configs import LiveConfig, TrainingConfig
from distill.errors import ArtifactError, DistillError, Interrupted, StorageError, TrainingError
from distill.files import finite
from distill.live.controller import Measurement, State, get_plateau_info, observe
from distill.live.events import (
    CheckpointSaved,
    EpochDone,
    LayerActivity,
    Listeners,
    PlateauSeen,
    PreviewWritten,
    StepDone,
    StepSkipped,
    TrainingStarted,
    Warned,
)
from distill.live.parameters import Settings
from distill.live.steering import Steering
from distill.live.stop_request import StopRequest
from distill.models.health import Health
from distill.models.shard import Shard
from distill.training.checkpoint import Checkpoints
from distill.training.group import Group
from distill.training.leader import MOST_SKIPPED_IN_ROW, Leader, Signal
from distill.training.position import Kind, Position, verified_position
from distill.training.runtime import Runtime
from distill.training.step import Stepper
from distill.training.task import Concern, Evaluation, Task

# A killed training loses at most about this much; when it is saved changes nothing in the result.
CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Trained:
    """The outcome: the best epoch's weights, a row for each evaluated epoch, the warnings of the last.

    `best_loss` is what the best epoch has the least of (`Evaluation.criterion`).
    """

    state: dict[str, Tensor]
    best_epoch: int
    best_loss: float
    history: list[dict[str, Any]]
    warnings: dict[str, str]
    steps: int
    skipped: int

    @property
    def best_row(self) -> dict[str, Any]:
        """The row of the best epoch."""
        return next(row for row in self.history if row["epoch"] == self.best_epoch)


def train(
    task: Task,
    config: TrainingConfig,
    runtime: Runtime,
    checkpoints: Checkpoints,
    *,
    emit: Listeners,
    stop: StopRequest,
    steering: Steering | None = None,
    group: Group | None = None,
) -> Trained:
    """Train until the last epoch, an early stop or a request to stop, resuming from the newest checkpoint.

    With `steering` the training replays its journal, takes up changes while it runs, and goes on from the newest
    checkpoint that lies on the journal's way. With a `group` this is its first process, and the others `follow`.

    Raises:
        Interrupted: a stop was requested; the state is saved and the same call resumes.
        TrainingError: too many steps in a row were not finite; the state is saved, and the same call tries on from it.
        StorageError: another process trains here, or what is to be gone on from cannot be written.
    """
    with ExitStack() as stack:
        stack.enter_context(checkpoints.lock())
        if steering:
            stack.enter_context(steering.held())
        return _Loop(Stepper(task, config, runtime, group), config, checkpoints, emit, stop, steering).run()


class _Loop:
    def __init__(
        self,
        stepper: Stepper,
        config: TrainingConfig,
        checkpoints: Checkpoints,
        emit: Listeners,
        stop: StopRequest,
        steering: Steering | None,
    ) -> None:
        self.stepper, self.task, self.runtime = stepper, stepper.task, stepper.runtime
        self.optimizer, self.total_steps, self.leader = stepper.optimizer, stepper.total_steps, Leader(stepper)
        self.config, self.live = config, LiveConfig()
        self.checkpoints, self.emit, self.stop, self.steering = checkpoints, emit, stop, steering
        self.position = Position()
        self.best: dict[str, Tensor] | None = None
        self.best_saved = 0
        self.saved_at = time.monotonic()
        self.told: set[str] = set()
        self.controller = State()
        # Of this process alone; steps that were rolled back count.
        self.steps_here, self.training_seconds = 0, 0.0

    def run(self) -> Trained:
        restored = self.checkpoints.restore(self.task.model, self.optimizer, self._fits)
        self.position = restored or self.position
        if self.position.skipped_in_row >= MOST_SKIPPED_IN_ROW:
            # It ended for that reason; a new start is to try again.
            self.position.skipped_in_row = 0
        self.best_saved = self.position.best_epoch
        self.controller = State.restored(self.position.controller)
        self._leave_course()
        self.emit(TrainingStarted(self.task.stage, self.step, self.total_steps, self.task.steps_per_epoch))
        if restored is None:
            with self.leader.waited_for():
                self.task.start()
        if self.steering:
            self.steering.begin(self, self.position.effects)
        begun = time.monotonic()
        while True:
            self.leader.tell(self.position, self.config, self.live, self.controller.boost)
            if self.position.finished:
                return self._outcome()
            epoch_begun = time.monotonic()
            over = self._epoch()
            self.training_seconds += time.monotonic() - epoch_begun
            if not over:
                continue
            position, previews = self.position, self._previews()
            if position.epoch % self.live.validate_interval == 0 or position.epoch >= self.config.epochs:
                row, health = self._evaluate()
                elapsed = time.monotonic() - begun
                self.emit(
                    EpochDone(
                        self.task.stage,
                        row=row,
                        health=dict(health),
                        seconds=elapsed,
                        eta_seconds=elapsed / max(1, self.steps_here) * (self.total_steps - position.step),
                        steps_per_second=self.steps_here / max(1e-9, self.training_seconds),
                    )
                )
            if previews:
                self.emit(PreviewWritten(self.task.stage, position.epoch, previews))
            if position.finished or self._due():
                self._save_if_possible(self._regular_kind())

    @property
    def step(self) -> int:
        """Steps done."""
        return self.position.step

    def apply(self, settings: Settings) -> None:
        """Go on with these settings."""
        self.config, self.live = settings.training, settings.live
        self.task.configure(settings.training)

    def checkpoint(self) -> str:
        """Save the state for good; the file."""
        return str(self._save("asked"))

    def validate(self) -> dict[str, Any]:
        """Evaluate the model as it is; the figures by name."""
        evaluation = self._evaluation()
        losses = {"train_loss": evaluation.train_loss, "validation_loss": evaluation.validation_loss}
        return {**losses, **evaluation.row}

    def look_up(self, step: int) -> list[dict[str, Any]]:
        """The effects of the journal that the checkpoint of a step contains, of which every byte is checked."""
        return verified_position(self.checkpoints.folder, step).effects

    def roll_back(self, step: int) -> None:
        """Set everything to the checkpoint of a step, and forget later ones."""
        self.position = self.checkpoints.restore_step(step, self.task.model, self.optimizer)
        self.best, self.best_saved = None, self.position.best_epoch
        self.controller = State.restored(self.position.controller)
        self._leave_course()
        self.leader.moved = True

    def _leave_course(self) -> None:
        """Remove what was shown of epochs behind this position, which may come out otherwise now."""
        try:
            self.task.go_back(self.position.epoch)
        except StorageError as error:
            self._go_on_without("previews", error)

    def _fits(self, position: Position) -> bool:
        return self.steering is None or self.steering.fits(position.step, position.effects)

    def _epoch(self) -> bool:
        """Train until the end of the epoch; False where settings or the position changed before."""
        position, model = self.position, self.task.model
        model.train()
        for batch, shard in self.stepper.batches(position.epoch, position.step_in_epoch):
            if self.steering and self.steering.act(self, self.stop):
                # What was prepared ahead was prepared for other settings.
                self.leader.signal(Signal.LOOK)
                return False
            if self.stop.asked:
                self._save()
                self.leader.signal(Signal.END)
                raise Interrupted(
                    f"interrupted in epoch {position.epoch + 1} of {self.config.epochs}; its state is saved: "
                    "run the same command to resume"
                )
            if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
                self._save_if_possible()
            self.leader.signal(Signal.STEP)
            self._step(batch, shard)
        position.epoch += 1
        position.step_in_epoch = 0
        return True

    def _step(self, batch: Any, shard: Shard | None) -> None:
        position = self.position
        log = (position.step + 1) % self.live.log_interval == 0
        done = self.stepper.step(self.config, position.step, batch, shard, boost=self.controller.boost, log=log)
        position.step += 1
        position.step_in_epoch += 1
        if not done.finite:
            self._skip()
            return
        position.skipped_in_row = 0
        self.steps_here += 1
        health = None
        if done.indices is not None and log:
            health = dict(self.task.batch_health(done.indices))
        names, values = list(done.terms), torch.stack([term.detach() for term in done.terms.values()]).tolist()
        terms = dict(zip(names, values, strict=True))
        self.emit(StepDone(self.task.stage, position.step, position.epoch + 1, terms, done.rate, health))
        if done.activity:
            blocks = finite({name: float(value) for name, value in done.activity.items()})
            self.emit(LayerActivity(self.task.stage, position.step, blocks))

    def _skip(self) -> None:
        position = self.position
        position.skipped += 1
        position.skipped_in_row += 1
        self.emit(StepSkipped(self.task.stage, position.step, position.skipped_in_row))
        if position.skipped_in_row >= MOST_SKIPPED_IN_ROW:
            raise TrainingError(
                f"{MOST_SKIPPED_IN_ROW} steps in a row had a loss that is not finite (up to step {position.step}): "
                f"lower the learning rate, or use precision fp32; {self._kept()}"
            )

    def _kept(self) -> str:
        """Save everything there is at the end of a training that cannot go on; where it is, in words."""
        try:
            self._save()
        except (ArtifactError, StorageError) as error:
            return f"nothing is saved: {error}"
        position = self.position
        if not position.best_epoch:
            return "no epoch had been evaluated"
        loss = next(row["validation_loss"] for row in position.history if row["epoch"] == position.best_epoch)
        best = self.checkpoints.best(position.best_epoch)
        return f"the best so far, of epoch {position.best_epoch} (held-out loss {loss:.4g}), is {best}"

    def _evaluation(self) -> Evaluation:
        self.task.model.eval()
        with torch.no_grad(), self.runtime.autocast(), self.leader.waited_for():
            evaluation = self.task.evaluate()
        self.task.model.train()
        return evaluation

    def _previews(self) -> tuple[Path, ...]:
        self.task.model.eval()
        previews: tuple[Path, ...] = ()
        try:
            with torch.no_grad(), self.leader.waited_for():
                previews = self.task.preview(self.position.epoch)
        except StorageError as error:
            self._go_on_without("previews", error)
        self.task.model.train()
        return previews

    def _evaluate(self) -> tuple[dict[str, Any], Health]:
        position, config = self.position, self.config
        evaluation = self._evaluation()
        row, not_finite = named_not_finite(
            {
                "epoch": position.epoch,
                "step": position.step,
                "train_loss": evaluation.train_loss,
                "validation_loss": evaluation.validation_loss,
                "overfitting_gap": evaluation.gap,
                **evaluation.row,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "skipped_steps": position.skipped,
            }
        )
        position.history.append(row)
        if math.isfinite(evaluation.validation_loss) and (
            position.best_loss is None or evaluation.criterion < position.best_loss
        ):
            position.best_loss, position.best_epoch = evaluation.criterion, position.epoch
            self.best = {name: value.detach().clone() for name, value in self.task.model.state_dict().items()}
        self._watch_plateau(evaluation)
        concerns = self.task.concerns(position.history)
        if not_finite:
            concerns.append(Concern("not_finite", f"not finite and left out: {', '.join(not_finite)}"))
        row["warnings"] = "; ".join(concern.message for concern in concerns)
        position.warnings = {concern.kind: concern.message for concern in concerns}
        for concern in concerns:
            if concern.kind not in self.told:
                self.told.add(concern.kind)
                self.emit(Warned(self.task.stage, concern.kind, concern.message))
        waited = position.epoch - position.best_epoch
        position.finished = (
            position.epoch >= config.epochs
            or any(concern.stop for concern in concerns)
            or 0 < config.early_stop_patience <= waited
        )
        return row, evaluation.health

    def _watch_plateau(self, evaluation: Evaluation) -> None:
        warmup = self.config.warmup_fraction * self.total_steps
        seen = Measurement(
            evaluation.validation_loss, evaluation.quality, evaluation.high_frequencies, self.step < warmup
        )
        values = self.steering.settings.values() if self.steering else {}
        weights = {name: value for name, value in values.items() if name.startswith("weight_")}
        self.controller, actions = observe(self.controller, seen, self.live, weights)
        if self.steering and actions.changes:
            self.steering.intervene(self, actions.changes)
        self.emit(PlateauSeen(self.task.stage, self.step, finite(get_plateau_info(self.controller, self.live))))

    def _due(self) -> bool:
        regular = self.position.epoch % self.config.checkpoint_interval == 0
        return regular or self._regular_kind() == "kept" or self.stop.asked

    def _regular_kind(self) -> Kind:
        interval = self.live.keep_interval
        return "kept" if interval and self.position.epoch % interval == 0 else "regular"

    def _save_if_possible(self, kind: Kind = "regular") -> None:
        """Save; a disk that is full for a while costs what a crash would then lose, and not the training."""
        try:
            self._save(kind)
        except (ArtifactError, StorageError) as error:
            self.saved_at = time.monotonic()
            self._go_on_without("checkpoint", error)

    def _go_on_without(self, what: str, error: DistillError) -> None:
        self.emit(Warned(self.task.stage, f"no_{what}", f"the training continues without {what}: {error}"))

    def _save(self, kind: Kind = "regular") -> Path:
        position = self.position
        if self.steering:
            position.effects, position.settings = self.steering.effects(), self.steering.settings.values()
        position.controller = self.controller.values()
        if self.best is not None and self.best_saved != position.best_epoch:
            self.checkpoints.save_best(self.best, position.best_epoch)
            self.best_saved = position.best_epoch
        path = self.checkpoints.save(self.task.model, self.optimizer, position, kind)
        self.saved_at = time.monotonic()
        self.emit(CheckpointSaved(self.task.stage, position.step, path))
        return path

    def _outcome(self) -> Trained:
        position = self.position
        if position.best_loss is None:
            raise TrainingError("no epoch had a finite held-out loss: lower the learning rate, or use precision fp32")
        if self.best is None or self.best_saved == position.best_epoch:
            state = self.checkpoints.load_best(position.best_epoch)
        else:
            state = {name: value.cpu() for name, value in self.best.items()}
        return Trained(
            state=state,
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
