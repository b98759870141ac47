"""From a model file to networks that are ready for use."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from distill.artifact.architecture import PriorArchitecture, SpaceArchitecture
from distill.artifact.model_file import ModelFile, check_state, layout
from distill.artifact.prior_file import PriorFile
from distill.audio.knobs import KNOBS
from distill.audio.timbre import count_of
from distill.codec.codec import Codec
from distill.errors import ArtifactError
from distill.models.prior import CodePrior
from distill.models.space import SpaceModel
from distill.models.vocoder import Vocoder
from distill.models.vqvae import ConvVQVAE


@dataclass(frozen=True)
class Networks:
    """The networks of a model on the CPU, in evaluation mode; None stands for what the model does not have."""

    vqvae: ConvVQVAE
    optional_prior: CodePrior | None
    path: Path
    optional_vocoder: Vocoder | None = None
    optional_space: SpaceModel | None = None

    @property
    def prior(self) -> CodePrior:
        """The prior.

        Raises:
            ArtifactError: the model has none.
        """
        if self.optional_prior is None:
            raise ArtifactError(f"{self.path} has no prior: train one with distill train-prior")
        return self.optional_prior


def build_networks(model: ModelFile, path: Path, *, trained: PriorFile | None = None) -> Networks:
    """Networks with the weights of a model.

    Args:
        model: what was read.
        path: where it was read from, for messages.
        trained: a prior, with what was learned beside it, in place of the model's own.

    Raises:
        ArtifactError: weights do not fit their configuration, or the prior is not one for the model's codes.
    """
    manifest = model.manifest
    vqvae = ConvVQVAE(**manifest.vqvae_config.arguments(), trainable=False)
    _fill(vqvae, model.vqvae_state, path)
    if trained is None:
        config, state = manifest.prior_config, model.prior_state
        space = _space(model, manifest.space_config, model.space_state, path)
    else:
        config, state = trained.config, dict(trained.state)
        part = trained.space
        space = None if part is None else _space(model, part.config, part.state, path)
    prior = None if config is None else _prior(model, config, state or {}, path)
    return Networks(vqvae.eval(), prior, path, _vocoder(model, path), space)


def codec_of(model: ModelFile, networks: Networks, device: torch.device | str = "cpu") -> Codec:
    """The codec of a model's networks, with the inverse that the model's file names."""
    return Codec(
        networks.vqvae,
        model.manifest.spectrogram_config,
        device,
        inverse=model.manifest.inverse or "griffin-lim",
        vocoder=networks.optional_vocoder,
        space=networks.optional_space,
    )


def _prior(model: ModelFile, config: PriorArchitecture, state: Mapping[str, Tensor], path: Path) -> CodePrior:
    # Weights are compared with those of a network that is there: one far beyond its file would take all memory.
    if config.layers * config.hidden**2 > sum(tensor.numel() for tensor in state.values()):
        raise ArtifactError(f"{path} has too few weights for a prior of {config.layers} layers, {config.hidden} wide")
    if (conditions := config.conditions) is not None:
        if unknown := [name for name in conditions.knobs if name not in KNOBS]:
            raise ArtifactError(f"{path} has a knob that no sound is measured by: {unknown[0]}")
        if conditions.labels and len(conditions.spreads) != count_of(model.manifest.spectrogram_config):
            raise ArtifactError(f"{path} has labels whose centres are no timbres of its sounds")
    prior = CodePrior(**config.arguments())
    vqvae = model.manifest.vqvae_config
    if (prior.codebook_size, prior.num_quantizers) != (vqvae.codebook_size, vqvae.num_quantizers):
        raise ArtifactError(f"{path}: the prior was trained on the codes of another model; train the prior again")
    # A file that does not say how sounds begin and end leaves it open.
    unsaid = {name: prior.state_dict()[name] for name in ("shortest_columns", "limits")}
    _fill(prior, {**unsaid, **state}, path)
    return prior.eval()


def _vocoder(model: ModelFile, path: Path) -> Vocoder | None:
    config = model.manifest.vocoder_config
    if config is None:
        return None
    vocoder = Vocoder(**config.arguments(), spectrogram=model.manifest.spectrogram_config)
    _fill(vocoder, model.vocoder_state or {}, path)
    return vocoder.eval()


def _space(
    model: ModelFile, config: SpaceArchitecture | None, state: Mapping[str, Tensor] | None, path: Path
) -> SpaceModel | None:
    if config is None:
        return None
    space = SpaceModel(**config.arguments(model.manifest.vqvae_config))
    _fill(space, state or {}, path)
    return space.eval()


def _fill(network: torch.nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    check_state(layout(network.state_dict()), state, path)
    network.load_state_dict(state)
