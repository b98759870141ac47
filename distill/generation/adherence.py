"""How well a prior follows its conditioning, measured on sounds that it makes."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from distill.artifact.manifest import Following
from distill.audio.knobs import KNOBS, knobs_of
from distill.audio.mel import MelTransform
from distill.audio.timbre import Timbre, timbre_of
from distill.codec.codec import Grid
from distill.configs import SpectrogramConfig
from distill.generation import GUIDANCE
from distill.generation.autoregressive import Conditioning, window_columns
from distill.generation.sampling import sample_codes
from distill.models.conditions import Conditions
from distill.models.edges import ColumnLevels, column_levels
from distill.models.grid import decode_grid
from distill.models.prior import CodePrior
from distill.models.vqvae import ConvVQVAE

Ranks = npt.NDArray[np.int64]

# How many sounds are made for each label, and for each knob at each of these ranks.
SOUNDS = 4
RANKS = (0.1, 0.3, 0.5, 0.7, 0.9)


def following(
    vqvae: ConvVQVAE,
    prior: CodePrior,
    conditions: Conditions,
    spectrogram: SpectrogramConfig,
    held_out: Sequence[tuple[str, Timbre]],
    step: Callable[[], None] = lambda: None,
) -> Following:
    """Condition sounds on every label, and on every knob at several ranks, without choosing among candidates.

    Args:
        vqvae: makes log mels of codes.
        prior: in evaluation mode, on the same device.
        conditions: those of the prior.
        spectrogram: of the log mels.
        held_out: labels and timbres of sounds that the prior never saw.
        step: called before each column is drawn; it may raise to end the work.
    """
    transform = MelTransform(spectrogram)

    def decoded(grid: Grid) -> torch.Tensor:
        codes = torch.from_numpy(grid.astype(np.int64))[None].to(prior.head.weight.device)
        return decode_grid(vqvae, codes)[0].cpu()

    def levels(grid: Grid) -> ColumnLevels:
        return column_levels(decoded(grid), transform)

    labels = [label for label in conditions.labels for _ in range(SOUNDS)]
    targets = [(name, rank) for name in conditions.knobs for rank in RANKS for _ in range(SOUNDS)]
    vectors = [conditions.vector(label, {}) for label in labels]
    vectors += [conditions.vector(None, {name: rank}) for name, rank in targets]
    grids = sample_codes(
        prior,
        columns=window_columns(prior),
        seeds=range(len(vectors)),
        natural=True,
        levels=levels,
        step=step,
        conditioning=Conditioning(np.stack(vectors), GUIDANCE),
    )
    log_mels = [decoded(grid).numpy() for grid in grids]
    of_labels, of_knobs = log_mels[: len(labels)], log_mels[len(labels) :]
    found = [conditions.label_of(timbre_of(each, spectrogram)) for each in of_labels]
    hits = [label == wanted for label, wanted in zip(found, labels, strict=True)]
    got = [knobs_of(each, spectrogram)[KNOBS.index(name)] for each, (name, _) in zip(of_knobs, targets, strict=True)]
    known = [(label, timbre) for label, timbre in held_out if label in conditions.labels]
    right = [conditions.label_of(timbre) == label for label, timbre in known]
    table = pd.DataFrame({"name": [name for name, _ in targets], "asked": [rank for _, rank in targets], "got": got})
    return Following(
        labels={label: float(np.mean(hits[SOUNDS * at :][:SOUNDS])) for at, label in enumerate(conditions.labels)},
        judged=float(np.mean(right)) if right else None,
        knobs={name: _correlation(table[table["name"] == name].dropna()) for name in conditions.knobs},
    )


def _correlation(rows: pd.DataFrame) -> float | None:
    """Spearman's, of the ranks that were set and the values that came."""
    if len(rows) < len(RANKS) or rows["got"].nunique() < 2:
        return None
    # Twice a rank is a whole number, and their sums are exact: those of floating-point numbers have other last bits
    # wherever the numbers lie elsewhere in memory.
    target, got = ((2 * rows[name].rank()).to_numpy().astype(np.int64) for name in ("asked", "got"))

    def product(one: Ranks, other: Ranks) -> int:
        return int(len(rows) * (one * other).sum() - one.sum() * other.sum())

    return product(target, got) / math.sqrt(product(target, target) * product(got, got))
