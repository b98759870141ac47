"""A small model file's content, for tests of whatever reads model files."""

from typing import Any

import torch

from distill.artifact.architecture import PriorArchitecture
from distill.artifact.lineage import Environment, Lineage
from distill.artifact.manifest import Manifest, PriorMetadata
from distill.artifact.model_file import layout
from distill.configs import SpectrogramConfig, VQVAEConfig

LINEAGE = Lineage.of(
    code_versions={"prepare": 1, "train_vqvae": 3},
    data_digest="ab" * 32,
    parameters={"run": {"seed": 7}, "model": {"name": "bells"}, "data": {"speed_semitones": (-1.0, 1.0)}},
    seed=7,
    environment=Environment(
        torch="2.13.0", vector_quantize_pytorch="1.27.0", processor="avx512", threads=2, precision="fp32", device="cpu"
    ),
)
PRIOR = PriorArchitecture(
    hidden=32, layers=2, heads=4, dropout=0.1, codebook_size=16, num_quantizers=2, bands=8, context=128
)
PRIOR_METADATA = PriorMetadata.model_validate(
    {
        "epochs": 4,
        "best_epoch": 3,
        "perplexity": {"train": 2.5, "validation": 3.5},
        "perplexity_per_level": {"level_0": {"train": 2.0, "validation": 3.0}, "level_1": {}},
        "perplexity_threshold": 3.0,
        "history": {"train_losses": [3.0, 2.0], "val_perplexities": [9.0, None]},
        "memorization_warnings": ["train perplexity 2.5, held-out 3.5, threshold 3"],
    }
)


def manifest(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "vqvae_config": {
            "codebook_dim": 8,
            "codebook_size": 16,
            "num_quantizers": 2,
            "decay": 0.9,
            "commitment_weight": 0.25,
            "threshold_ema_dead_code": 2,
            "dropout": 0.1,
            "n_mels": 128,
        },
        "spectrogram_config": SpectrogramConfig(),
        "training_config": VQVAEConfig(codebook_size=16).model_dump(mode="json"),
        "codebook_health_snapshot": {
            f"level_{level}": {"utilization": 0.5, "perplexity": 6.5, "dead_codes": 8} for level in range(2)
        },
        "loss_curve_history": {
            "train_losses": [1.0, 0.5],
            "val_losses": [1.1, 0.6],
            "recon_losses": [0.9, 0.4],
            "commit_losses": [0.1, 0.1],
        },
        "metadata": {"name": "bells", "dataset": "Glöckchen 🔔", "file_count": 5, "tags": ["bell", "metal"]},
        "lineage": LINEAGE,
    }
    return Manifest.model_validate({**values, **changes})


def vqvae_state() -> dict[str, torch.Tensor]:
    """Parameters and buffers as networks have them: a small encoder with BatchNorm, codebooks with a flag."""
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
    return dict(network.state_dict()) | {"codebook.embed": torch.randn(16, 8), "codebook.initted": torch.tensor([True])}


def prior_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    return dict(torch.nn.Linear(8, 16).to(torch.bfloat16).state_dict())


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return layout(first) == layout(second) and all(torch.equal(first[name], second[name]) for name in first)
