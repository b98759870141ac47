"""What a scan says of a folder of sounds as a whole."""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from distill.adaptive import CONDITIONS_FILES, validation_fraction
from distill.dataset.labels import LEAST_SOUNDS
from distill.dataset.scan import FileReport
from distill.words import how_many


def stereo_of(reports: Sequence[FileReport]) -> dict[str, float] | None:
    """How many sounds have two channels that differ, and how loud their sides are, in dB relative to the mix."""
    sides = [report.side_db for report in reports if report.side_db is not None]
    if not sides:
        return None
    return {
        "sounds": len(sides),
        "least_db": min(sides),
        "median_db": round(median(sides), 2),
        "greatest_db": max(sides),
    }


def overview(name: str, reports: list[FileReport], labels: Sequence[str] = ()) -> dict[str, Any]:
    """Counts, durations in s, formats, loudness in dB relative to full scale and warnings of a scan.

    `labels` are those of the files, "" where one has none; how many usable sounds each has is counted, and of how many
    too few to be learned is warned.
    """
    used = [report for report in reports if report.usable]
    loudness = [report.loudness_db for report in used] or [0.0]
    counts = Counter(label for report, label in zip(reports, labels, strict=False) if label and report.usable)
    learned = 1.0 - validation_fraction(max(1, len(used)))
    rare = sorted(label for label, count in counts.items() if count * learned < LEAST_SOUNDS)
    warnings = [f"{report.path}: {warning}" for report in used for warning in report.warnings]
    if len(used) < len(reports):
        warnings.append(f"{how_many(len(reports) - len(used), len(reports), 'file')} not used")
    if counts and len(used) < CONDITIONS_FILES:
        warnings.append(
            f"below {CONDITIONS_FILES} usable sounds no label is learned, unless you ask for it with "
            "--set prior.conditions=true"
        )
    if any(count >= LEAST_SOUNDS for count in counts.values()) and rare:
        warnings.append(
            f"labels of fewer than {LEAST_SOUNDS} training sounds are not learned, and some sounds are held out, so "
            f"these may not be: {', '.join(rare)}"
        )
    return {
        "folder": name,
        "files": len(reports),
        "usable": len(used),
        "seconds": round(sum(report.seconds for report in used), 3),
        "verdicts": dict(sorted(Counter(str(report.verdict) for report in reports).items())),
        "sample_rates": {str(rate): n for rate, n in sorted(Counter(report.sample_rate for report in used).items())},
        "channels": {str(count): n for count, n in sorted(Counter(report.channels for report in used).items())},
        "loudness_db": {
            figure: round(float(value), 2) if used else None
            for figure, value in (("min", min(loudness)), ("median", median(loudness)), ("max", max(loudness)))
        },
        **({"labels": dict(sorted(counts.items()))} if counts else {}),
        **({"stereo": stereo} if (stereo := stereo_of(used)) else {}),
        "warnings": warnings,
    }
