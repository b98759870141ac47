"""A trained vocoder on its way into a model file, or the word that there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from distill.artifact.architecture import VocoderArchitecture
from distill.artifact.container import read_container, write_container
from distill.artifact.manifest import VocoderMetadata
from distill.configs import Inverse
from distill.errors import ArtifactError

if TYPE_CHECKING:
    import torch

FORMAT = "distill_vocoder"
VERSION = 1


@dataclass(frozen=True)
class VocoderFile:
    """Weights of a vocoder, what it was constructed with, how it did, and which inverse the model is to use.

    `digest` is that of the weights, where they were read.
    """

    config: VocoderArchitecture
    metadata: VocoderMetadata
    inverse: Inverse
    vqvae_digest: str
    state: "Mapping[str, torch.Tensor]"
    digest: str = ""


def write_vocoder(path: Path, vocoder: VocoderFile | None) -> str:
    """Write a vocoder, or that none was asked for, whole or not at all; the digest of its weights.

    Raises:
        StorageError: the file cannot be written.
    """
    document = {"format": FORMAT, "version": VERSION, "enabled": vocoder is not None}
    if vocoder is None:
        return write_container(path, {}, document)
    return write_container(
        path,
        vocoder.state,
        {
            **document,
            "vocoder_config": vocoder.config.model_dump(mode="json"),
            "vocoder_metadata": vocoder.metadata.model_dump(mode="json"),
            "inverse": vocoder.inverse,
            "vqvae_digest": vocoder.vqvae_digest,
        },
    )


def read_vocoder(path: Path, *, vqvae_digest: str) -> VocoderFile | None:
    """Read a vocoder for the VQ-VAE with this digest of weights; None where none was asked for.

    Raises:
        ArtifactError: the file is missing or damaged, or the vocoder belongs to another VQ-VAE.
        StorageError: the file is there and cannot be read.
    """
    container = read_container(path, format=FORMAT, version=VERSION)
    document = container.document
    if not document.get("enabled"):
        return None
    try:
        config = VocoderArchitecture.model_validate(document.get("vocoder_config"))
        metadata = VocoderMetadata.model_validate(document.get("vocoder_metadata"))
        inverse: Inverse = TypeAdapter(Inverse).validate_python(document.get("inverse"))
    except ValidationError as error:
        raise ArtifactError(f"{path} has a configuration that cannot be used: train the vocoder again") from error
    if document.get("vqvae_digest") != vqvae_digest:
        raise ArtifactError(f"{path} belongs to another VQ-VAE: run the stage train_vocoder again")
    return VocoderFile(config, metadata, inverse, vqvae_digest, container.tensors, container.digest)
