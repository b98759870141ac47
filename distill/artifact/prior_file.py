"""A trained prior, and the space that was learned with it, on their way into a model file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from distill.artifact.architecture import PriorArchitecture, SpaceArchitecture
from distill.artifact.container import read_container, write_container
from distill.artifact.manifest import PriorMetadata, SpaceMetadata
from distill.errors import ArtifactError

if TYPE_CHECKING:
    import torch

FORMAT = "distill_prior"
VERSION = 2
_SPACE = "space."


@dataclass(frozen=True)
class SpacePart:
    """Weights of a space, what it was constructed with, and what is known of it."""

    config: SpaceArchitecture
    metadata: SpaceMetadata
    state: "Mapping[str, torch.Tensor]"


@dataclass(frozen=True)
class PriorFile:
    """Weights of a prior, what it was constructed with, how its training went, and for which VQ-VAE it is.

    `journal` holds the live changes to its training; `space` is None where all sounds are mono.
    """

    config: PriorArchitecture
    metadata: PriorMetadata
    vqvae_digest: str
    state: "Mapping[str, torch.Tensor]"
    journal: Sequence[dict[str, Any]] = ()
    space: SpacePart | None = None


def write_prior(path: Path, prior: PriorFile) -> str:
    """Write a prior, whole or not at all; the digest of its weights.

    Raises:
        StorageError: the file cannot be written.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "prior_config": prior.config.model_dump(mode="json"),
        "prior_metadata": prior.metadata.model_dump(mode="json"),
        "vqvae_digest": prior.vqvae_digest,
    }
    if prior.journal:
        document["journal"] = list(prior.journal)
    tensors = dict(prior.state)
    if prior.space is not None:
        document["space_config"] = prior.space.config.model_dump(mode="json")
        document["space_metadata"] = prior.space.metadata.model_dump(mode="json")
        tensors |= {_SPACE + name: tensor for name, tensor in prior.space.state.items()}
    return write_container(path, tensors, document)


def read_prior(path: Path, *, vqvae_digest: str) -> PriorFile:
    """Read a prior for the VQ-VAE with this digest of weights.

    Raises:
        ArtifactError: the file is missing or damaged, or the prior belongs to another VQ-VAE.
        StorageError: the file is there and cannot be read.
    """
    container = read_container(path, format=FORMAT, version=VERSION)
    document = container.document
    try:
        config = PriorArchitecture.model_validate(document.get("prior_config"))
        metadata = PriorMetadata.model_validate(document.get("prior_metadata"))
        named = document.get("space_config")
        space_config = None if named is None else SpaceArchitecture.model_validate(named)
        space_metadata = SpaceMetadata.model_validate(document.get("space_metadata", {}))
    except ValidationError as error:
        raise ArtifactError(f"{path} has a configuration that cannot be used: train the prior again") from error
    if document.get("vqvae_digest") != vqvae_digest:
        raise ArtifactError(f"{path} belongs to another VQ-VAE: run the stage train_prior again")
    state = {name: tensor for name, tensor in container.tensors.items() if not name.startswith(_SPACE)}
    weights = {name.removeprefix(_SPACE): each for name, each in container.tensors.items() if name not in state}
    space = None if space_config is None else SpacePart(space_config, space_metadata, weights)
    return PriorFile(config, metadata, vqvae_digest, state, document.get("journal", []), space)
