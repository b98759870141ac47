"""Codebook health: how much of each level's codebook is used, and what that means in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

HEALTHY_UTILIZATION = 0.5
WARNING_UTILIZATION = 0.3
COLLAPSED_UTILIZATION = 0.1
COLLAPSED_PERPLEXITY = 2.0


class LevelHealth(TypedDict):
    """Use of one level's codebook over a set of codes."""

    utilization: float
    perplexity: float
    dead_codes: int


Health = dict[str, LevelHealth]


@dataclass(frozen=True)
class Rating:
    """Codebook health as a light and in words."""

    light: Literal["green", "yellow", "red"]
    words: str


def usage_counts(indices: npt.NDArray[np.integer], codebook_size: int) -> npt.NDArray[np.int64]:
    """How often each code occurs: `[..., levels]` indices give `[levels, codebook_size]` counts."""
    flat = np.asarray(indices).reshape(-1, np.shape(indices)[-1])
    return np.stack([np.bincount(level, minlength=codebook_size) for level in flat.T])


def health_of_counts(counts: npt.NDArray[np.integer]) -> Health:
    """Health by level from `[levels, codebook_size]` counts.

    Utilization is the share of codes used, perplexity the exponential of the entropy of their use,
    `dead_codes` the number never used.

    >>> health_of_counts(np.array([[5, 5, 0, 0]]))
    {'level_0': {'utilization': 0.5, 'perplexity': 2.0, 'dead_codes': 2}}
    """
    health: Health = {}
    for level, row in enumerate(np.asarray(counts, dtype=np.float64)):
        share = row[row > 0] / max(row.sum(), 1.0)
        perplexity = float(np.exp(-np.sum(share * np.log(share)))) if share.size else 0.0
        health[f"level_{level}"] = {
            "utilization": float(np.mean(row > 0)),
            "perplexity": round(perplexity, 12),
            "dead_codes": int(np.sum(row == 0)),
        }
    return health


def rate(health: Mapping[str, LevelHealth]) -> Rating:
    """The light and the words for all levels together; the worst level decides.

    Green from 50 % utilization on every level, red below 10 % utilization or perplexity 2, else yellow.
    """
    if not health:
        return Rating("yellow", "Codebooks not used yet")
    lowest = min(level["utilization"] for level in health.values())
    if lowest < COLLAPSED_UTILIZATION or min(level["perplexity"] for level in health.values()) < COLLAPSED_PERPLEXITY:
        return Rating("red", "Codebook collapse detected")
    if lowest < HEALTHY_UTILIZATION:
        return Rating("yellow", "Some codes underused")
    return Rating("green", "Healthy")


def utilization_warnings(health: Mapping[str, LevelHealth]) -> dict[str, str]:
    """A sentence for each level whose utilization is below 30 %, by level; it never says 30 %."""
    least, most = f"{WARNING_UTILIZATION:.0%}", WARNING_UTILIZATION - 0.01
    return {
        name: f"{name}: only {min(level['utilization'], most):.0%} of the codes are used (below {least})"
        for name, level in health.items()
        if level["utilization"] < WARNING_UTILIZATION
    }
