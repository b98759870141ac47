"""The verdict about memorization, its reasons and its evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from distill.memorization.runs import SharedRun

# A run has to be at least this many columns (at 48 kHz: 0.34 s) before it can be called a copy.
LEAST_COLUMNS = 2
# How much of a sound has to stand in one training sound before the sound is called a copy as a whole.
WHOLE_COPY = 0.8
MANY_FLAGGED = 0.25
FEW_HELD_OUT = 8


@dataclass(frozen=True)
class Verdict:
    """pass, warn or fail, with a plain reason each and the figures behind them."""

    verdict: Literal["pass", "warn", "fail"]
    reasons: tuple[str, ...]
    evidence: dict[str, Any]


def judge_runs(
    generated: Sequence[SharedRun],
    held_out: Sequence[SharedRun],
    *,
    column_codes: int,
    training_names: Sequence[str],
    perplexity: dict[str, Any],
    memorization_warnings: Sequence[str],
) -> Verdict:
    """Judge generated sounds by the runs of codes they share with training sounds.

    What held-out sounds share with training sounds by nature is the measure: a generated sound is flagged when its
    longest run is longer than any of theirs and at least `LEAST_COLUMNS` columns of `column_codes` codes. A low
    perplexity alone never fails a model.
    """
    threshold = max(LEAST_COLUMNS * column_codes, *(run.codes for run in held_out), 0)
    flagged = [(index, run) for index, run in enumerate(generated) if run.codes > threshold]
    copies = [(index, run) for index, run in flagged if run.share >= WHOLE_COPY]
    reasons: list[str] = []
    if copies or len(flagged) > MANY_FLAGGED * len(generated):
        verdict: Literal["pass", "warn", "fail"] = "fail"
    elif flagged or memorization_warnings:
        verdict = "warn"
    else:
        verdict = "pass"
    for index, run in flagged:
        reasons.append(
            f"generated sound {index} repeats {run.codes} codes ({run.share:.0%} of it) of training sound "
            f"{training_names[run.source]}; held-out sounds share at most {threshold}"
        )
    reasons += memorization_warnings
    if not reasons:
        longest = max((run.codes for run in generated), default=0)
        reasons.append(
            f"no generated sound shares a longer run of codes with a training sound ({longest}) "
            f"than held-out sounds do, or than {LEAST_COLUMNS} columns (together: {threshold})"
        )
    if len(held_out) < FEW_HELD_OUT:
        reasons.append(f"only {len(held_out)} held-out sounds set the measure: {FEW_HELD_OUT} or more say more")
    evidence = {
        "perplexity": perplexity,
        "code_runs": {
            "threshold": threshold,
            "column_codes": column_codes,
            "generated": [_entry(run, training_names) for run in generated],
            "held_out": [_entry(run, training_names) for run in held_out],
        },
    }
    return Verdict(verdict, tuple(reasons), evidence)


def _entry(run: SharedRun, names: Sequence[str]) -> dict[str, Any]:
    return {
        "codes": run.codes,
        "share": round(run.share, 6),
        "training_sound": names[run.source] if run.codes else None,
        "column": run.column,
        "training_column": run.source_column,
    }
