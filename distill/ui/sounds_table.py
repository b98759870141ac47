"""Judged sounds as HTML: a summary, and a table with a row for each file."""

from collections.abc import Sequence
from html import escape
from typing import Any

from distill.dataset.scan import FileReport, FileVerdict

# More rows than anybody reads are left out of the table; the summary counts all.
MOST_ROWS = 1000
MOST_WARNINGS = 5
COLOURS = {FileVerdict.OK: "green", FileVerdict.CLIPPED: "yellow", FileVerdict.DUPLICATE: "grey"}
HEAD = ("", "file", "verdict", "length", "rate", "channels", "loudness", "waveform", "why")


def nothing_yet() -> str:
    """What is shown before any sounds are chosen."""
    words = "5 to 500 sounds of your own are a good start. Each is checked before anything is trained."
    return f"<p class='d-empty'>{words}</p>"


def left_out_words(names: Sequence[str]) -> str:
    """What is said of dropped files that are no sounds."""
    return f"Left out, because they do not look like sounds: {', '.join(names)}"


def summary_of(values: dict[str, Any]) -> str:
    """An overview (see `distill.dataset.overview`), with its warnings."""
    loudness = values["loudness_db"]
    figures = {
        "usable": f"{values['usable']} of {values['files']} files",
        "length in all": _duration(values["seconds"]),
        "sample rates": ", ".join(f"{int(rate) / 1000:g} kHz ({n})" for rate, n in values["sample_rates"].items()),
        "channels": ", ".join(f"{_channels(int(number))} ({n})" for number, n in values["channels"].items()),
        **({"apart": _apart(values["stereo"])} if "stereo" in values else {}),
        "loudness": "" if loudness["median"] is None else f"{loudness['min']:.0f} to {loudness['max']:.0f} dB",
    }
    cells = "".join(f"<div><dt>{name}</dt><dd>{escape(text) or '–'}</dd></div>" for name, text in figures.items())
    warnings = values["warnings"][:MOST_WARNINGS]
    if len(values["warnings"]) > MOST_WARNINGS:
        warnings.append(f"{len(values['warnings']) - MOST_WARNINGS} more warnings are in the table")
    lines = "".join(f"<p class='d-warning'>{escape(text)}</p>" for text in warnings)
    shown = f"<h3>{escape(values['folder'])}</h3><dl class='d-figures'>{cells}</dl>"
    return f"<div class='d-live' role='status'><div>{shown}</div><div>{lines}</div></div>"


def table_of(reports: list[FileReport], links: Sequence[str | None], total: int) -> str:
    """The files that were judged so far, of so many, each with a link to hear it; the first `MOST_ROWS` of them."""
    rows = "".join(map(_row, reports[:MOST_ROWS], links))
    left_out = len(reports) - MOST_ROWS
    note = f"{left_out} more files are not listed." if left_out > 0 else ""
    note = f"The first {len(reports)} of {total} files; the others follow." if len(reports) < total else note
    return _table(rows) + (f"<p class='d-subdued'>{note}</p>" if note else "")


def _table(rows: str) -> str:
    head = "".join(f"<th scope='col'>{name or '<span class=d-hidden>play</span>'}</th>" for name in HEAD)
    return (
        "<div class='d-scroll d-tall'><table class='d-table d-sounds'><caption class='d-hidden'>The files and their "
        f"verdicts</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(report: FileReport, link: str | None) -> str:
    name = escape(report.path)
    known = report.seconds > 0
    play = (
        f"<button type='button' class='d-play' data-src='{link}' aria-label='Play {name}'></button>"
        if link and known
        else ""
    )
    colour = COLOURS.get(report.verdict, "red")
    cells = (
        play,
        name,
        f"<span class='d-badge d-{colour}'>{report.verdict.replace('_', ' ')}</span>",
        f"{report.seconds:.2f} s" if known else "",
        f"{report.sample_rate / 1000:g} kHz" if known else "",
        _channels_of(report) if known else "",
        f"{report.loudness_db:.1f} dB" if known else "",
        _drawn(report.waveform),
        escape(report.reason) if report.verdict is not FileVerdict.OK else "",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _drawn(waveform: tuple[int, ...]) -> str:
    """A waveform's thumbnail, of 0 to 100 % in each place, as a picture that says nothing the words do not."""
    strokes = "".join(
        f"M{2 * place + 1} {16 - height * 0.15:.1f}V{16 + height * 0.15:.1f}" for place, height in enumerate(waveform)
    )
    return (
        f"<svg class='d-wave' viewBox='0 0 {2 * len(waveform)} 32' preserveAspectRatio='none' aria-hidden='true'>"
        f"<path d='{strokes}'/></svg>"
        if waveform
        else ""
    )


def _apart(stereo: dict[str, float]) -> str:
    """How many sounds have two channels that differ, and how loud their sides are."""
    return f"{stereo['sounds']} ({stereo['least_db']:.0f} to {stereo['greatest_db']:.0f} dB)"


def _channels_of(report: FileReport) -> str:
    if report.channels != 2:
        return _channels(report.channels)
    return "stereo, both alike" if report.side_db is None else f"stereo, side {report.side_db:.0f} dB"


def _channels(number: int) -> str:
    return {1: "mono", 2: "stereo"}.get(number, f"{number} channels")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
