"""Which generated sounds count as copies of training sounds, and what speaks against chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from distill.adaptive import copy_tolerance
from distill.memorization.compare import Comparison, Findings
from distill.memorization.statistics import LEAST_SOUNDS, chance_of, rank_statistic

# A copy that was shifted in time, softened or made noisy comes this near: docs/explanation/memorization.md has figures.
MOST_COPY_DISTANCE = 0.1
# A copied run has more codes that count than this share of a column's. Only some of a column's codes sound, in speech
# two of three, and unrelated sounds share no such run.
LEAST_COLUMNS = 0.5
# And it is most of its sound, or this much longer than most runs that unrelated sounds share.
WHOLE_COPY = 0.8
RUN_TOLERANCE = 1.5
USUAL_RUN = 0.75
# The rank test alone is a hint: a model that makes typical sounds comes nearer than held-out ones without copying.
COPYING_RANK, COPYING_RATIO = -3.0, 0.5


@dataclass(frozen=True)
class Limits:
    """What makes a sound a copy: a distance below, or a run of codes above, its limit.

    Attributes:
        distance: a copy comes nearer to training sounds than this.
        codes: a copy shares a longer run with one, in codes.
        measure: the sounds from which the limits follow, in words.
        usual_distance: the median distance of these; None: there are none.
    """

    distance: float
    codes: float
    measure: str
    usual_distance: float | None

    def copy(self, comparison: Comparison, column_codes: int) -> Comparison | None:
        """The sound, or the first of its channels, that is a copy; None: none is."""
        return next((view for view in comparison.views if self._passed(view, column_codes)), None)

    def _passed(self, comparison: Comparison, column_codes: int) -> bool:
        near, run = comparison.near, comparison.run
        whole = run.share >= WHOLE_COPY and run.codes >= LEAST_COLUMNS * column_codes
        return near.distance < self.distance or run.codes > self.codes or whole


@dataclass(frozen=True)
class Copies:
    """The generated sounds beyond the limits, and how many of the user's own sounds are so too.

    Attributes:
        limits: the limits.
        by_sound: the copies by the number of the generated sound; a channel where that is the copy.
        near_duplicates: held-out sounds and peers beyond the same limits.
        known: all held-out sounds and peers.
        chance: probability of as many copies or more if generated sounds were like those.
        rank: C_T of the distances of unconditioned generated sounds and held-out ones; None: too few.
        ratio: median distance of unconditioned generated sounds to that of held-out ones; None: not known.
    """

    limits: Limits
    by_sound: Mapping[int, Comparison]
    near_duplicates: int
    known: int
    chance: float
    rank: float | None
    ratio: float | None

    @property
    def nearer_as_a_set(self) -> bool:
        """Whether generated sounds lie nearer to training sounds than held-out ones do, by far and beyond chance."""
        return (
            self.rank is not None and self.rank < COPYING_RANK and self.ratio is not None and self.ratio < COPYING_RATIO
        )


def find_copies(findings: Findings, file_count: int) -> Copies:
    """Compare every sound with the limits; `file_count` usable files of the dataset give its tier."""
    limits = _limits(findings, file_count)
    by_sound = {
        index: copy
        for index, each in enumerate(findings.generated)
        if (copy := limits.copy(each, findings.column_codes)) is not None
    }
    known = (*findings.held_out, *findings.peers)
    near_duplicates = sum(limits.copy(each, findings.column_codes) is not None for each in known)
    return Copies(
        limits=limits,
        by_sound=by_sound,
        near_duplicates=near_duplicates,
        known=len(known),
        chance=chance_of(len(by_sound), len(findings.generated), near_duplicates, len(known)),
        rank=rank_statistic(distances_of(findings.unconditioned), distances_of(findings.held_out)),
        ratio=_ratio(findings),
    )


def distances_of(comparisons: Sequence[Comparison]) -> list[float]:
    """How near each sound comes to the training sounds."""
    return [each.near.distance for each in comparisons]


def _limits(findings: Findings, file_count: int) -> Limits:
    """Limits from the held-out sounds; training sounds beside other training sounds help out where they are few."""
    few = len(findings.held_out) < LEAST_SOUNDS
    measure = (*findings.held_out, *findings.peers) if few else findings.held_out
    distances, runs = distances_of(measure), [each.run.codes for each in measure]
    usual = median(distances) if distances else None
    long = float(np.quantile(runs, USUAL_RUN)) if runs else 0.0
    return Limits(
        distance=MOST_COPY_DISTANCE if usual is None else min(MOST_COPY_DISTANCE, copy_tolerance(file_count) * usual),
        codes=max(LEAST_COLUMNS * findings.column_codes, RUN_TOLERANCE * long),
        measure=_measure(few, len(measure)),
        usual_distance=usual,
    )


def _measure(few: bool, count: int) -> str:
    if not count:
        return "none: no sound is known that was not trained on"
    return "held-out and training sounds" if few else "held-out sounds"


def _ratio(findings: Findings) -> float | None:
    if not findings.generated or not findings.held_out:
        return None
    usual = median(distances_of(findings.held_out))
    return median(distances_of(findings.unconditioned)) / usual if usual > 0 else None
