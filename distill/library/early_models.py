"""Models to hear from what a run has so far, before it has finished: one after the other, as its prior gets better."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.artifact.manifest import Manifest
from distill.artifact.model_file import EXTENSION, MODEL_FILES, ModelFile, read_manifest, read_model, write_model
from distill.artifact.prior_file import PriorFile, read_prior
from distill.configs import PriorConfig
from distill.errors import DistillError
from distill.live.folder import RunFolder
from distill.stages.workspace import Workspace, read_config, section
from distill.training.position import Position, checkpoint_files, read_position

STAGE = "train_prior"
# The next one is made when the prior is better, and has seen so much more of its training.
EVERY_SHARE = 0.2
_PERCENT = re.compile(r"-early-(\d+)$")


@dataclass(frozen=True)
class EarlyModel:
    """A model file, and after how much of the prior's training it was made, from 0 to 1."""

    path: Path
    share: float


def early_models(root: Path) -> list[EarlyModel]:
    """Those that were made of a run, the newest first; they lie in the run's folder."""
    found = []
    for path in _folder(root).glob(MODEL_FILES):
        if match := _PERCENT.search(path.stem):
            found.append(EarlyModel(path, int(match[1]) / 100))
    return sorted(found, key=lambda each: -each.share)


def renewed_models(root: Path) -> list[EarlyModel]:
    """The same, with one more where the run's prior has become better since the last.

    Raises:
        StorageError: it cannot be written.
    """
    known, workspace = early_models(root), Workspace(root)
    if not workspace.vqvae.is_file() or (known and workspace.prior.is_file()):
        return known
    # What is written meanwhile is read the next time.
    with suppress(DistillError):
        if workspace.prior.is_file():
            model = read_model(workspace.vqvae)
            _write(workspace, model, read_prior(workspace.prior, vqvae_digest=model.digest), 1.0)
        elif better := _better(workspace, known):
            position, share = better
            model = read_model(workspace.vqvae)
            _write(workspace, model, _so_far(workspace, model, position), share)
    return early_models(root)


def _better(workspace: Workspace, known: list[EarlyModel]) -> tuple[Position, float] | None:
    """The newest checkpoint of a prior that is worth to be heard after those that are known, and its share."""
    from distill.runs.phase_seconds import FIRST_SHARE

    folder, _ = RunFolder(workspace.root, STAGE).noted()
    files = checkpoint_files(folder)
    if not files:
        return None
    position = read_position(files[-1])
    share = position.epoch / read_config(workspace, STAGE)["prior"]["epochs"]
    if share < (known[0].share + EVERY_SHARE if known else FIRST_SHARE) or position.best_loss is None:
        return None
    heard = read_manifest(known[0].path).prior_metadata if known else None
    return None if heard is not None and heard.best_epoch == position.best_epoch else (position, share)


def _so_far(workspace: Workspace, model: ModelFile, position: Position) -> PriorFile:
    """The best prior of a training that goes on."""
    from distill.stages.train_prior import prior_file, read_conditions
    from distill.training.checkpoint import Checkpoints
    from distill.training.loop import Trained

    assert position.best_loss is not None
    config = section(read_config(workspace, STAGE), "prior", PriorConfig)
    folder, _ = RunFolder(workspace.root, STAGE).noted()
    state = Checkpoints(folder, keep=config.max_checkpoints).load_best(position.best_epoch)
    best, history = (position.best_epoch, position.best_loss), position.history
    trained = Trained(state, *best, history, position.warnings, position.step, 0)
    return prior_file(config, model, trained, (), read_conditions(folder))


def _write(workspace: Workspace, model: ModelFile, prior: PriorFile, share: float) -> None:
    name = f"{workspace.params().model.name}-early-{int(100 * share):02d}"
    metadata = model.manifest.metadata.model_copy(update={"name": name})
    changes: dict[str, Any] = {"metadata": metadata, "prior_config": prior.config, "prior_metadata": prior.metadata}
    space = prior.space
    if space is not None:
        changes |= {"space_config": space.config, "space_metadata": space.metadata}
    target = _folder(workspace.root) / f"{name}{EXTENSION}"
    target.parent.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(**{**dict(model.manifest), **changes})
    write_model(target, manifest, model.vqvae_state, prior.state, space_state=None if space is None else space.state)


def _folder(root: Path) -> Path:
    return root / ".distill" / "early"
