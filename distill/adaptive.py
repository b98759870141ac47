"""Settings that follow from the number of files, and the presets."""

from dataclasses import dataclass
from typing import Any

from distill.configs import PriorConfig, VQVAEConfig


@dataclass(frozen=True)
class Tier:
    """One row of the table of adaptive settings: what suits a dataset of up to `most_files` files."""

    most_files: float
    vqvae: dict[str, Any]
    prior: dict[str, Any]


TIERS = (
    Tier(
        most_files=20,
        vqvae={
            "codebook_size": 64,
            "decay": 0.8,
            "dropout": 0.4,
            "epochs": 100,
            "learning_rate": 5e-4,
            "augmentation_expansion": 15,
        },
        prior={
            "hidden": 128,
            "layers": 2,
            "heads": 4,
            "dropout": 0.3,
            "epochs": 50,
            "learning_rate": 3e-4,
            "perplexity_threshold": 2.0,
        },
    ),
    Tier(
        most_files=100,
        vqvae={
            "codebook_size": 128,
            "decay": 0.9,
            "dropout": 0.2,
            "epochs": 200,
            "learning_rate": 1e-3,
            "augmentation_expansion": 10,
        },
        prior={
            "hidden": 256,
            "layers": 4,
            "heads": 4,
            "dropout": 0.2,
            "epochs": 100,
            "learning_rate": 1e-3,
            "perplexity_threshold": 3.0,
        },
    ),
    Tier(
        most_files=float("inf"),
        vqvae={
            "codebook_size": 256,
            "decay": 0.95,
            "dropout": 0.1,
            "epochs": 300,
            "learning_rate": 1e-3,
            "augmentation_expansion": 5,
        },
        prior={
            "hidden": 512,
            "layers": 6,
            "heads": 8,
            "dropout": 0.1,
            "epochs": 150,
            "learning_rate": 1e-3,
            "perplexity_threshold": 5.0,
        },
    ),
)


def get_adaptive_vqvae_config(file_count: int) -> VQVAEConfig:
    """The reference settings of the VQ-VAE for a dataset of this many usable files."""
    return VQVAEConfig(batch_size=batch_size(file_count), **_tier(file_count).vqvae)


def get_adaptive_prior_config(file_count: int) -> PriorConfig:
    """The reference settings of the prior for a dataset of this many usable files."""
    return PriorConfig(batch_size=batch_size(file_count), **_tier(file_count).prior)


def batch_size(file_count: int) -> int:
    """Items in a training step: 1.25 a file, at least 1 and at most 32."""
    return min(32, max(1, file_count * 5 // 4))


def validation_fraction(file_count: int) -> float:
    """Share of the files that is held out: the fewer files, the larger, so that it says something."""
    if file_count < 10:
        return 0.5
    if file_count < 50:
        return 0.3
    return 0.2 if file_count < 200 else 0.1


def _tier(file_count: int) -> Tier:
    return next(tier for tier in TIERS if file_count <= tier.most_files)
