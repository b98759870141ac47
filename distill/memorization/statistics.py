"""The statistics of the check, on plain numbers."""

from collections.abc import Sequence
from math import comb, sqrt

import numpy as np

# With fewer on a side a rank test cannot reach a significance worth the name.
LEAST_SOUNDS = 8


def rank_statistic(generated: Sequence[float], held_out: Sequence[float]) -> float | None:
    """C_T: whether generated sounds lie nearer to the training sounds (negative) than held-out ones do, as a z score.

    The Mann-Whitney statistic of the two sets of distances, as in Meehan, Chaudhuri and Dasgupta, "A non-parametric
    test to detect data-copying in generative models" (2020), over a single cell: so few sounds allow no partition.
    None with fewer than `LEAST_SOUNDS` on a side.

    >>> round(rank_statistic([0.1] * 10, [0.5] * 10), 2)
    -3.78
    """
    few, many = len(generated), len(held_out)
    if min(few, many) < LEAST_SOUNDS:
        return None
    own, other = np.asarray(generated)[:, None], np.asarray(held_out)[None]
    above = float((own > other).sum() + 0.5 * (own == other).sum())
    return (above - few * many / 2) / sqrt(few * many * (few + many + 1) / 12)


def chance_of(count: int, among: int, known: int, known_among: int) -> float:
    """Probability of at least `count` of `among`, when `known` of `known_among` of the same kind were seen before.

    The posterior predictive of a binomial with an even prior for its rate (beta-binomial), in exact arithmetic.

    >>> chance_of(1, 1, 0, 0)
    0.5
    >>> round(chance_of(8, 8, 0, 24), 9)
    7.2e-08
    """
    all_ways = comb(known_among + among + 1, among)
    ways = sum(
        comb(known + found, found) * comb(known_among - known + among - found, among - found)
        for found in range(count, among + 1)
    )
    return ways / all_ways
