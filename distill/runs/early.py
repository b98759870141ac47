"""A model to hear from what a run has so far, before it has finished."""

from contextlib import suppress
from pathlib import Path

from distill.artifact.manifest import Manifest
from distill.artifact.model_file import EXTENSION, ModelFile, read_model, write_model
from distill.artifact.prior_file import PriorFile, read_prior
from distill.configs import PriorConfig
from distill.errors import DistillError
from distill.live.folder import RunFolder
from distill.live.status import read_status
from distill.runs.effort import FIRST_SHARE
from distill.stages.train_prior import prior_file
from distill.stages.workspace import Workspace, read_config, section
from distill.training.checkpoint import Checkpoints
from distill.training.loop import Trained
from distill.training.position import Position, checkpoint_files, read_position
from distill.training.prior import STAGE


def early_model(root: Path) -> Path | None:
    """A model file made of the VQ-VAE of a run and of its prior, as good as that is so far; None where it is too early.

    It lies in the run's folder, and stays the same once it is there.

    Raises:
        StorageError: it cannot be written.
    """
    workspace = Workspace(root)
    if not workspace.vqvae.is_file():
        return None
    name = f"{workspace.params().model.name}-first"
    target = root / ".distill" / "first" / f"{name}{EXTENSION}"
    if target.is_file():
        return target
    # What is written meanwhile is read the next time.
    with suppress(DistillError):
        position = None if workspace.prior.is_file() else _ripe(workspace)
        if position or workspace.prior.is_file():
            model = read_model(workspace.vqvae)
            if position:
                prior = _so_far(workspace, model, position)
            else:
                prior = read_prior(workspace.prior, vqvae_digest=model.digest)
            metadata = model.manifest.metadata.model_copy(update={"name": name})
            changes = {"metadata": metadata, "prior_config": prior.config, "prior_metadata": prior.metadata}
            manifest = Manifest(**{**dict(model.manifest), **changes})
            target.parent.mkdir(parents=True, exist_ok=True)
            write_model(target, manifest, model.vqvae_state, prior.state)
            return target
    return None


def _ripe(workspace: Workspace) -> Position | None:
    """The newest checkpoint of a prior that has learned enough to be heard."""
    folder, _ = RunFolder(workspace.root, STAGE).noted()
    files = checkpoint_files(folder)
    steps = (read_status(workspace.root, STAGE) or {}).get("total")
    if not files or not steps:
        return None
    position = read_position(files[-1])
    return position if position.step >= FIRST_SHARE * steps and position.best_loss is not None else None


def _so_far(workspace: Workspace, model: ModelFile, position: Position) -> PriorFile:
    """The best prior of a training that goes on."""
    assert position.best_loss is not None
    config = section(read_config(workspace, STAGE), "prior", PriorConfig)
    folder, _ = RunFolder(workspace.root, STAGE).noted()
    state = Checkpoints(folder, keep=config.max_checkpoints).load_best(position.best_epoch)
    best, history = (position.best_epoch, position.best_loss), position.history
    return prior_file(config, model, Trained(state, *best, history, position.warnings, position.step, 0), ())
