"""A small model with random weights, in memory and as a file, for tests of whatever uses models."""

from pathlib import Path

import torch
from torch import Tensor

import artifact_example
from distill.artifact.manifest import Manifest
from distill.artifact.model_file import read_model, write_model
from distill.codec.codec import Codec
from distill.codec.load import build_networks, codec_of
from distill.models.grid import quantize_grid
from distill.models.prior import CodePrior
from distill.models.vqvae import ConvVQVAE

SIZE = artifact_example.PRIOR.codebook_size
LEVELS = artifact_example.PRIOR.num_quantizers
BANDS = artifact_example.PRIOR.bands


def manifest(*, with_prior: bool = True) -> Manifest:
    if with_prior:
        return artifact_example.manifest(
            prior_config=artifact_example.PRIOR, prior_metadata=artifact_example.PRIOR_METADATA
        )
    return artifact_example.manifest()


def vqvae() -> ConvVQVAE:
    """Codes are placed on encodings of noise, so that different sounds have different codes."""
    torch.manual_seed(0)
    model = ConvVQVAE(**manifest().vqvae_config.arguments()).eval()
    with torch.no_grad():
        encoded = model.encode(torch.rand(4, 1, 128, 96) * 8)
        model.quantizer.place_codes(encoded.transpose(0, 1).flatten(1).T)
    return model


def prior() -> CodePrior:
    """Far from uniform, and ends of sounds come."""
    torch.manual_seed(1)
    model = CodePrior(**artifact_example.PRIOR.arguments()).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
        model.head.bias[SIZE] += 1.0
        model.trained_columns.fill_(model.context_columns)
    return model


@torch.inference_mode()
def encode_grid(model: ConvVQVAE, log_mels: Tensor) -> Tensor:
    """Code grids `[batch, columns, bands, levels]` of log mels `[batch, n_mels, frames]`, encoded in one piece."""
    return quantize_grid(model, model.encode(log_mels[:, None]))


def codec(model: ConvVQVAE | None = None) -> Codec:
    return Codec(model or vqvae(), manifest().spectrogram_config)


def load_codec(path: Path) -> Codec:
    """The codec of a `.distill` file."""
    model = read_model(path)
    return codec_of(model, build_networks(model, path))


def write_example(path: Path, *, with_prior: bool = True) -> Path:
    prior_state = prior().state_dict() if with_prior else None
    write_model(path, manifest(with_prior=with_prior), vqvae().state_dict(), prior_state)
    return path
