"""The training loss as named terms."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

COMMITMENT = "commitment"


def spectral_terms(reconstruction: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Distances of two log-mel spectrograms `[batch, 1, n_mels, frames]`, each a scalar.

    `full`, `half` and `quarter` are mean squared errors at full resolution and after averaging over 2x2 and 4x4
    cells, `l1` is the mean absolute error at full resolution.
    """
    error = reconstruction.float() - target.float()
    half = functional.avg_pool2d(error, 2)
    return {
        "full": error.square().mean(),
        "half": half.square().mean(),
        "quarter": functional.avg_pool2d(half, 2).square().mean(),
        "l1": error.abs().mean(),
    }


def total_loss(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The weighted sum of the terms; a term without a weight does not count."""
    return torch.stack([weights[name] * term for name, term in terms.items() if weights.get(name, 0.0)]).sum()
