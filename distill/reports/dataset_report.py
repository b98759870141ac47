"""The page about a dataset: what its files are, how they sound, and which of them are nearly the same."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from distill.dataset.overview import overview
from distill.dataset.tempo import in_words
from distill.dataset.walk import find_files
from distill.files import write_bytes
from distill.reports.dataset_facts import QUANTITIES, Facts
from distill.reports.page_parts import histogram, label_bars, name_of, page, table, waveform
from distill.words import how_many

# Pairs on a page; nobody listens to more.
MOST_PAIRS = 100
FIGURES = ("label", "verdict", "s", "Hz", "channels", "dB")


def write_report(output: Path, facts: Facts) -> None:
    """Write the page of a dataset, in one file that needs no network; its bytes follow from the sounds and their place.

    The page holds no sound. It plays the files where they are, by their paths relative to the page.

    Raises:
        StorageError: the file cannot be written.
    """
    links = _links(facts.source, output.parent)
    write_bytes(output, page(f"Sounds: {facts.name}", _body(facts, links)))


def _body(facts: Facts, links: dict[str, str]) -> Iterator[str]:
    values = overview(facts.name, list(facts.reports), facts.labels)
    yield f"<h1>Sounds: {name_of(facts.name)}</h1>"
    yield (
        f"<p>{how_many(values['usable'], values['files'], 'file')} usable, {values['seconds']:.1f} s in all. "
        f"Names are links to the files; they and the players work as long as page and sounds keep their places.</p>"
    )
    if values["warnings"]:
        yield f"<h2>Warnings</h2>\n<ul>{''.join(f'<li>{name_of(warning)}</li>' for warning in values['warnings'])}</ul>"
    if left_out := [report for report in facts.reports if not report.usable]:
        yield "<h2>Files that are not used</h2>"
        rows = ([_link(report.path, links), report.verdict, name_of(report.reason)] for report in left_out)
        yield table(["file", "verdict", "reason"], rows, "f r")
    yield "<h2>Formats</h2>"
    yield table(["", ""], _formats(facts))
    if labels := values.get("labels"):
        yield "<h2>Labels</h2>"
        yield "<p>Usable sounds with each label.</p>"
        yield label_bars({label: (count,) for label, count in labels.items()})
    yield "<h2>How the sounds are spread</h2>"
    yield "<p>The line is the median; least, median and greatest stand below. Axes in s and Hz are logarithmic.</p>"
    yield '<div class="grid">'
    for name, of in facts.quantities().items():
        yield histogram(name, QUANTITIES[name], of)
    yield "</div>"
    if facts.tempos:
        yield "<h2>Loops</h2>"
        yield f"<p>{in_words(list(facts.tempos.values()))}.</p>"
        rows = (
            [_link(name, links), f"{each.bpm:g}", str(each.bars or ""), "name" if each.named else "length"]
            for name, each in facts.tempos.items()
        )
        yield table(["file", "bpm", "bars", "told by"], rows, "fnn")
    yield from _near(facts, links)
    yield "<h2>All files</h2>"
    yield table(["", "file", "waveform", *FIGURES], _files(facts, links), " f   nnnn")


def _formats(facts: Facts) -> Iterator[list[str]]:
    values = overview(facts.name, list(facts.reports), facts.labels)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in values["verdicts"].items())
    yield ["verdicts", verdicts]
    yield ["sample rates", ", ".join(f"{count} at {rate} Hz" for rate, count in values["sample_rates"].items())]
    yield ["channels", ", ".join(f"{count} with {channels}" for channels, count in values["channels"].items())]
    if stereo := values.get("stereo"):
        least, middle, most = (stereo[f"{key}_db"] for key in ("least", "median", "greatest"))
        text = f"side against mix {least:.1f} to {most:.1f} dB, median {middle:.1f} dB"
        yield ["stereo", f"{stereo['sounds']} of {values['usable']} sounds; {text}"]
    low, middle, high = (values["loudness_db"][key] for key in ("min", "median", "max"))
    yield ["loudness", f"{low:.1f} to {high:.1f} dB relative to full scale, median {middle:.1f} dB"]


def _near(facts: Facts, links: dict[str, str]) -> Iterator[str]:
    yield "<h2>Near duplicates</h2>"
    if not facts.near:
        yield "<p>No two sounds are nearly the same.</p>"
        return
    count = len(facts.near)
    pairs = f"{count} pairs of files sound" if count > 1 else "1 pair of files sounds"
    yield (
        f"<p>{pairs} nearly the same although their samples differ. One of each may do; "
        "held-out sounds that have a near duplicate among the training sounds say too much good of a model. "
        "0 is the same up to loudness, 1.41 nothing in common.</p>"
    )
    rows = (
        [*(f"{_button(name, links)} {_link(name, links)}" for name in (one.first, one.second)), f"{one.distance:.3f}"]
        for one in facts.near[:MOST_PAIRS]
    )
    yield table(["file", "nearly the same as", "distance"], rows, "ffn")
    if len(facts.near) > MOST_PAIRS:
        yield f"<p>{len(facts.near) - MOST_PAIRS} more pairs, less near than these, are not shown.</p>"


def _files(facts: Facts, links: dict[str, str]) -> Iterator[list[str]]:
    for report, label in zip(facts.reports, facts.labels, strict=True):
        known = report.seconds > 0
        yield [
            _button(report.path, links) if report.usable else "",
            _link(report.path, links),
            waveform(report.waveform),
            name_of(label),
            report.verdict if report.usable else f'<span class="bad">{report.verdict}</span>',
            f"{report.seconds:.2f}" if known else "",
            str(report.sample_rate) if known else "",
            str(report.channels) if known else "",
            f"{report.loudness_db:.1f}" if known else "",
        ]


def _link(name: str, links: dict[str, str]) -> str:
    return f'<a href="{links[name]}">{name_of(name)}</a>' if name in links else name_of(name)


def _button(name: str, links: dict[str, str]) -> str:
    return f'<button type="button" data-sound="{links[name]}">play</button>' if name in links else ""


def _links(source: Path, folder: Path) -> dict[str, str]:
    """The address of each file that can be opened, by its name; nothing in it needs to be escaped in HTML."""
    place = folder.resolve()
    return {
        found.name: quote(os.fsencode(os.path.relpath(found.path.absolute(), place)))
        for found in find_files(source)
        if not found.problem
    }
