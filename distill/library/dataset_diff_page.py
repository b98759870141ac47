"""The page about what changed between two datasets."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from distill.files import write_bytes
from distill.library.dataset_diff import Change, Compared, Difference
from distill.library.page_parts import histogram, label_bars, name_of, page, table


def write_diff(output: Path, difference: Difference) -> None:
    """Write the page, in one file that needs no network; its bytes follow from the two datasets.

    Raises:
        StorageError: the file cannot be written.
    """
    title = f"Sounds: {difference.before.name} to {difference.after.name}"
    write_bytes(output, page(title, _body(difference)))


def counts_of(difference: Difference) -> dict[str, int]:
    """How many files were added, removed and so on, in the order in which they are told."""
    return {
        "added": len(difference.added),
        "removed": len(difference.removed),
        "changed": len(difference.changed),
        "renamed": len(difference.renamed),
        "unchanged": difference.unchanged,
        "other verdicts": len(difference.judged),
    }


def _body(difference: Difference) -> Iterator[str]:
    before, after = difference.before, difference.after
    yield f"<h1>Sounds: {name_of(before.name)} to {name_of(after.name)}</h1>"
    rows = [
        [f'<span class="key{kind}"></span>{word}', name_of(side.name), str(len(side.reports)), str(len(side.usable))]
        for kind, word, side in (("", "before", before), (" second", "after", after))
    ]
    yield table(["", "dataset", "files", "usable"], rows, " fnn")
    yield "<h2>Files</h2>"
    yield table(["", "files"], ([word, str(count)] for word, count in counts_of(difference).items()), " n")
    yield from _changes("Other verdicts", difference.judged, verdicts=True)
    for title, reports in (("Added", difference.added), ("Removed", difference.removed)):
        if reports:
            yield f"<h2>{title}</h2>"
            lines = ([name_of(report.path), report.verdict, name_of(report.reason)] for report in reports)
            yield table(["file", "verdict", "reason"], lines, "f r")
    yield from _changes("Changed", difference.changed, verdicts=False)
    yield from _changes("Renamed", difference.renamed, verdicts=False)
    yield "<h2>How the sounds are spread</h2>"
    yield (
        "<p>Of each side the share of its usable sounds, with the median as a line; least, median and greatest stand "
        "below. The Kolmogorov-Smirnov distance (KS) is 0 for the same distribution and 1 for two without overlap. "
        "Chance alone exceeds the limit in 5 % of the cases.</p>"
    )
    yield '<div class="grid">'
    for name, each in difference.quantities.items():
        yield histogram(name, each.unit, each.before, each.after, note=_statistic(each))
    yield "</div>"
    if difference.labels:
        yield "<h2>Labels</h2>"
        yield "<p>Usable sounds with each label, before and after.</p>"
        yield label_bars(difference.labels)


def _statistic(each: Compared) -> str:
    if each.distance is None or each.limit is None:
        return '<div class="quiet">KS: one side has no value</div>'
    said = f"KS {each.distance:.2f}, limit {each.limit:.2f}"
    return f'<div class="bad">{said}: differs</div>' if each.differs else f'<div class="quiet">{said}</div>'


def _changes(title: str, changes: Iterable[Change], *, verdicts: bool) -> Iterator[str]:
    rows = [_row(change, verdicts=verdicts) for change in changes]
    if rows:
        yield f"<h2>{title}</h2>"
        columns = ["file", "before", "after", "reason"] if verdicts else ["before", "after", "label", "s", "dB"]
        yield table(columns, rows, "f  r" if verdicts else "ff nn")


def _row(change: Change, *, verdicts: bool) -> list[str]:
    before, after = change.before, change.after
    if verdicts:
        return [name_of(after.path), before.verdict, after.verdict, name_of(after.reason)]
    label = name_of(change.labels[1])
    if change.labels[0] != change.labels[1]:
        label = f"{name_of(change.labels[0] or 'none')} → {name_of(change.labels[1] or 'none')}"
    return [
        name_of(before.path),
        "the same name" if before.path == after.path else name_of(after.path),
        label,
        _two(before.seconds, after.seconds, "{:.2f}"),
        _two(before.loudness_db, after.loudness_db, "{:.1f}"),
    ]


def _two(before: float, after: float, form: str) -> str:
    one, other = form.format(before), form.format(after)
    return one if one == other else f"{one} → {other}"
