"""The verdict about memorization, its reasons and its evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

import numpy as np

from distill.adaptive import copy_tolerance
from distill.audio.nearness import WINDOW_SECONDS
from distill.configs import STRIDE
from distill.memorization.code_runs import NGRAM
from distill.memorization.compare import Comparison, Findings
from distill.memorization.statistics import LEAST_SOUNDS, chance_of, rank_statistic

# A copy that was shifted in time, softened or made noisy comes this near: docs/explanation/memorization.md has figures.
MOST_COPY_DISTANCE = 0.1
# A run has to have more codes that count than this share of a column's before it can be called a copy. Only some of a
# column's codes sound, in speech two of three, and unrelated sounds share no such run.
LEAST_COLUMNS = 0.5
# And be most of its sound, or this much longer than most runs that unrelated sounds share.
WHOLE_COPY = 0.8
RUN_TOLERANCE = 1.5
USUAL_RUN = 0.75

FAIL_CHANCE, WARN_CHANCE = 0.01, 0.05
# Where no two of the known sounds are alike, a single flagged one is worth a warning, once enough are known to say so.
SINGLE_CHANCE = 0.3
# The evidence has them all.
MOST_NAMED = 5
# The rank test alone is a hint: a model that makes typical sounds comes nearer than held-out ones without copying.
COPYING_RANK, COPYING_RATIO = -3.0, 0.5


@dataclass(frozen=True)
class Verdict:
    """pass, warn or fail, with a plain reason each and the figures behind them; `flagged` counts generated sounds.

    `copies` are the flagged sounds by their number, or their channels where these are what comes near.
    """

    verdict: Literal["pass", "warn", "fail"]
    reasons: tuple[str, ...]
    evidence: dict[str, Any]
    flagged: tuple[int, ...]
    copies: Mapping[int, Comparison] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """What reports and models hold of it."""
        return {"verdict": self.verdict, "reasons": list(self.reasons), "evidence": self.evidence}


@dataclass(frozen=True)
class _Limits:
    """What counts as a copy: a distance below, or a run of codes above; and which sounds say so."""

    distance: float
    codes: float
    measure: str
    usual_distance: float

    def copied(self, comparison: Comparison, column_codes: int) -> bool:
        """Whether a sound, or a channel of it, says so."""
        return self.copy(comparison, column_codes) is not None

    def copy(self, comparison: Comparison, column_codes: int) -> Comparison | None:
        """The sound, or the first of its channels, that says so."""
        return next((view for view in comparison.views if self._copied(view, column_codes)), None)

    def _copied(self, comparison: Comparison, column_codes: int) -> bool:
        near, run = comparison.near, comparison.run
        whole = run.share >= WHOLE_COPY and run.codes >= LEAST_COLUMNS * column_codes
        return near.distance < self.distance or run.codes > self.codes or whole


def judge(
    findings: Findings,
    *,
    file_count: int,
    perplexity: dict[str, Any] | None = None,
    memorization_warnings: Sequence[str] = (),
) -> Verdict:
    """Judge what generated sounds share with training sounds.

    A generated sound is flagged when it comes nearer to training sounds, or shares a longer run of codes with one, than
    a copy would. Sounds that nobody generated set the measure, twice: their usual distances and runs give the limits,
    and how many of them would be flagged as well (near duplicates) says how many flagged sounds mean nothing. A low
    perplexity alone fails no model.

    Args:
        findings: the comparisons.
        file_count: usable files of the dataset, which give its tier.
        perplexity: figures of the prior's training, for the evidence.
        memorization_warnings: what the watch on the prior's training said.
    """
    limits = _limits(findings, file_count)
    copies = {
        index: copy
        for index, each in enumerate(findings.generated)
        if (copy := limits.copy(each, findings.column_codes)) is not None
    }
    flagged = tuple(copies)
    known = (*findings.held_out, *findings.peers)
    alike = sum(limits.copied(each, findings.column_codes) for each in known)
    count, total = len(flagged), len(findings.generated)
    chance = chance_of(count, total, alike, len(known))
    rank = rank_statistic(_distances(_unasked(findings)), _distances(findings.held_out))
    ratio = _ratio(findings)
    drawn = rank is not None and rank < COPYING_RANK and ratio is not None and ratio < COPYING_RATIO

    verdict: Literal["pass", "warn", "fail"] = "pass"
    if count > 1 and chance < FAIL_CHANCE:
        verdict = "fail"
    elif chance < (WARN_CHANCE if alike else SINGLE_CHANCE) or drawn or memorization_warnings:
        verdict = "warn"
    reasons = []
    if count:
        own = f"{alike} of {len(known)} of your own sounds come as near to a training sound"
        chances = "; that may be chance: listen to them" if verdict == "pass" else ""
        reasons.append(f"{count} of {total} generated sounds may be copies, while {own}{chances}")
        reasons += [_words_of(findings, copies[index], limits) for index in flagged[:MOST_NAMED]]
        if count > MOST_NAMED:
            reasons.append(f"and {count - MOST_NAMED} more sounds")
    by_label = _by_label(findings, flagged)
    reasons += [
        f"{each['flagged']} of {each['sounds']} sounds asked for as {label} may be copies"
        for label, each in by_label.items()
        if each["flagged"]
    ]
    if drawn:
        reasons.append(
            f"as a set the generated sounds lie nearer to the training sounds than held-out ones do "
            f"(C_T {rank:.1f}, distances {ratio:.0%} of theirs)"
        )
    reasons += memorization_warnings
    if not reasons:
        reasons.append(_all_clear(findings, limits))
    if len(findings.held_out) < LEAST_SOUNDS:
        reasons.append(
            f"only {len(findings.held_out)} held-out sounds, too few for the rank test: training sounds compared "
            f"with each other help to set the measure, {LEAST_SOUNDS} held-out sounds or more say more"
        )
    evidence = {
        "perplexity": perplexity or {},
        "flagged": list(flagged),
        "chance": _rounded(chance),
        "near_duplicates": {"flagged": alike, "sounds": len(known)},
        "code_runs": {"threshold": _rounded(limits.codes), "column_codes": findings.column_codes},
        "code_overlap": {
            "ngram": NGRAM,
            "generated": _median(each.overlap for each in findings.generated),
            "held_out": _median(each.overlap for each in findings.held_out),
        },
        "distances": {
            "threshold": _rounded(limits.distance),
            "measure": limits.measure,
            "usual": _rounded(limits.usual_distance),
            "window_seconds": WINDOW_SECONDS,
            "generated": _median(_distances(findings.generated)),
            "held_out": _median(_distances(findings.held_out)),
            "ratio": _rounded(ratio),
        },
        "rank_test": _rank_entry(findings, rank),
        **({"labels": by_label} if by_label else {}),
        "generated": [
            _entry(findings, copies.get(index, each), index in flagged) for index, each in enumerate(findings.generated)
        ],
        "held_out": [_entry(findings, each, limits.copied(each, findings.column_codes)) for each in findings.held_out],
    }
    return Verdict(verdict, tuple(reasons), evidence, flagged, copies)


def seconds_of(findings: Findings, frame: int) -> float:
    """Where a frame of a log mel begins, in s."""
    return frame * findings.spectrogram.hop_length / findings.spectrogram.sample_rate


def _limits(findings: Findings, file_count: int) -> _Limits:
    """Limits from the held-out sounds; training sounds beside other training sounds help out where they are few."""
    few = len(findings.held_out) < LEAST_SOUNDS
    measure = (*findings.held_out, *findings.peers) if few else findings.held_out
    distances, runs = _distances(measure), [each.run.codes for each in measure]
    usual = median(distances) if distances else MOST_COPY_DISTANCE / copy_tolerance(file_count)
    long = float(np.quantile(runs, USUAL_RUN)) if runs else 0.0
    return _Limits(
        distance=min(MOST_COPY_DISTANCE, copy_tolerance(file_count) * usual),
        codes=max(LEAST_COLUMNS * findings.column_codes, RUN_TOLERANCE * long),
        measure="held-out and training sounds" if few else "held-out sounds",
        usual_distance=usual,
    )


def _words_of(findings: Findings, each: Comparison, limits: _Limits) -> str:
    near, run, name = each.near, each.run, each.sound.name
    if near.distance < limits.distance and near.source is not None:
        place = f"{findings.training.names[near.source]} at {seconds_of(findings, near.source_frame):.2f} s"
        more = "" if near.source_distance < limits.distance else ", and parts of others"
        return (
            f"{name} at {seconds_of(findings, near.frame):.2f} s comes as near as a copy to training sound "
            f"{place}{more} "
            f"(distance {near.distance:.3f}, limit {limits.distance:.3f}, usual {limits.usual_distance:.3f})"
        )
    here, there = seconds_of(findings, STRIDE * run.column), seconds_of(findings, run.source_frame)
    return (
        f"{name} at {here:.2f} s repeats {run.codes} codes ({run.share:.0%} of it) of training sound "
        f"{findings.training.names[run.source]} at {there:.2f} s (limit {limits.codes:.0f})"
    )


def _all_clear(findings: Findings, limits: _Limits) -> str:
    if not findings.generated:
        return "nothing was generated"
    nearest = min(_distances(findings.generated))
    longest = max(each.run.codes for each in findings.generated)
    return (
        f"no generated sound comes as near to a training sound as a copy would: nearest distance {nearest:.3f} (limit "
        f"{limits.distance:.3f}), longest shared run {longest} codes (limit {limits.codes:.0f})"
    )


def _distances(comparisons: Sequence[Comparison]) -> list[float]:
    return [each.near.distance for each in comparisons]


def _unasked(findings: Findings) -> list[Comparison]:
    """The generated sounds of which nothing was asked: only they are as the model's sounds are."""
    labels = findings.labels or (None,) * len(findings.generated)
    return [each for each, label in zip(findings.generated, labels, strict=True) if label is None]


def _by_label(findings: Findings, flagged: Sequence[int]) -> dict[str, dict[str, int]]:
    """How many sounds were asked for by each label, and how many of them are flagged."""
    labels = [label for label in dict.fromkeys(findings.labels) if label is not None]
    places = {label: [index for index, each in enumerate(findings.labels) if each == label] for label in labels}
    return {
        label: {"sounds": len(of), "flagged": sum(index in flagged for index in of)} for label, of in places.items()
    }


def _ratio(findings: Findings) -> float | None:
    """Usual distance of generated sounds to training sounds, as a share of the held-out sounds'."""
    if not findings.generated or not findings.held_out:
        return None
    usual = median(_distances(findings.held_out))
    return median(_distances(_unasked(findings))) / usual if usual > 0 else None


def _rank_entry(findings: Findings, rank: float | None) -> dict[str, Any]:
    sides = {"generated": len(_unasked(findings)), "held_out": len(findings.held_out)}
    said = "" if rank is not None else f"too few sounds: {LEAST_SOUNDS} on each side are needed"
    return {"c_t": _rounded(rank), "sounds": sides, "said": said}


def _entry(findings: Findings, each: Comparison, flagged: bool) -> dict[str, Any]:
    near, run = each.near, each.run
    return {
        "name": each.sound.name,
        "flagged": bool(flagged),
        "distance": _rounded(near.distance),
        "seconds": _rounded(seconds_of(findings, near.frame)),
        "training_sound": None if near.source is None else findings.training.names[near.source],
        "training_seconds": _rounded(seconds_of(findings, near.source_frame)),
        "code_overlap": _rounded(each.overlap),
        "code_run": {
            "codes": run.codes,
            "share": _rounded(run.share),
            "training_sound": findings.training.names[run.source] if run.codes else None,
            "column": run.column,
            "training_seconds": _rounded(seconds_of(findings, run.source_frame)),
        },
    }


def _median(values: Any) -> float | None:
    found = list(values)
    return _rounded(median(found)) if found else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)
