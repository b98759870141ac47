"""A small model with random weights that can be asked for labels and knobs."""

from pathlib import Path

import numpy as np
import torch

import artifact_example
from distill.artifact.model_file import write_model
from distill.models.conditions import Conditions
from distill.models.prior import CodePrior
from model_example import vqvae

LABELS = ("hat", "kick")


def conditions() -> Conditions:
    spread = np.random.default_rng(0)
    knobs = {
        "length": spread.uniform(0.1, 2.0, 12),
        "bright": spread.uniform(200, 9000, 12),
        "noisy": spread.uniform(0, 1, 12),
        "pitch": spread.uniform(60, 900, 12),
    }
    return Conditions.of(LABELS, ["hat", "kick"] * 6, knobs, spread.normal(-20, 10, (12, 23)))


def prior(known: Conditions) -> CodePrior:
    torch.manual_seed(1)
    model = CodePrior(**artifact_example.PRIOR.arguments(), conditions=known.width).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
        model.trained_columns.fill_(model.context_columns)
    return model


def write_askable(path: Path) -> Path:
    """The file of such a model."""
    known = conditions()
    config = artifact_example.PRIOR.model_copy(update={"conditions": known})
    manifest = artifact_example.manifest(prior_config=config, prior_metadata=artifact_example.PRIOR_METADATA)
    metadata = manifest.metadata.model_copy(update={"name": path.stem})
    manifest = manifest.model_copy(update={"metadata": metadata})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_model(path, manifest, vqvae().state_dict(), prior(known).state_dict())
    return path
