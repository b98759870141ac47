"""The `.distill` model file: weights of the VQ-VAE, of prior, vocoder and space if there are any, and the manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distill.artifact.container import read_container, read_document, write_container
from distill.artifact.manifest import FORMAT, VERSION, Manifest, parse_manifest
from distill.errors import ArtifactError

if TYPE_CHECKING:
    import torch

EXTENSION = ".distill"
# What is being written has a hidden name.
MODEL_FILES = f"[!.]*{EXTENSION}"

_VQVAE = "vqvae."
_PRIOR = "prior."
_VOCODER = "vocoder."
_SPACE = "space."


@dataclass(frozen=True)
class ModelFile:
    """A model in memory: what the file says and its state dicts, with tensors on the CPU."""

    manifest: Manifest
    vqvae_state: "dict[str, torch.Tensor]"
    prior_state: "dict[str, torch.Tensor] | None"
    digest: str
    vocoder_state: "dict[str, torch.Tensor] | None" = None
    space_state: "dict[str, torch.Tensor] | None" = None


def write_model(
    path: Path,
    manifest: Manifest,
    vqvae_state: "Mapping[str, torch.Tensor]",
    prior_state: "Mapping[str, torch.Tensor] | None" = None,
    vocoder_state: "Mapping[str, torch.Tensor] | None" = None,
    space_state: "Mapping[str, torch.Tensor] | None" = None,
) -> str:
    """Write a model file, whole or not at all; equal inputs give equal bytes.

    Args:
        path: the file, which is replaced if it exists.
        manifest: its `tensor_digest` and `minor` are filled in by the writing.
        vqvae_state: state dict of ConvVQVAE.
        prior_state: state dict of CodePrior, exactly when the manifest has a `prior_config`.
        vocoder_state: state dict of Vocoder, exactly when the manifest has a `vocoder_config`.
        space_state: state dict of SpaceModel, exactly when the manifest has a `space_config`.

    Returns:
        The digest of the weights, which identifies the model whatever it is called.

    Raises:
        StorageError: the file cannot be written.
        ValueError: manifest and weights do not belong together, or cannot be stored.
    """
    if (prior_state is None) != (manifest.prior_config is None):
        raise ValueError("a prior_config in the manifest and the prior's weights belong together")
    if (vocoder_state is None) != (manifest.vocoder_config is None):
        raise ValueError("a vocoder_config in the manifest and the vocoder's weights belong together")
    if (space_state is None) != (manifest.space_config is None):
        raise ValueError("a space_config in the manifest and the weights of the space belong together")
    if not vqvae_state or any(state is not None and not state for state in (prior_state, vocoder_state, space_state)):
        raise ValueError("a model without weights cannot be stored")
    tensors = {_VQVAE + name: tensor for name, tensor in vqvae_state.items()}
    tensors |= {_PRIOR + name: tensor for name, tensor in (prior_state or {}).items()}
    tensors |= {_VOCODER + name: tensor for name, tensor in (vocoder_state or {}).items()}
    tensors |= {_SPACE + name: tensor for name, tensor in (space_state or {}).items()}
    return write_container(path, tensors, manifest.document())


def read_manifest(path: Path) -> Manifest:
    """Read what a model file says of itself; the weights are not read and torch is not imported.

    Raises:
        ArtifactError: the file is missing, damaged, foreign or of another version.
        StorageError: the file is there and cannot be read.
    """
    return parse_manifest(read_document(path, format=FORMAT, version=VERSION), path)


def read_model(path: Path) -> ModelFile:
    """Read a model file whole and check it against its digests.

    Whether the weights fit the networks is for `check_state` to say, which needs the networks' shapes.

    Raises:
        ArtifactError: the file is missing, damaged, foreign or of another version.
        StorageError: the file is there and cannot be read.
    """
    container = read_container(path, format=FORMAT, version=VERSION)
    manifest = parse_manifest(container.document, path)
    vqvae_state = _with_prefix(container.tensors, _VQVAE)
    prior_state = _with_prefix(container.tensors, _PRIOR)
    if not vqvae_state:
        raise ArtifactError(f"{path} holds no weights of a VQ-VAE: train the model again")
    if bool(prior_state) != (manifest.prior_config is not None):
        lacking = "a prior_config" if prior_state else "weights of the prior"
        raise ArtifactError(f"{path} holds one half of a prior: {lacking} is missing; train the prior again")
    vocoder_state = _with_prefix(container.tensors, _VOCODER)
    if bool(vocoder_state) != (manifest.vocoder_config is not None):
        lacking = "a vocoder_config" if vocoder_state else "weights of the vocoder"
        raise ArtifactError(f"{path} holds one half of a vocoder: {lacking} is missing; train the model again")
    space_state = _with_prefix(container.tensors, _SPACE)
    if bool(space_state) != (manifest.space_config is not None):
        lacking = "a space_config" if space_state else "weights of the space"
        raise ArtifactError(f"{path} holds one half of a space: {lacking} is missing; train the model again")
    return ModelFile(
        manifest, vqvae_state, prior_state or None, container.digest, vocoder_state or None, space_state or None
    )


def layout(state: "Mapping[str, torch.Tensor]") -> "dict[str, tuple[tuple[int, ...], torch.dtype]]":
    """Shape and kind of number of each tensor of a state dict, which may be on the meta device."""
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()}


def check_state(
    expected: "Mapping[str, tuple[tuple[int, ...], torch.dtype]]", state: "Mapping[str, torch.Tensor]", path: Path
) -> None:
    """Check that weights from `path` are those that a network takes (see `layout`).

    Raises:
        ArtifactError: a tensor is missing, unknown, or has another shape or kind of number.
    """
    for name, (shape, kind) in expected.items():
        if name not in state:
            raise ArtifactError(f"{path} does not fit its own configuration: tensor {name} is missing")
        found = state[name]
        if tuple(found.shape) != tuple(shape):
            raise ArtifactError(
                f"{path} does not fit its own configuration: tensor {name} has the shape {list(found.shape)}, "
                f"expected {list(shape)}"
            )
        if found.dtype != kind:
            raise ArtifactError(
                f"{path} does not fit its own configuration: tensor {name} holds {found.dtype}, expected {kind}"
            )
    unknown = sorted(set(state) - set(expected))
    if unknown:
        raise ArtifactError(f"{path} does not fit its own configuration: tensor {unknown[0]} is unknown")


def _with_prefix(tensors: "Mapping[str, torch.Tensor]", prefix: str) -> "dict[str, torch.Tensor]":
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
