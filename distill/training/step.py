"""One optimizer step, of a process alone or of several that share the batch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distill.configs import TrainingConfig
from distill.models.shard import Shard, shared
from distill.training.block_activity import measure_activity
from distill.training.group import Group
from distill.training.prefetch import prefetch
from distill.training.runtime import Runtime
from distill.training.task import StepLoss, Task


@dataclass(frozen=True)
class Step:
    """What a step came to: the loss terms of the batch, the learning rate, and whether all of it was finite.

    Where it was not, weights and buffers are as they were before. `indices` are the codes of the batch and `activity`
    that of the network's blocks, where they were asked for.
    """

    terms: dict[str, Tensor]
    rate: float
    finite: bool
    indices: Tensor | None
    activity: dict[str, Tensor]


def learning_rate(config: TrainingConfig, step: int, total_steps: int) -> float:
    """Linear warm-up, then a cosine from `learning_rate` down to `min_learning_rate`."""
    warmup = int(config.warmup_fraction * total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    span = config.learning_rate - config.min_learning_rate
    return config.min_learning_rate + span * (1 + math.cos(math.pi * min(1.0, progress))) / 2


class Stepper:
    """Does the steps of a training.

    Attributes:
        optimizer: AdamW over all weights.
        total_steps: those of the whole training.

    Args:
        task: the model and its loss.
        config: parameters of the start.
        runtime: where and how it is computed.
        group: the processes that share each batch; None: this one computes alone.
    """

    def __init__(self, task: Task, config: TrainingConfig, runtime: Runtime, group: Group | None) -> None:
        self.task, self.runtime, self.group = task, runtime, group
        self.total_steps = config.epochs * task.steps_per_epoch
        self.optimizer = torch.optim.AdamW(
            task.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )

    def batches(self, epoch: int, first_step: int) -> Iterator[tuple[Any, Shard | None]]:
        """What this process computes of the batches of an epoch, and which part of each that is; None: all of it."""
        found = self._batches(epoch, first_step)
        # The processor makes the next batches while another device computes; its own cores have nothing to spare.
        return found if self.runtime.kind == "cpu" else prefetch(found)

    def _batches(self, epoch: int, first_step: int) -> Iterator[tuple[Any, Shard | None]]:
        if self.group is not None:
            yield from self.task.shards(epoch, first_step, self.group)
            return
        for batch in self.task.batches(epoch, first_step):
            yield batch, None

    def step(
        self, config: TrainingConfig, number: int, batch: Any, shard: Shard | None, *, boost: float, log: bool
    ) -> Step:
        """Do a step.

        Args:
            config: the parameters in force.
            number: of the step, from 0.
            batch: what this process computes of the batch.
            shard: which part of it that is; None: all of it.
            boost: factor of the learning rate.
            log: whether the activity of the network's blocks is measured.
        """
        model = self.task.model
        rate = learning_rate(config, number, self.total_steps) * boost
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Codebooks and running statistics change in the forward pass, before it is known to be finite.
        buffers = [buffer.clone() for buffer in model.buffers()]
        with self.runtime.autocast(), measure_activity(model, on=log) as activity, shared(shard):
            loss = self.task.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        if self.group is None or shard is None:
            loss.total.backward()
            total, terms = loss.total, loss.terms
        else:
            total, terms = self._of_all(loss, shard, self.group)
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        finite = bool(torch.isfinite(total) & torch.isfinite(norm))
        if finite:
            self.optimizer.step()
        else:
            with torch.no_grad():
                for buffer, before in zip(model.buffers(), buffers, strict=True):
                    buffer.copy_(before)
        return Step(terms, rate, finite, loss.indices, activity)

    def _of_all(self, loss: StepLoss, shard: Shard, group: Group) -> tuple[Tensor, dict[str, Tensor]]:
        """Give each weight the gradient of the whole batch; the loss of that batch and its terms.

        Parts of a loss add up, and so do their gradients: one sum over all processes of everything in a row. Each gets
        the same bits, and so do the weights.
        """
        factor = 1.0 if shard.split else shard.share
        (loss.total * factor).backward()
        gradients = [weight.grad for weight in self.task.model.parameters() if weight.grad is not None]
        figures = [loss.total.detach() * factor, *(term.detach() * factor for term in loss.terms.values())]
        parts = [*gradients, *(figure.float() for figure in figures)]
        summed = group.all_reduce(torch.cat([part.reshape(-1) for part in parts]))
        found = summed.split([part.numel() for part in parts])
        for gradient, whole in zip(gradients, found, strict=False):
            gradient.copy_(whole.view(gradient.shape))
        total, *terms = (figure.reshape(()) for figure in found[len(gradients) :])
        return total, dict(zip(loss.terms, terms, strict=True))
