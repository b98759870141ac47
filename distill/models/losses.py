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


def log_spectral_distance(power: Tensor, target: Tensor, *, floor_db: float = -20.0) -> Tensor:
    """Log-spectral distance of mel powers `[batch, n_mels, frames]` in dB, the mean over all active frames.

    Both are clamped from below at `floor_db`; a frame's distance is the root mean square over its bins. A frame is
    active when its energy in the target is above 10 and above 1e-5 of the item's loudest frame.

    Returns:
        `[2]` on the CPU: the sum of the active frames' distances, and their number, so that batches add up.
    """
    floor = 10 ** (floor_db / 10)
    # Not every device knows float64.
    power, target = power.cpu().double(), target.cpu().double()
    difference = 10 * (power.clamp(min=floor).log10() - target.clamp(min=floor).log10())
    distance = difference.square().mean(1).sqrt()
    energy = target.sum(1)
    active = (energy > 1e-5 * energy.amax(1, keepdim=True)) & (energy > 10)
    return torch.stack([distance[active].sum(), active.sum().double()])
