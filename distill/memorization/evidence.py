"""The figures behind a verdict, as reports and models hold them."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from distill.audio.nearness import WINDOW_SECONDS
from distill.memorization.code_runs import NGRAM
from distill.memorization.compare import Comparison, Findings
from distill.memorization.copies import Copies, distances_of
from distill.memorization.statistics import LEAST_SOUNDS


def evidence_of(findings: Findings, copies: Copies, perplexity: Mapping[str, Any] | None) -> dict[str, Any]:
    """JSON values by subject; `perplexity` are figures of the prior's training."""
    limits, flagged, by_label = copies.limits, copies.by_sound, copies_by_label(findings, copies)
    return {
        "perplexity": dict(perplexity or {}),
        "flagged": list(flagged),
        "chance": _rounded(copies.chance),
        "near_duplicates": {"flagged": copies.near_duplicates, "sounds": copies.known},
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
            "generated": _median(distances_of(findings.generated)),
            "held_out": _median(distances_of(findings.held_out)),
            "ratio": _rounded(copies.ratio),
        },
        "rank_test": _rank_test(findings, copies.rank),
        **({"labels": by_label} if by_label else {}),
        "generated": [
            _sound(findings, flagged.get(index, each), index in flagged)
            for index, each in enumerate(findings.generated)
        ],
        "held_out": [
            _sound(findings, each, limits.copy(each, findings.column_codes) is not None) for each in findings.held_out
        ],
    }


def copies_by_label(findings: Findings, copies: Copies) -> dict[str, dict[str, int]]:
    """How many sounds were generated with each label, and how many of them are flagged."""
    labels = [label for label in dict.fromkeys(findings.labels) if label is not None]
    places = {label: [index for index, each in enumerate(findings.labels) if each == label] for label in labels}
    return {
        label: {"sounds": len(of), "flagged": sum(index in copies.by_sound for index in of)}
        for label, of in places.items()
    }


def _rank_test(findings: Findings, rank: float | None) -> dict[str, Any]:
    sides = {"generated": len(findings.unconditioned), "held_out": len(findings.held_out)}
    said = "" if rank is not None else f"too few sounds: {LEAST_SOUNDS} on each side are needed"
    return {"c_t": _rounded(rank), "sounds": sides, "said": said}


def _sound(findings: Findings, each: Comparison, flagged: bool) -> dict[str, Any]:
    near, run = each.near, each.run
    return {
        "name": each.sound.name,
        "flagged": flagged,
        "distance": _rounded(near.distance),
        "seconds": _rounded(findings.seconds_of(near.frame)),
        "training_sound": None if near.source is None else findings.training.names[near.source],
        "training_seconds": _rounded(findings.seconds_of(near.source_frame)),
        "code_overlap": _rounded(each.overlap),
        "code_run": {
            "codes": run.codes,
            "share": _rounded(run.share),
            "training_sound": findings.training.names[run.source] if run.codes else None,
            "column": run.column,
            "training_seconds": _rounded(findings.seconds_of(run.source_frame)),
        },
    }


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return _rounded(median(found)) if found else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)
