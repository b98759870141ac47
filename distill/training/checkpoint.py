"""Checkpoints of a training: written whole, verified, the newest intact one is used."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.artifact.container import read_container, read_document, write_container
from distill.errors import ArtifactError, StorageError
from distill.files import storage_errors
from distill.training.runtime import random_states, restore_random_states

logger = logging.getLogger(__name__)

FORMAT = "distill_checkpoint"
VERSION = 1
BEST_FORMAT = "distill_best"


@dataclass
class Position:
    """Where a training stands, apart from tensors: all of it is plain JSON."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    skipped_in_row: int = 0
    skipped: int = 0
    finished: bool = False
    best_epoch: int = 0
    best_loss: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    warnings: dict[str, str] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one training in one folder, of which one process is the writer.

    `checkpoint-<step>.safetensors` hold model, optimizer, random states and position; `best-<epoch>.safetensors`
    the weights of the best epoch so far, written before the checkpoint that names it.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one writer; the operating system frees the lock when its owner dies.

        Raises:
            StorageError: another process trains here, or the folder cannot be written.
        """
        path = self.folder / "lock"
        with storage_errors(path, "write"):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StorageError(f"another process is training in {self.folder}: wait for it, or stop it") from error
            yield
        finally:
            os.close(descriptor)

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, position: Position) -> Path:
        """Write a checkpoint, read it back, and only then remove those that are no longer kept.

        Raises:
            StorageError: it cannot be written.
            ArtifactError: what was written does not read back.
        """
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        tensors |= {f"random.{name}": value for name, value in random_states().items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        path = self.folder / f"checkpoint-{position.step:09d}.safetensors"
        write_container(path, tensors, {"format": FORMAT, "version": VERSION, "position": vars(position)})
        read_container(path, format=FORMAT, version=VERSION)
        self._prune(position)
        return path

    def save_best(self, state: dict[str, Tensor], epoch: int) -> None:
        """Write the weights of the best epoch so far.

        Raises:
            StorageError: they cannot be written.
        """
        write_container(self._best(epoch), state, {"format": BEST_FORMAT, "version": VERSION, "epoch": epoch})

    def load_best(self, epoch: int) -> dict[str, Tensor]:
        """Read the weights of the best epoch.

        Raises:
            ArtifactError: they are damaged.
        """
        return read_container(self._best(epoch), format=BEST_FORMAT, version=VERSION).tensors

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Position | None:
        """Set model, optimizer and random states to the newest intact checkpoint; None when there is none."""
        for path in reversed(self._checkpoints()):
            try:
                container = read_container(path, format=FORMAT, version=VERSION)
                position = Position(**container.document["position"])
                if position.best_epoch:
                    self.load_best(position.best_epoch)
            except (ArtifactError, StorageError, TypeError) as error:
                logger.warning("checkpoint left out, an older one is used if there is one: %s", error)
                continue
            _restore(container.tensors, model, optimizer)
            return position
        return None

    def clear(self) -> None:
        """Remove every checkpoint."""
        for path in [*self._checkpoints(), *self.folder.glob("best-*.safetensors")]:
            path.unlink(missing_ok=True)

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch:06d}.safetensors"

    def _checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint-*.safetensors"))

    def _prune(self, position: Position) -> None:
        kept = self._checkpoints()[-self.keep :]
        for path in self._checkpoints()[: -self.keep]:
            path.unlink(missing_ok=True)
        best = {self._best(position.best_epoch), *(self._best(self._best_epoch(path)) for path in kept)}
        for path in self.folder.glob("best-*.safetensors"):
            if path not in best:
                path.unlink(missing_ok=True)

    def _best_epoch(self, path: Path) -> int:
        try:
            return int(read_document(path, format=FORMAT, version=VERSION)["position"]["best_epoch"])
        except ArtifactError:
            return 0


@torch.no_grad()
def _restore(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "random": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = tensor
    model.load_state_dict(groups["model"])
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in groups["optimizer"].items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:
            # The fused kernel walks through both in the order of their memory.
            tensor = torch.empty_like(parameter).copy_(tensor)
        states.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    restore_random_states(groups["random"])
