"""Settings that follow from the number of files, and the presets."""

import math
from dataclasses import dataclass
from typing import Any

from distill.configs import PriorConfig, VQVAEConfig


@dataclass(frozen=True)
class Tier:
    """One row of the table of adaptive settings: what suits a dataset of up to `most_files` files."""

    most_files: float
    vqvae: dict[str, Any]
    prior: dict[str, Any]
    # The fewer sounds, the farther apart they lie, and the less their usual distance says of a copy's.
    copy_tolerance: float


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
        copy_tolerance=0.3,
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
        copy_tolerance=0.35,
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
        copy_tolerance=0.4,
    ),
)


def get_adaptive_vqvae_config(file_count: int) -> VQVAEConfig:
    """The reference settings of the VQ-VAE for a dataset of this many usable files."""
    return VQVAEConfig(batch_size=batch_size(file_count), **_tier(file_count).vqvae)


def get_adaptive_prior_config(file_count: int) -> PriorConfig:
    """The reference settings of the prior for a dataset of this many usable files."""
    return PriorConfig(batch_size=batch_size(file_count), **_tier(file_count).prior)


def copy_tolerance(file_count: int) -> float:
    """Share of the usual distance between unrelated sounds of a dataset below which a sound counts as a copy."""
    return _tier(file_count).copy_tolerance


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


# The preset `tuned` plans in optimizer steps: so many a file, within limits (least, most).
TUNED_VQVAE_STEPS = (10, 225, 3000)
TUNED_VQVAE_STEPS_FROM_BASE = (3, 100, 1000)
TUNED_PRIOR_STEPS = (20, 600, 4000)
# The preset `sketch` is the same with as many steps as two minutes have room for, whatever the number of files.
SKETCH_VQVAE_STEPS = (0, 100, 100)
SKETCH_VQVAE_STEPS_FROM_BASE = (0, 60, 60)
SKETCH_PRIOR_STEPS = (0, 240, 240)
# A step of the prior has at most so many codes: 32 sounds of 3.6 s, or 8 windows of a long one.
TUNED_PRIOR_STEP_CODES = 16_384
# Fewer sounds do not tell ranks apart; with 24 labels and knobs were followed.
CONDITIONS_FILES = 20
# The best epoch, an early stop, a plateau and a curve need the least; more than the most take time and tell no more.
LEAST_EVALUATIONS, MOST_EVALUATIONS = 20, 100

# docs/explanation/settings.md has the measurements behind these values.
TUNED_VQVAE: dict[str, Any] = {
    "dropout": 0.0,
    "learning_rate": 3e-3,
    "warmup_fraction": 0.05,
    "decay": 0.95,
    # The first batch alone holds fewer vectors than a codebook of 256 needs.
    "kmeans_chunks": 64,
    "weight_full": 0.3,
    "weight_half": 0.2,
    "weight_quarter": 0.1,
    "weight_l1": 0.4,
}
# What a high rate is good for at the start, a base has learned: docs/explanation/settings.md.
TUNED_FROM_BASE: dict[str, Any] = {"learning_rate": 1e-3}
# A fourth level and half the hop (distill/params.py) bring held-out sounds nearest.
SHARP_VQVAE: dict[str, Any] = {"num_quantizers": 4}
# A code is dead when it gets less than this share of the vectors that an evenly used code would get.
TUNED_DEAD_SHARE = 0.1

TUNED_PRIOR: dict[str, Any] = {
    # Larger ones are slower and no better.
    "hidden": 128,
    "layers": 2,
    "heads": 4,
    "dropout": 0.2,
    "learning_rate": 1e-3,
    "warmup_fraction": 0.05,
    # Where a sound is cut into columns is a matter of chance.
    "column_cuts": 4,
    # They keep the prior learning for longer: TUNED_PRIOR_STEPS count on them.
    "augmented_copies": 4,
}


def tuned_vqvae(
    config: VQVAEConfig,
    *,
    file_count: int,
    train_chunks: int,
    chunk_vectors: int,
    given: dict[str, Any],
    sketch: bool = False,
    base: bool = True,
) -> dict[str, Any]:
    """What the preset `tuned`, or `sketch`, changes in the reference settings of the VQ-VAE.

    Args:
        config: the reference settings.
        file_count: usable files.
        train_chunks: chunks to learn from.
        chunk_vectors: code positions of a chunk.
        given: parameters that the user sets; the plan takes them into account.
        sketch: whether few steps are to be enough.
        base: whether encoder and decoder are trained before.
    """
    tuned = TUNED_VQVAE | (TUNED_FROM_BASE if base else {})
    values = {**config.model_dump(), **tuned, **given}
    tuned_steps, sketch_steps = (
        (TUNED_VQVAE_STEPS_FROM_BASE, SKETCH_VQVAE_STEPS_FROM_BASE) if base else (TUNED_VQVAE_STEPS, SKETCH_VQVAE_STEPS)
    )
    steps = _steps(file_count, sketch_steps if sketch else tuned_steps)
    once = train_chunks / values["batch_size"]
    expansion = max(1, min(values["augmentation_expansion"], int(longest_epoch(steps) / once)))
    expansion = given.get("augmentation_expansion", expansion)
    even_share = values["batch_size"] * chunk_vectors / values["codebook_size"]
    return {
        **tuned,
        "augmentation_expansion": expansion,
        **_epochs(steps, math.ceil(once * expansion), given),
        "threshold_ema_dead_code": min(1000.0, TUNED_DEAD_SHARE * even_share),
    }


def tuned_prior(
    config: PriorConfig,
    *,
    file_count: int,
    windows: int,
    window_codes: float,
    given: dict[str, Any],
    sketch: bool = False,
) -> dict[str, Any]:
    """What the preset `tuned`, or `sketch`, changes in the reference settings of the prior.

    Args:
        config: the reference settings.
        file_count: usable files.
        windows: windows in which a pass shows the training sounds, with their variants.
        window_codes: codes of such a window, on average.
        given: parameters that the user sets; the plan takes them into account.
        sketch: whether few steps are to be enough.
    """
    values = {**config.model_dump(), **TUNED_PRIOR, **given}
    most = max(1, int(TUNED_PRIOR_STEP_CODES / window_codes))
    batch = given.get("batch_size", min(values["batch_size"], most))
    steps = _steps(file_count, SKETCH_PRIOR_STEPS if sketch else TUNED_PRIOR_STEPS)
    plan = _epochs(steps, math.ceil(windows / batch), given)
    # An epoch of few sounds is a few steps, too few to tell the end of an improvement.
    patience = max(5, given.get("epochs", plan["epochs"]) // 4)
    # In few steps neither label nor knob is learned.
    conditions = file_count >= CONDITIONS_FILES and not sketch
    return {**TUNED_PRIOR, "batch_size": batch, **plan, "early_stop_patience": patience, "conditions": conditions}


def longest_epoch(steps: int) -> int:
    """Most steps between two evaluations of a training of so many steps."""
    return max(1, steps // LEAST_EVALUATIONS)


def _epochs(steps: int, pass_steps: int, given: dict[str, Any]) -> dict[str, int]:
    """Epochs that give so many steps: passes over the data, several where one is short, parts of one that is long."""
    longest = longest_epoch(steps)
    passes = 1 if "epochs" in given else math.ceil(steps / MOST_EVALUATIONS / pass_steps)
    planned = longest if pass_steps > longest else passes * pass_steps if passes > 1 else 0
    in_epoch = given.get("steps_per_epoch", planned)
    return {"steps_per_epoch": in_epoch, "epochs": max(1, round(steps / (in_epoch or pass_steps)))}


def _steps(file_count: int, plan: tuple[int, int, int]) -> int:
    a_file, least, most = plan
    return min(most, max(least, a_file * file_count))
