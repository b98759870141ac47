"""`distill dataset`: check sounds, and put them under version control."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.console import WIDE, Json, Project, Quiet, Verbose, print_result, set_up_logging, stdout_console
from distill.errors import DataError
from distill.files import require_suffix
from distill.words import how_many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distill.dataset.scan import FileReport
    from distill.reports.dataset_diff import Difference
    from distill.reports.dataset_facts import Values

BLOCKS = " ▁▂▃▄▅▆▇█"
BLOCKS_ACROSS = 16
# Names of files that a line of a comparison holds; the page and the JSON have all.
MOST_NAMED = 8

app = typer.Typer(help="Check, report, compare and version sounds.", no_args_is_help=True)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of sounds, or one file.", show_default=False)],
    report: Annotated[Path | None, typer.Option("--report", help="Also write the result to this JSON file.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List every file with a verdict (usable or not) and a reason."""
    set_up_logging(quiet=quiet, verbose=verbose)
    require_suffix(report, ".json")
    from distill.dataset.labels import labels_of
    from distill.dataset.overview import overview
    from distill.dataset.scan import scan
    from distill.dataset.spread import spread_of
    from distill.dataset.tempo import in_words, tempos
    from distill.files import write_json

    reports = scan(folder)
    labels = labels_of(folder, [each.path for each in reports])
    values = overview(_name(folder), reports, labels) | {"reports": list(map(asdict, reports))}
    values["knobs"] = spread_of(folder, reports)
    loops = tempos(reports)
    if loops:
        values["tempo"] = {name: vars(tempo) for name, tempo in loops.items()}
    if report is not None:
        write_json(report, {"schema": 1, **values})
    if as_json:
        print_result([], values, as_json=True)
    else:
        _print_files(reports)
        _print_overview(values, in_words(list(loops.values())) if loops else "")
    if not values["usable"]:
        raise DataError(f"{folder}: no usable sound")


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="Folder of sounds.", show_default=False)],
    name: Annotated[str | None, typer.Option("--name", help="Name below data/ (default: the folder's name).")] = None,
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Copy a folder of sounds to data/, version it with DVC and point params.yaml at it."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.projects.project import required_project
    from distill.versions.datasets import add_dataset

    added = add_dataset(folder, required_project(project), name)
    values = {"path": added.path, "pointer": added.pointer, "usable": added.usable}
    print_result([added.path, str(added.pointer)], values, as_json=as_json)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of sounds, or one file.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")],
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write an HTML report on sounds: verdicts, formats, labels, distributions, near duplicates."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.reports.dataset_facts import facts_of, require_page
    from distill.reports.dataset_report import write_report

    require_page(output)
    facts = facts_of(folder, _name(folder), near=True)
    write_report(output, facts)
    print_result([str(output)], {"page": str(output), **facts.document()}, as_json=as_json)


@app.command()
def diff(
    before: Annotated[
        str, typer.Argument(help="Folder of sounds, or REVISION:PATH in the project.", show_default=False)
    ],
    after: Annotated[str, typer.Argument(help="The later folder or REVISION:PATH.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write this HTML file.")] = None,
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what changed between two datasets: files, verdicts, labels, distributions."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.projects.project import current_project
    from distill.reports.dataset_diff import difference
    from distill.reports.dataset_diff_page import write_diff
    from distill.reports.dataset_facts import facts_of, require_page
    from distill.versions.revision import sounds_at

    if output is not None:
        require_page(output)
    sides = []
    for reference in (before, after):
        with sounds_at(reference, current_project(project)) as source:
            sides.append(facts_of(source, reference, near=False))
    found = difference(*sides)
    if output is not None:
        write_diff(output, found)
    if as_json:
        print_result([], {"page": None if output is None else str(output), **found.document()}, as_json=True)
    else:
        _print_difference(found)
        print_result([] if output is None else [str(output)], {}, as_json=False)


def _print_files(reports: "Sequence[FileReport]") -> None:
    from rich.table import Table

    from distill.dataset.scan import FileVerdict

    stdout, table = stdout_console(), Table()
    table.add_column("file", overflow="fold")
    drawn = ["waveform"] if stdout.width >= WIDE and _can_show(BLOCKS, stdout.encoding) else []
    for name in ("verdict", "s", "Hz", "channels", "dB", *drawn):
        table.add_column(name, no_wrap=True)
    for each in reports:
        figures = (
            f"{each.seconds:.2f}",
            str(each.sample_rate),
            str(each.channels),
            f"{each.loudness_db:.1f}",
            *(_thumbnail(each.waveform) for _ in drawn),
        )
        table.add_row(each.path, each.verdict, *(figures if each.seconds > 0 else ()))
    stdout.print(table)
    for each in reports:
        if each.verdict != FileVerdict.OK:
            stdout.print(f"{each.path}: {each.reason}", markup=False, soft_wrap=True)


def _print_overview(values: dict[str, Any], tempo: str) -> None:
    from distill.audio.knobs import UNITS

    stdout = stdout_console()
    stdout.print(f"{how_many(values['usable'], values['files'], 'file')} usable, {values['seconds']:.1f} s in all")
    if values["usable"]:
        rates = ", ".join(f"{count} at {rate} Hz" for rate, count in values["sample_rates"].items())
        channels = ", ".join(f"{count} with {number}" for number, count in values["channels"].items())
        low, middle, high = (values["loudness_db"][key] for key in ("min", "median", "max"))
        stdout.print(f"Sample rates: {rates}. Channels: {channels}.")
        stdout.print(f"Loudness: {low:.1f} to {high:.1f} dB relative to full scale, median {middle:.1f}.")
    if stereo := values.get("stereo"):
        least, middle, most = (stereo[f"{key}_db"] for key in ("least", "median", "greatest"))
        stdout.print(
            f"Stereo: {stereo['sounds']} of {values['usable']} sounds; side against mix {least:.1f} to "
            f"{most:.1f} dB, median {middle:.1f}."
        )
    if counts := values.get("labels"):
        stdout.print(f"Labels: {', '.join(f'{label} {count}' for label, count in counts.items())}.", markup=False)
    if tempo:
        stdout.print(f"Tempo: {tempo}.")
    for name, (low, middle, high) in values["knobs"].items():
        reach = f"{low:g} to {high:g} {UNITS[name]}".rstrip()
        stdout.print(f"{name.capitalize()}: {reach}, median {middle:g}.")
    for warning in values["warnings"]:
        stdout.print(f"Warning: {warning}")


def _can_show(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _thumbnail(waveform: tuple[int, ...]) -> str:
    """A waveform's thumbnail as a row of blocks."""
    step = max(1, len(waveform) // BLOCKS_ACROSS)
    return "".join(
        BLOCKS[max(waveform[i : i + step]) * (len(BLOCKS) - 1) // 100] for i in range(0, len(waveform), step)
    )


def _print_difference(found: "Difference") -> None:
    from rich.table import Table

    from distill.reports.dataset_diff_page import counts_of

    stdout = stdout_console()
    stdout.print(", ".join(f"{count} {word}" for word, count in counts_of(found).items()))
    named = {"added": found.added, "removed": found.removed}
    for word, reports in named.items():
        _print_names(word, [each.path for each in reports])
    _print_names("changed", [each.after.path for each in found.changed])
    _print_names("renamed", [f"{each.before.path} to {each.after.path}" for each in found.renamed])
    _print_names(
        "verdict", [f"{each.after.path} from {each.before.verdict} to {each.after.verdict}" for each in found.judged]
    )
    table = Table("usable sounds", "before", "after", "KS", "5 % limit", "")
    table.add_row("number", str(len(found.before.usable)), str(len(found.after.usable)), "", "", "")
    for name, each in found.quantities.items():
        known = each.distance is not None and each.limit is not None
        table.add_row(
            name,
            _spread(each.before, each.unit),
            _spread(each.after, each.unit),
            f"{each.distance:.2f}" if known else "",
            f"{each.limit:.2f}" if known else "",
            "differs" if each.differs else "",
        )
    for label, (one, other) in found.labels.items():
        table.add_row(f"label {label}", str(one), str(other), "", "", "")
    stdout.print(table)


def _print_names(word: str, names: list[str]) -> None:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    if names:
        stdout_console().print(f"{word}: {', '.join(names[:MOST_NAMED])}{more}")


def _spread(values: "Values", unit: str) -> str:
    """Median and reach of some values."""
    from distill.dataset.spread import reach
    from distill.reports.page_parts import number

    if not len(values):
        return ""
    low, middle, high = map(number, reach(values))
    return f"{middle} {unit}".rstrip() + f" ({low} to {high})"


def _name(folder: Path) -> str:
    return folder.resolve().name or str(folder)
