"""A batch that several processes share: which items this one computes, and layers that see the batch as a whole.

In a `shared` block the layers of this module, and the quantizer, compute what one process with the whole batch would:
they draw the same random numbers in every process and take statistics over the items of all. Outside of one they
behave as torch's own.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class Peers(Protocol):
    """The processes that share a batch. All of them call the same methods in the same order.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
    """

    rank: int
    size: int

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """The sum of the tensors of all processes; without a gradient."""

    def all_gather(self, tensor: Tensor, rows: Sequence[int]) -> Tensor:
        """The tensors of all processes, which have so many rows each, one behind the other; without a gradient."""


def part_of(total: int, rank: int, size: int) -> slice:
    """The items of a batch that a process computes: consecutive ones, as many as the others do, or one more.

    Where there are fewer items than processes, each computes all of them.

    >>> [part_of(8, rank, 3) for rank in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
    """
    if total < size:
        return slice(0, total)
    each, more = divmod(total, size)
    first = rank * each + min(rank, more)
    return slice(first, first + each + (rank < more))


@dataclass(frozen=True)
class Shard:
    """What this process computes of a batch of `total` items.

    A batch of fewer items than there are processes is computed by every one of them as if it were alone, and what the
    first one finds counts.
    """

    peers: Peers
    total: int

    @property
    def split(self) -> bool:
        """Whether the processes have different items."""
        return self.total >= self.peers.size

    @property
    def items(self) -> slice:
        """The items that this process computes."""
        return part_of(self.total, self.peers.rank, self.peers.size)

    @property
    def rows(self) -> list[int]:
        """How many items each process computes."""
        parts = [part_of(self.total, rank, self.peers.size) for rank in range(self.peers.size)]
        return [part.stop - part.start for part in parts]

    @property
    def share(self) -> float:
        """What a mean over the items of this process counts in the mean over the batch."""
        if not self.split:
            return float(self.peers.rank == 0)
        return (self.items.stop - self.items.start) / self.total


_current: ContextVar[Shard | None] = ContextVar("shard", default=None)


@contextmanager
def shared(shard: Shard | None) -> Iterator[None]:
    """Compute a shard of a batch; None: the whole batch, alone."""
    token = _current.set(shard if shard is not None and shard.split else None)
    try:
        yield
    finally:
        _current.reset(token)


def current_shard() -> Shard | None:
    """The shard that is computed here; None where this process computes alone."""
    return _current.get()


class Dropout(nn.Dropout):
    """Dropout; every process draws the numbers of the whole batch and takes those of its items.

    On the CPU torch draws 64 bits for each number, one after the other, and takes three to four times as long.
    """

    def forward(self, x: Tensor) -> Tensor:
        shard = current_shard()
        if not self.training or not self.p or (shard is None and x.device.type != "cpu"):
            return super().forward(x)
        if shard is None:
            return x * _kept(x.shape, self.p, x)
        return x * _kept((shard.total, *x.shape[1:]), self.p, x)[shard.items]


def _kept(shape: Sequence[int], p: float, like: Tensor) -> Tensor:
    """What each number is multiplied by: 0 for a share `p` of them, to 16 bits, and 1 / (1 - p) for the others."""
    if like.device.type != "cpu":
        return functional.dropout(like.new_ones(shape), p)
    count = math.prod(shape)
    drawn = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    return (drawn >= min(round(p * 2**16), 2**16 - 1) - 2**15).view(shape).to(like.dtype).div_(1.0 - p)


class Dropout2d(nn.Dropout2d):
    """The same of whole channels, `[batch, channels, height, width]`."""

    def forward(self, x: Tensor) -> Tensor:
        shard = current_shard()
        if shard is None or not self.training:
            return super().forward(x)
        kept = functional.dropout2d(x.new_ones(shard.total, x.shape[1], 1, 1), self.p)
        return x * kept[shard.items]


class BatchNorm2d(nn.BatchNorm2d):
    """torch's batch normalization, with mean and variance over the items of all processes.

    torch's own for several processes knows no CPU.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, x: Tensor) -> Tensor:
        shard = current_shard()
        if shard is None or not self.training:
            return super().forward(x)
        with torch.no_grad():
            values = x.to(torch.promote_types(x.dtype, torch.float32))
            mean = shard.peers.all_reduce(shard.share * _means(values))
            variance = shard.peers.all_reduce(shard.share * _means((values - mean.view(1, -1, 1, 1)).square()))
            count = shard.total * x.shape[2] * x.shape[3]
            self.num_batches_tracked += 1
            momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), momentum)
        found_here: Tensor = _Normalize.apply(x, self.weight, self.bias, mean, variance, self.eps, shard.peers, count)
        return found_here


def _means(x: Tensor) -> Tensor:
    """The mean of each channel of `[batch, channels, height, width]`."""
    if x.device.type == "cpu":
        # torch's normalization loses a hundred times as much to rounding as its plain mean does. Summed in the same
        # way, two processes of a thread find what one process of two threads finds.
        return torch.batch_norm_update_stats(x, None, None, 0.0)[0]
    return x.mean((0, 2, 3))


class _Normalize(torch.autograd.Function):
    """Normalization by the mean and variance of a batch, through which the gradient flows to the items of all."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        epsilon: float,
        peers: Peers,
        count: int,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.epsilon, ctx.peers, ctx.count = epsilon, peers, count
        return functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=epsilon)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        # As if mean and variance were constants; its sums over this process's items are those of weight and bias.
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, variance, None, None, False, ctx.epsilon, [True, True, True]
        )
        whole_weight, whole_bias = ctx.peers.all_reduce(torch.stack([of_weight, of_bias]))
        scale = (variance + ctx.epsilon).rsqrt()
        slope = weight * scale.square() * whole_weight / ctx.count
        offset = weight * scale * whole_bias / ctx.count - slope * mean
        shape = (1, -1, 1, 1)
        of_x = of_x - torch.addcmul(offset.view(shape).to(x), slope.view(shape).to(x), x)
        return of_x, of_weight, of_bias, None, None, None, None, None
