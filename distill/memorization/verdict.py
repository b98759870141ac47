"""The verdict about memorization and its reasons in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from distill.configs import STRIDE
from distill.memorization.compare import Comparison, Findings
from distill.memorization.copies import Copies, Limits, distances_of, find_copies
from distill.memorization.evidence import copies_by_label, evidence_of
from distill.memorization.statistics import LEAST_SOUNDS

FAIL_CHANCE, WARN_CHANCE = 0.01, 0.05
# Where no two of the known sounds are alike, a single flagged one is worth a warning, once enough are known to say so.
SINGLE_CHANCE = 0.3
# The evidence has them all.
MOST_NAMED = 5

Grade = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class Verdict:
    """pass, warn or fail, with a plain reason each and the figures behind them; `flagged` counts generated sounds.

    `copies` are the flagged sounds by their number, or their channels where these are what comes near.
    """

    verdict: Grade
    reasons: tuple[str, ...]
    evidence: dict[str, Any]
    flagged: tuple[int, ...]
    copies: Mapping[int, Comparison] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The JSON values for reports and models."""
        return {"verdict": self.verdict, "reasons": list(self.reasons), "evidence": self.evidence}


def judge(
    findings: Findings,
    *,
    file_count: int,
    perplexity: Mapping[str, Any] | None = None,
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
        memorization_warnings: warnings from the prior's training.
    """
    copies = find_copies(findings, file_count)
    grade = _grade(copies, bool(memorization_warnings))
    return Verdict(
        verdict=grade,
        reasons=tuple(_reasons(findings, copies, grade, memorization_warnings)),
        evidence=evidence_of(findings, copies, perplexity),
        flagged=tuple(copies.by_sound),
        copies=copies.by_sound,
    )


def _grade(copies: Copies, training_warned: bool) -> Grade:
    if len(copies.by_sound) > 1 and copies.chance < FAIL_CHANCE:
        return "fail"
    if copies.by_sound and not copies.known:
        return "warn"
    by_chance = copies.chance >= (WARN_CHANCE if copies.near_duplicates else SINGLE_CHANCE)
    return "pass" if by_chance and not copies.nearer_as_a_set and not training_warned else "warn"


def _reasons(findings: Findings, copies: Copies, grade: Grade, memorization_warnings: Sequence[str]) -> list[str]:
    reasons = _about_copies(findings, copies, grade)
    if copies.nearer_as_a_set:
        reasons.append(
            f"as a set the generated sounds lie nearer to the training sounds than held-out ones do "
            f"(C_T {copies.rank:.1f}, distances {copies.ratio:.0%} of theirs)"
        )
    reasons += memorization_warnings
    if not reasons:
        reasons.append(_all_clear(findings, copies.limits))
    if not copies.known:
        reasons.append("every sound was trained on: nothing says how near other sounds come to one by chance")
    elif len(findings.held_out) < LEAST_SOUNDS:
        reasons.append(
            f"only {len(findings.held_out)} held-out sounds, too few for the rank test: training sounds compared "
            f"with each other help to set the measure, {LEAST_SOUNDS} held-out sounds or more say more"
        )
    return reasons


def _about_copies(findings: Findings, copies: Copies, grade: Grade) -> list[str]:
    count, reasons = len(copies.by_sound), []
    if count:
        own = f", while {copies.near_duplicates} of {copies.known} of your own sounds come as near to a training sound"
        by_chance = "; that may be chance: listen to them" if grade == "pass" else ""
        among = f"{count} of {len(findings.generated)} generated sounds may be copies"
        reasons.append(f"{among}{own if copies.known else ''}{by_chance}")
        reasons += [_words_of(findings, copy, copies.limits) for copy in list(copies.by_sound.values())[:MOST_NAMED]]
        if count > MOST_NAMED:
            reasons.append(f"and {count - MOST_NAMED} more sounds")
    reasons += [
        f"{each['flagged']} of {each['sounds']} sounds asked for as {label} may be copies"
        for label, each in copies_by_label(findings, copies).items()
        if each["flagged"]
    ]
    return reasons


def _words_of(findings: Findings, copy: Comparison, limits: Limits) -> str:
    near, run, name = copy.near, copy.run, copy.sound.name
    if near.distance < limits.distance and near.source is not None:
        place = f"{findings.training.names[near.source]} at {findings.seconds_of(near.source_frame):.2f} s"
        more = "" if near.source_distance < limits.distance else ", and parts of others"
        usual = "" if limits.usual_distance is None else f", usual {limits.usual_distance:.3f}"
        return (
            f"{name} at {findings.seconds_of(near.frame):.2f} s comes as near as a copy to training sound "
            f"{place}{more} (distance {near.distance:.3f}, limit {limits.distance:.3f}{usual})"
        )
    here, there = findings.seconds_of(STRIDE * run.column), findings.seconds_of(run.source_frame)
    return (
        f"{name} at {here:.2f} s repeats {run.codes} codes ({run.share:.0%} of it) of training sound "
        f"{findings.training.names[run.source]} at {there:.2f} s (limit {limits.codes:.0f})"
    )


def _all_clear(findings: Findings, limits: Limits) -> str:
    if not findings.generated:
        return "nothing was generated"
    nearest = min(distances_of(findings.generated))
    longest = max(each.run.codes for each in findings.generated)
    return (
        f"no generated sound comes as near to a training sound as a copy would: nearest distance {nearest:.3f} (limit "
        f"{limits.distance:.3f}), longest shared run {longest} codes (limit {limits.codes:.0f})"
    )
