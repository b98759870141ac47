"""What changed between two datasets: their files, verdicts and labels, and how their sounds are spread."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from distill.dataset.scan import FileReport
from distill.dataset.spread import reach
from distill.reports.dataset_facts import QUANTITIES, Facts, Values

# Two draws of n and m sounds from one source are farther apart than this times sqrt(1/n + 1/m) in 5 % of the cases
# (Smirnov's limiting distribution; with few sounds, and sounds that both sides have, it is less).
_LIMIT_5_PERCENT = 1.358


@dataclass(frozen=True)
class Change:
    """A file before and after, and its label before and after."""

    before: FileReport
    after: FileReport
    labels: tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """The values of a quantity in both datasets.

    Attributes:
        unit: of the values.
        before, after: of the usable sounds that have one, `[n]`.
        distance: Kolmogorov-Smirnov, 0 for the same distribution to 1; None where a side has no value.
        limit: a distance that chance alone exceeds in 5 % of the cases, if the sounds are independent; it can be above
            1 where there are few.
    """

    unit: str
    before: Values
    after: Values
    distance: float | None
    limit: float | None

    @property
    def differs(self) -> bool:
        """Whether the distance is more than chance explains."""
        return self.distance is not None and self.limit is not None and self.distance > self.limit


@dataclass(frozen=True)
class Difference:
    """The difference of two datasets.

    Attributes:
        before, after: the datasets.
        added, removed: files that only one of them has.
        changed: files of the same name with another content.
        renamed: files of the same content with another name.
        judged: files of both whose verdict is another one, renamed ones among them.
        quantities: the distributions by name.
        labels: usable sounds with each label, before and after.
    """

    before: Facts
    after: Facts
    added: tuple[FileReport, ...]
    removed: tuple[FileReport, ...]
    changed: tuple[Change, ...]
    renamed: tuple[Change, ...]
    judged: tuple[Change, ...]
    quantities: dict[str, Comparison]
    labels: dict[str, tuple[int, int]]

    @property
    def unchanged(self) -> int:
        """Files that both have under one name with one content."""
        return len(self.before.reports) - len(self.removed) - len(self.changed) - len(self.renamed)

    def document(self) -> dict[str, Any]:
        """The same as dicts and lists."""
        return {
            "before": _side(self.before),
            "after": _side(self.after),
            "unchanged": self.unchanged,
            "added": [_entry(report) for report in self.added],
            "removed": [_entry(report) for report in self.removed],
            "changed": [_change(each) for each in self.changed],
            "renamed": [_change(each) for each in self.renamed],
            "verdicts_changed": [_change(each) for each in self.judged],
            "quantities": {
                name: {
                    "unit": each.unit,
                    "before": _reach(each.before),
                    "after": _reach(each.after),
                    "ks_distance": each.distance,
                    "ks_limit_5_percent": each.limit,
                    "differs": each.differs,
                }
                for name, each in self.quantities.items()
            },
            "labels": {name: {"before": one, "after": other} for name, (one, other) in self.labels.items()},
        }


def difference(before: Facts, after: Facts) -> Difference:
    """Compare two datasets file by file and as a whole; files count as the same by name, then by content."""
    old, new = (_files(facts) for facts in (before, after))
    both = [name for name in old if name in new]
    changed = [name for name in both if old[name][2] != new[name][2]]
    moved = _renames(
        {name: file[2] for name, file in old.items() if name not in new},
        {name: file[2] for name, file in new.items() if name not in old},
    )
    gone, come = set(moved), set(moved.values())
    pairs = [(name, name) for name in both] + list(moved.items())
    judged = sorted(pair for pair in pairs if old[pair[0]][0].verdict != new[pair[1]][0].verdict)

    def change(one: str, other: str) -> Change:
        return Change(old[one][0], new[other][0], (old[one][1], new[other][1]))

    values = [facts.quantities() for facts in (before, after)]
    counts = [
        Counter(label for report, label in zip(facts.reports, facts.labels, strict=True) if label and report.usable)
        for facts in (before, after)
    ]
    return Difference(
        before=before,
        after=after,
        added=tuple(file[0] for name, file in new.items() if name not in old and name not in come),
        removed=tuple(file[0] for name, file in old.items() if name not in new and name not in gone),
        changed=tuple(change(name, name) for name in changed),
        renamed=tuple(change(*pair) for pair in moved.items()),
        judged=tuple(change(*pair) for pair in judged),
        quantities={name: _compare(unit, values[0][name], values[1][name]) for name, unit in QUANTITIES.items()},
        labels={label: (counts[0][label], counts[1][label]) for label in sorted(counts[0] | counts[1])},
    )


def ks_distance(one: Values, other: Values) -> float:
    """The Kolmogorov-Smirnov distance of two samples `[n]` and `[m]`: the largest gap between their distributions.

    >>> ks_distance(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.5
    """
    every = np.concatenate([one, other])
    below = [np.searchsorted(np.sort(values), every, "right") / len(values) for values in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _compare(unit: str, one: Values, other: Values) -> Comparison:
    if not (len(one) and len(other)):
        return Comparison(unit, one, other, None, None)
    limit = _LIMIT_5_PERCENT * sqrt(1 / len(one) + 1 / len(other))
    return Comparison(unit, one, other, round(ks_distance(one, other), 4), round(limit, 4))


def _files(facts: Facts) -> dict[str, tuple[FileReport, str, str]]:
    """Report, label and content of each file by its name."""
    files = zip(facts.reports, facts.labels, facts.contents, strict=True)
    return {report.path: (report, label, content) for report, label, content in files}


def _renames(gone: dict[str, str], come: dict[str, str]) -> dict[str, str]:
    """The new name of each file by its old one, where contents agree; of several the first with the first."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, content in reversed(come.items()):
        places[content].append(name)
    return {name: places[content].pop() for name, content in gone.items() if content and places[content]}


def _side(facts: Facts) -> dict[str, Any]:
    return {"name": facts.name, "files": len(facts.reports), "usable": len(facts.usable)}


def _entry(report: FileReport) -> dict[str, Any]:
    return {"path": report.path, "verdict": str(report.verdict), "reason": report.reason}


def _change(change: Change) -> dict[str, Any]:
    sides = zip((change.before, change.after), change.labels, strict=True)
    one, other = ({**_entry(report), "label": label} for report, label in sides)
    return {"before": one, "after": other}


def _reach(values: Values) -> dict[str, Any]:
    if not len(values):
        return {"sounds": 0}
    return {"sounds": len(values), **dict(zip(("least", "median", "greatest"), reach(values), strict=True))}
