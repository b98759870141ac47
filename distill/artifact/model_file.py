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

# The parts that a model may lack, and what is to be trained again where one half of a part is missing.
_OPTIONAL = {"prior": "the prior", "vocoder": "the model", "space": "the model"}


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
    states = {"vqvae": vqvae_state, "prior": prior_state, "vocoder": vocoder_state, "space": space_state}
    tensors: dict[str, torch.Tensor] = {}
    for part, state in states.items():
        if (state is None) != (getattr(manifest, f"{part}_config") is None):
            raise ValueError(f"a {part}_config in the manifest and weights of the {part} belong together")
        if state is not None and not state:
            raise ValueError("a model without weights cannot be stored")
        tensors |= {f"{part}.{name}": tensor for name, tensor in (state or {}).items()}
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
    states = {part: _with_prefix(container.tensors, f"{part}.") for part in ("vqvae", *_OPTIONAL)}
    if not states["vqvae"]:
        raise ArtifactError(f"{path} holds no weights of a VQ-VAE: train the model again")
    for part, again in _OPTIONAL.items():
        if bool(states[part]) != (getattr(manifest, f"{part}_config") is not None):
            lacking = f"a {part}_config" if states[part] else f"weights of the {part}"
            raise ArtifactError(f"{path} holds one half of a {part}: {lacking} is missing; train {again} again")
    return ModelFile(
        manifest,
        states["vqvae"],
        states["prior"] or None,
        container.digest,
        states["vocoder"] or None,
        states["space"] or None,
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
