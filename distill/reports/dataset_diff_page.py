"""The page about what changed between two datasets."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from distill.dataset.scan import FileReport
from distill.files import write_bytes
from distill.reports.dataset_diff import Change, Comparison, Difference
from distill.reports.page_parts import histogram, label_bars, name_of, page, table


def write_diff(output: Path, difference: Difference) -> None:
    """Write the page, in one file that needs no network; its bytes follow from the two datasets.

    Raises:
        StorageError: the file cannot be written.
    """
    title = f"Sounds: {difference.before.name} to {difference.after.name}"
    write_bytes(output, page(title, _body(difference)))


def counts_of(difference: Difference) -> dict[str, int]:
    """How many files were added, removed and so on, in the order of the page."""
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
    yield from _table("Other verdicts", ["file", "verdict", "reason"], map(_verdict_row, difference.judged), "f r")
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
    for title, reports in (("Added", difference.added), ("Removed", difference.removed)):
        lines = ([name_of(report.path), report.verdict, _reason(report)] for report in reports)
        yield from _table(title, ["file", "verdict", "reason"], lines, "f r")
    for title, changes in (("Changed", difference.changed), ("Renamed", difference.renamed)):
        yield from _table(title, ["before", "after", "label", "s", "dB"], map(_change_row, changes), "ff nn")


def _statistic(each: Comparison) -> str:
    if each.distance is None or each.limit is None:
        return '<div class="quiet">KS: one side has no value</div>'
    text = f"KS {each.distance:.2f}, limit {each.limit:.2f}"
    return f'<div class="bad">{text}: differs</div>' if each.differs else f'<div class="quiet">{text}</div>'


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], kinds: str) -> Iterator[str]:
    """A table under its title, where it has rows."""
    if known := list(rows):
        yield f"<h2>{title}</h2>"
        yield table(columns, known, kinds)


def _verdict_row(change: Change) -> list[str]:
    verdicts = f"{change.before.verdict} → {change.after.verdict}"
    return [name_of(change.after.path), verdicts, _reason(change.after)]


def _change_row(change: Change) -> list[str]:
    before, after = change.before.path, change.after.path
    one, other = change.labels
    return [
        name_of(before),
        "the same name" if before == after else name_of(after),
        name_of(one) if one == other else f"{name_of(one or 'none')} → {name_of(other or 'none')}",
        _two(change, "seconds", "{:.2f}"),
        _two(change, "loudness_db", "{:.1f}"),
    ]


def _reason(report: FileReport) -> str:
    return name_of(report.reason) if report.reason != "usable" else ""


def _two(change: Change, field: str, form: str) -> str:
    """A figure before and after, once where it is the same; "?" where it is not known."""
    one, other = (form.format(getattr(side, field)) if side.seconds else "?" for side in (change.before, change.after))
    return one if one == other else f"{one} → {other}"
