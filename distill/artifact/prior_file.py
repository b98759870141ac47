"""A trained prior on its way into a model file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from distill.artifact.container import read_container, write_container
from distill.artifact.manifest import PriorArchitecture, PriorMetadata
from distill.errors import ArtifactError

if TYPE_CHECKING:
    import torch

FORMAT = "distill_prior"
VERSION = 2


@dataclass(frozen=True)
class PriorFile:
    """Weights of a prior, what it was constructed with, how its training went, and for which VQ-VAE it is.

    `journal` holds the live changes to its training.
    """

    config: PriorArchitecture
    metadata: PriorMetadata
    vqvae_digest: str
    state: "Mapping[str, torch.Tensor]"
    journal: Sequence[dict[str, Any]] = ()


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
    return write_container(path, prior.state, document)


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
    except ValidationError as error:
        raise ArtifactError(f"{path} has a configuration that cannot be used: train the prior again") from error
    if document.get("vqvae_digest") != vqvae_digest:
        raise ArtifactError(f"{path} belongs to another VQ-VAE: run the stage train_prior again")
    return PriorFile(config, metadata, vqvae_digest, container.tensors, document.get("journal", []))
