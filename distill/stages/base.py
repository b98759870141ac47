"""The base: a trained encoder and decoder, and a vocoder, that trainings start from in place of random weights."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from distill.artifact.architecture import VocoderArchitecture
from distill.artifact.manifest import Manifest
from distill.artifact.model_file import read_manifest, read_model
from distill.artifact.vocoder_file import read_vocoder
from distill.configs import VocoderConfig, VQVAEConfig
from distill.errors import ArtifactError, DataError, UsageError
from distill.params import BASE_AUTO, BASE_NONE, Params, overrides

if TYPE_CHECKING:
    import torch

# What the folder base/ of the repository trains; the vocoder hears through that encoder and decoder.
SHIPPED, SHIPPED_VOCODER = (
    Path(__file__).parents[1] / "shipped" / name for name in ("base.distill", "vocoder.safetensors")
)
# Of their weights. With others the stages give other outputs.
DIGEST = "52e94e32bac77223345b9368e8fffbb16153fb0cf204a47fff1ef3e4232f661a"
VOCODER_DIGEST = "307e3053e1c067d086013121487708af17c16c6df672437f2135465d4f7fc3d1"
_PARTS = ("encoder.", "decoder.")


def has_base(params: Params) -> bool:
    """Whether a training starts from a base: unless a file is named, where the shipped one fits the parameters."""
    chosen = params.vqvae.base
    if chosen != BASE_AUTO:
        return bool(chosen != BASE_NONE)
    return params.run.preset != "reference" and not _misfit(params, _shipped())


def base_file(params: Params, folder: Path) -> Path | None:
    """The model file that a training starts from; None: it starts from nothing.

    A relative path starts at `folder`, or at the nearest folder above it that has the file.

    Raises:
        ArtifactError: the file is missing, damaged, foreign or of another version.
        UsageError: it is for other spectrograms or code vectors.
    """
    if not has_base(params):
        return None
    chosen = params.vqvae.base
    if chosen == BASE_AUTO:
        return SHIPPED
    path = find_base(chosen, folder)
    try:
        misfit = _misfit(params, read_manifest(path))
    except ArtifactError as error:
        raise ArtifactError(f"vqvae.base: {error}") from error
    if misfit:
        raise UsageError(f"vqvae.base: {path} has {misfit}: name another model, or none")
    return path


def find_base(chosen: str, folder: Path) -> Path:
    """The file that `vqvae.base` names: at `folder`, or at the nearest folder above it that has the file."""
    places = [place / chosen for place in (folder.resolve(), *folder.resolve().parents)]
    return next((place for place in places if place.is_file()), places[0])


def base_digest(params: Params, folder: Path) -> str | None:
    """The digest of the weights in `base_file`, as the file says; None: there is no base.

    Raises:
        ArtifactError: as `base_file`.
        UsageError: as `base_file`.
    """
    path = base_file(params, folder)
    return None if path is None else read_manifest(path).tensor_digest


def base_weights(params: Params, folder: Path, digest: str | None) -> "dict[str, torch.Tensor] | None":
    """The state of encoder and decoder in `base_file`, which must have this digest; None where that is None.

    Raises:
        ArtifactError: as `base_file`.
        UsageError: as `base_file`.
        DataError: the file has other weights.
    """
    path = base_file(params, folder) if digest else None
    if path is None:
        return None
    model = read_model(path)
    if path == SHIPPED and model.digest != DIGEST:
        raise ArtifactError(f"{path} is not the base of this version: reinstall distill")
    if model.digest != digest:
        raise DataError(f"vqvae.base: {path} has changed: run the stage configure again")
    return {name: tensor for name, tensor in model.vqvae_state.items() if name.startswith(_PARTS)}


def vocoder_base(params: Params, folder: Path) -> tuple[Path, str] | None:
    """What the training of a vocoder starts from, file and digest of its weights; None: random weights.

    It is the vocoder of the base, where that is for the same spectrogram and of the same size.

    Raises:
        ArtifactError: as `base_file`.
        UsageError: as `base_file`.
    """
    path = base_file(params, folder)
    if path is None:
        return None
    manifest = _shipped() if path == SHIPPED else read_manifest(path)
    size = _size(VocoderConfig()) if path == SHIPPED else manifest.vocoder_config
    if manifest.spectrogram_config != params.spectrogram or size != _size(params.vocoder):
        return None
    return (SHIPPED_VOCODER, VOCODER_DIGEST) if path == SHIPPED else (path, manifest.tensor_digest)


def vocoder_weights(path: Path, digest: str) -> "dict[str, torch.Tensor]":
    """The state of the vocoder in a file that `vocoder_base` names with a digest, as 32-bit numbers.

    Raises:
        ArtifactError: the file is damaged or of another version.
        DataError: it has other weights by now.
    """
    if path != SHIPPED_VOCODER:
        model = read_model(path)
        if model.digest != digest:
            raise DataError(f"vqvae.base: {path} has changed: run the stage again")
        return dict(model.vocoder_state or {})
    found = read_vocoder(path, vqvae_digest=DIGEST)
    if found is None or found.digest != digest:
        raise ArtifactError(f"{path} is not the vocoder of this version: reinstall distill")
    return {name: tensor.float() for name, tensor in found.state.items()}


def _size(config: VocoderConfig) -> VocoderArchitecture:
    return VocoderArchitecture(hidden=config.hidden, blocks=config.blocks)


@lru_cache(maxsize=1)
def _shipped() -> Manifest:
    return read_manifest(SHIPPED)


def _misfit(params: Params, base: Manifest) -> str:
    """What a base is for that the parameters are not; empty where it fits."""
    mine, its = params.spectrogram.model_dump(), base.spectrogram_config.model_dump()
    # Frames at another hop are still frames of such sounds: see docs/explanation/base.md.
    names = [name for name in mine if name != "hop_length" and its[name] != mine[name]]
    other = [f"spectrogram.{name} {its[name]}, not {mine[name]}" for name in names]
    vector = overrides(params.vqvae).get("codebook_dim", VQVAEConfig().codebook_dim)
    if base.vqvae_config.codebook_dim != vector:
        other.append(f"vqvae.codebook_dim {base.vqvae_config.codebook_dim}, not {vector}")
    return ", ".join(other)
