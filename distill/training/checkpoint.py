"""Checkpoints of a training: written whole, verified, the newest intact one is used."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from distill.artifact.container import read_container, write_container
from distill.errors import ArtifactError, StorageError
from distill.locks import tried
from distill.training.position import (
    BEST_FORMAT,
    FORMAT,
    VERSION,
    Kind,
    Position,
    abandon,
    abandoned_files,
    best_file,
    checkpoint_files,
    damaged_files,
    find_checkpoint,
    kind_of,
    read_position,
    set_aside,
    step_of,
)
from distill.training.runtime import random_states, restore_random_states

logger = logging.getLogger(__name__)


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
        with tried(self.folder / "lock") as alone:
            if not alone:
                raise StorageError(f"another process is training in {self.folder}: wait for it, or stop it")
            yield

    def save(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, position: Position, kind: Kind = "regular"
    ) -> Path:
        """Write a checkpoint, read it back, and only then remove those that are no longer kept.

        Those of the kinds `asked` and `kept` stay.

        Raises:
            StorageError: it cannot be written.
            ArtifactError: what was written does not read back.
        """
        tensors = state_of(model, optimizer)
        path = self.folder / f"checkpoint-{position.step:09d}.safetensors"
        if kind == "regular" and path.is_file():
            kind = kind_of(path)
        document = {"format": FORMAT, "version": VERSION, "position": vars(position), "kind": kind}
        written = {"written": datetime.now(UTC).isoformat(timespec="seconds")}
        write_container(path, tensors, {**document, **written})
        read_container(path, format=FORMAT, version=VERSION)
        self._prune(position)
        return path

    def save_best(self, state: dict[str, Tensor], epoch: int) -> None:
        """Write the weights of the best epoch so far.

        Raises:
            StorageError: they cannot be written.
        """
        write_container(self.best(epoch), state, {"format": BEST_FORMAT, "version": VERSION, "epoch": epoch})

    def best(self, epoch: int) -> Path:
        """The file with the weights of the best epoch."""
        return best_file(self.folder, epoch)

    def load_best(self, epoch: int) -> dict[str, Tensor]:
        """Read the weights of the best epoch.

        Raises:
            ArtifactError: they are damaged.
        """
        return read_container(self.best(epoch), format=BEST_FORMAT, version=VERSION).tensors

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        fits: Callable[[Position], bool],
    ) -> Position | None:
        """Set model, optimizer and random states to the newest intact checkpoint that fits; None when there is none.

        Those that do not fit belong to another course of the training and are abandoned (see `abandon`), damaged ones
        are set aside.
        """
        for path in reversed(checkpoint_files(self.folder)):
            try:
                if not fits(read_position(path)):
                    abandon(path)
                    continue
                return self._restore(path, model, optimizer)
            except (ArtifactError, StorageError) as error:
                logger.warning("checkpoint ignored, using an older one if there is one: %s", error)
                if isinstance(error, ArtifactError):
                    set_aside(path)
        return None

    def restore_step(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Position:
        """Set everything to the checkpoint of a step and abandon later ones.

        Raises:
            UsageError: there is none.
            ArtifactError: it is damaged; nothing is changed.
        """
        position = self._restore(find_checkpoint(self.folder, step), model, optimizer)
        for path in checkpoint_files(self.folder):
            if step_of(path) > step:
                abandon(path)
        return position

    def clear(self) -> None:
        """Remove every checkpoint."""
        checkpoints = (*checkpoint_files(self.folder), *abandoned_files(self.folder), *damaged_files(self.folder))
        for path in [*checkpoints, *self._best_files()]:
            path.unlink(missing_ok=True)

    def _restore(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Position:
        container = read_container(path, format=FORMAT, version=VERSION)
        position = read_position(path)
        if position.best_epoch:
            self.load_best(position.best_epoch)
        set_state(container.tensors, model, optimizer)
        return position

    def _prune(self, position: Position) -> None:
        # One from farther on that cannot be read just now does not count.
        files = [path for path in checkpoint_files(self.folder) if step_of(path) <= position.step]
        kept = [path for path in files[: -self.keep] if kind_of(path) != "regular"] + files[-self.keep :]
        for path in files:
            if path not in kept:
                path.unlink(missing_ok=True)
        for path in damaged_files(self.folder)[: -self.keep]:
            path.unlink(missing_ok=True)
        named = [*checkpoint_files(self.folder), *abandoned_files(self.folder)]
        try:
            best = {self.best(position.best_epoch), *(self.best(self._best_epoch(path)) for path in named)}
        except StorageError:
            # Which weights it needs cannot be told just now.
            return
        for path in self._best_files():
            if path not in best:
                path.unlink(missing_ok=True)

    def _best_files(self) -> list[Path]:
        return list(self.folder.glob("best-*.safetensors"))

    def _best_epoch(self, path: Path) -> int:
        try:
            return read_position(path).best_epoch
        except ArtifactError:
            return 0


def _device_of(model: nn.Module) -> str:
    return next(model.parameters()).device.type


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of a training: weights and buffers, what the optimizer remembers, and the random states."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"random.{name}": value for name, value in random_states(_device_of(model)).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    return tensors


@torch.no_grad()
def set_state(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Set a training to what `state_of` gave."""
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
