"""Where a training stands, and its checkpoints as far as they can be read without weights and torch."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from distill.artifact.container import read_document, verify_container
from distill.errors import ArtifactError, UsageError

FORMAT = "distill_checkpoint"
BEST_FORMAT = "distill_best"
VERSION = 1

# Why a checkpoint was written: by the interval, to stay (`keep_interval`), or by a command.
Kind = Literal["regular", "kept", "asked"]


@dataclass
class Position:
    """Where a training stands, apart from tensors: all of it is plain JSON.

    `effects` are those of the journal so far, `settings` what is in force, `controller` what the controller remembers.
    """

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
    effects: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    controller: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it can be listed."""

    step: int
    kind: Kind
    written: str
    size: int
    position: Position


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints of a folder in the order of their steps."""
    return sorted(folder.glob("checkpoint-*.safetensors"))


def best_file(folder: Path, epoch: int) -> Path:
    """The weights of the best epoch so far, which checkpoints name."""
    return folder / f"best-{epoch:06d}.safetensors"


def find_checkpoint(folder: Path, step: int) -> Path:
    """The checkpoint of a step.

    Raises:
        UsageError: there is none.
    """
    files = {step_of(path): path for path in checkpoint_files(folder)}
    if step not in files:
        known = ", ".join(map(str, files)) or "none"
        raise UsageError(f"there is no checkpoint of step {step}; there are: {known}")
    return files[step]


def step_of(path: Path) -> int:
    """The step of a checkpoint."""
    return int(path.stem.partition("-")[2])


def kind_of(path: Path) -> Kind:
    """Why a checkpoint was written; `regular` where it cannot be read."""
    try:
        kind: Kind = read_document(path, format=FORMAT, version=VERSION).get("kind", "regular")
    except ArtifactError:
        return "regular"
    return kind


def abandon(path: Path) -> None:
    """Take a checkpoint out of the training's way.

    One that is to stay is set aside as `abandoned-<step>.safetensors`, with a number behind it where there is one.
    """
    if kind_of(path) == "regular":
        path.unlink(missing_ok=True)
        return
    name = path.stem.replace("checkpoint", "abandoned")
    others = len(list(path.parent.glob(f"{name}*.safetensors")))
    path.replace(path.with_name(f"{name}{f'-{others + 1}' if others else ''}.safetensors"))


def set_aside(path: Path) -> None:
    """Take a checkpoint that cannot be used out of the training's way, as `damaged-<step>.safetensors`."""
    with suppress(FileNotFoundError):
        path.replace(path.with_name(path.name.replace("checkpoint", "damaged", 1)))


def damaged_files(folder: Path) -> list[Path]:
    """The checkpoints that could not be used."""
    return sorted(folder.glob("damaged-*.safetensors"))


def abandoned_files(folder: Path) -> list[Path]:
    """The checkpoints that were set aside."""
    return sorted(folder.glob("abandoned-*.safetensors"))


def read_position(path: Path) -> Position:
    """Where the training stood at a checkpoint; weights are neither read nor checked.

    Raises:
        ArtifactError: the checkpoint is damaged or of another version.
        StorageError: it cannot be read.
    """
    return _position(read_document(path, format=FORMAT, version=VERSION), path)


def verified_position(folder: Path, step: int) -> Position:
    """Where the training stood at a step, whose checkpoint and best weights are checked to the last byte.

    Raises:
        UsageError: there is no such checkpoint.
        ArtifactError: it is damaged or of another version.
        StorageError: it cannot be read.
    """
    path = find_checkpoint(folder, step)
    position = _position(verify_container(path, format=FORMAT, version=VERSION), path)
    if position.best_epoch:
        verify_container(best_file(folder, position.best_epoch), format=BEST_FORMAT, version=VERSION)
    return position


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """All checkpoints of a folder that can be read, without their weights, in the order of their steps.

    A training that goes on meanwhile may put a newer checkpoint in the place of an older one; that one is left out.
    """
    found = []
    for path in checkpoint_files(folder):
        try:
            document = read_document(path, format=FORMAT, version=VERSION)
            position, size = _position(document, path), path.stat().st_size
        except (ArtifactError, FileNotFoundError):
            continue
        kind, written = document.get("kind", "regular"), document.get("written", "")
        found.append(Checkpoint(position.step, kind, written, size, position))
    return found


def _position(document: dict[str, Any], path: Path) -> Position:
    try:
        return Position(**document["position"])
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is a checkpoint of another version: {error}") from error
