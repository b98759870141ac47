"""The processes of one training: how they find each other, and what they tell each other.

The first one starts the others, or torchrun starts all of them, on one host or several. Each computes a part of every
batch (`distill.models.shard`); the first one alone evaluates, saves, listens and is steered.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import Store

from distill.errors import TrainingError
from distill.live.processes import launch_rank, local_rank
from distill.training.runtime import Runtime, environment

Shared = TypeVar("Shared")

INTERFACE = "GLOO_SOCKET_IFNAME"
LOOPBACK = "127.0.0.1"
# The others wait while the first one evaluates or is paused. A process that ends is noticed at once, as its connection
# breaks.
PATIENCE = timedelta(days=30)


class Group:
    """The processes of a training, all of which call the same methods in the same order.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
        threads: of this process.
    """

    def __init__(self, threads: int) -> None:
        self.rank, self.size, self.threads = dist.get_rank(), dist.get_world_size(), threads

    @property
    def first(self) -> bool:
        """Whether this process leads the others."""
        return self.rank == 0

    @contextmanager
    def with_all_threads(self) -> Iterator[None]:
        """Compute with as many threads as all processes have, while the others wait.

        Processes on other hosts count too, so that the bytes do not depend on where the processes are.
        """
        torch.set_num_threads(self.threads * self.size)
        try:
            yield
        finally:
            torch.set_num_threads(self.threads)

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """The sum of the tensors of all processes, the same bits in each; without a gradient."""
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        with _connected():
            dist.all_reduce(total)
        return total

    def all_gather(self, tensor: Tensor, rows: Sequence[int]) -> Tensor:
        """The tensors of all processes, which have so many rows each, one behind the other; without a gradient."""
        most, own = max(rows), tensor.detach().contiguous()
        if len(own) < most:
            own = torch.cat([own, own.new_zeros(most - len(own), *own.shape[1:])])
        parts = [torch.empty_like(own) for _ in rows]
        with _connected():
            dist.all_gather(parts, own)
        return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])

    def broadcast_number(self, number: int) -> int:
        """The number of the first process, in all of them."""
        sent = torch.tensor(number)
        with _connected():
            dist.broadcast(sent, 0)
        return int(sent)

    def broadcast(self, value: Shared) -> Shared:
        """The value of the first process, of any kind, in all of them."""
        box: list[Any] = [value if self.first else None]
        with _connected():
            dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
        found: Shared = box[0]
        return found

    def make_alike(self, model: nn.Module) -> None:
        """Let every process have the weights and buffers of the first one.

        Where kernels have no deterministic form, what each computes for itself would drift apart.
        """
        tensors = list(model.state_dict().values())
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            chosen = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in chosen])
            with _connected():
                dist.broadcast(flat, 0)
            if not self.first:
                for tensor, part in zip(chosen, flat.split([each.numel() for each in chosen]), strict=True):
                    tensor.copy_(part.view(tensor.shape))

    def require_same(self, what: dict[str, Any]) -> None:
        """Make sure that all processes have the same facts.

        Raises:
            TrainingError: one has others, named in all processes.
        """
        found: list[Any] = [None] * self.size
        with _connected():
            dist.all_gather_object(found, what)
        for rank, facts in enumerate(found):
            for name, value in facts.items():
                if value != found[0][name]:
                    raise TrainingError(
                        f"the processes of a training must have the same {name}, but process {rank + 1} of {self.size} "
                        f"has {value}, the first one {found[0][name]}"
                    )


def runtime_here(runtime: Runtime) -> Runtime:
    """What one of several processes computes with: its share of the threads, and a GPU of its own."""
    device = f"cuda:{local_rank()}" if runtime.device == "cuda" else runtime.device
    return replace(runtime, device=device, threads=max(1, runtime.threads // runtime.processes))


@contextmanager
def join_group(runtime: Runtime, store: Store | None) -> Iterator[Group]:
    """The group of a training, once all of its processes are there.

    Args:
        runtime: of this process.
        store: by which the first process and those that it has started find each other; None: torchrun started them.

    Raises:
        TrainingError: a process is missing, or has another version, processor or setting.
    """
    if store is not None and INTERFACE not in os.environ and (name := _loopback_interface()):
        os.environ[INTERFACE] = name
    # What is on the CPU goes by gloo whatever the device.
    backend = "cpu:gloo,cuda:nccl" if runtime.kind == "cuda" else "gloo"
    rank = launch_rank() or 0
    with _connected():
        # Without a store it is torchrun's, which knows the numbers as well.
        dist.init_process_group(backend, store=store, rank=rank, world_size=runtime.processes, timeout=PATIENCE)
    try:
        group = Group(runtime.threads)
        group.require_same(environment(runtime))
        yield group
    finally:
        dist.destroy_process_group()


class ProcessLost(TrainingError):
    """Another process of the training is gone."""


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost(
            f"the processes of the training lost each other: {' '.join(str(error).split())[:200]}"
        ) from error


def _loopback_interface() -> str | None:
    """The network interface that no other host can reach."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == LOOPBACK for each in addresses):
            return name
    return None
