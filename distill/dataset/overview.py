"""What a scan says of a folder of sounds as a whole."""

from collections import Counter
from dataclasses import asdict
from statistics import median
from typing import Any

from distill.dataset.scan import FileReport


def overview(name: str, reports: list[FileReport]) -> dict[str, Any]:
    """Counts, durations in s, formats, loudness in dB below full scale and warnings of a scan, and every report."""
    used = [report for report in reports if report.usable]
    loudness = [report.loudness_db for report in used] or [0.0]
    warnings = [f"{report.path}: {warning}" for report in used for warning in report.warnings]
    if len(used) < len(reports):
        warnings.append(f"{len(reports) - len(used)} of {len(reports)} files are not used")
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
        "warnings": warnings,
        "reports": [asdict(report) for report in reports],
    }
