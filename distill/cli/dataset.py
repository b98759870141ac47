"""`distill dataset`: check sounds, and put them under version control."""

from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, print_result, set_up_logging, stdout_console
from distill.errors import DataError

BLOCKS = " ▁▂▃▄▅▆▇█"

app = typer.Typer(help="Check and version sounds.", no_args_is_help=True)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of sounds, or one file.", show_default=False)],
    report: Annotated[Path | None, typer.Option("--report", help="Also write the result to this JSON file.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Judge every file: usable or not, and why."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from rich.table import Table

    from distill.audio.knobs import UNITS
    from distill.dataset.labels import labels_of
    from distill.dataset.overview import overview
    from distill.dataset.scan import scan
    from distill.dataset.spread import spread_of
    from distill.dataset.tempo import in_words, tempos
    from distill.files import write_json

    reports = scan(folder)
    labels = labels_of(folder, [each.path for each in reports])
    values = {**overview(folder.name, reports, labels), "knobs": spread_of(folder, reports)}
    loops = tempos(reports)
    if loops:
        values["tempo"] = {name: vars(tempo) for name, tempo in loops.items()}
    if report is not None:
        write_json(report, {"schema": 1, **values})
    if as_json:
        print_result([], values, as_json=True)
    else:
        table = Table("file", "verdict", "s", "Hz", "channels", "dB", "waveform", "reason")
        for each in reports:
            known = each.seconds > 0
            table.add_row(
                each.path,
                each.verdict,
                f"{each.seconds:.2f}" if known else "",
                str(each.sample_rate) if known else "",
                str(each.channels) if known else "",
                f"{each.loudness_db:.1f}" if known else "",
                _drawn(each.waveform),
                each.reason,
            )
        stdout = stdout_console()
        stdout.print(table)
        stdout.print(f"{values['usable']} of {values['files']} files are usable, {values['seconds']:.1f} s in all")
        if values["usable"]:
            rates = ", ".join(f"{count} at {rate} Hz" for rate, count in values["sample_rates"].items())
            channels = ", ".join(f"{count} with {number}" for number, count in values["channels"].items())
            low, middle, high = (values["loudness_db"][key] for key in ("min", "median", "max"))
            stdout.print(f"Sample rates: {rates}. Channels: {channels}.")
            stdout.print(f"Loudness: {low:.1f} to {high:.1f} dB below full scale, median {middle:.1f}.")
        if stereo := values.get("stereo"):
            least, middle, most = (stereo[f"{key}_db"] for key in ("least", "median", "greatest"))
            stdout.print(
                f"Stereo: {stereo['sounds']} of {values['usable']} sounds; side against mix {least:.1f} to "
                f"{most:.1f} dB, median {middle:.1f}."
            )
        if counts := values.get("labels"):
            stdout.print(f"Labels: {', '.join(f'{label} {count}' for label, count in counts.items())}.", markup=False)
        if loops:
            stdout.print(f"Tempo: {in_words(list(loops.values()))}.")
        for name, (low, middle, high) in values["knobs"].items():
            reach = f"{low:g} to {high:g} {UNITS[name]}".rstrip()
            stdout.print(f"{name.capitalize()}: {reach}, median {middle:g}.")
        for warning in values["warnings"]:
            stdout.print(f"Warning: {warning}")
    if not values["usable"]:
        raise DataError(f"{folder}: no usable sound")


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="Folder of sounds.", show_default=False)],
    name: Annotated[str | None, typer.Option("--name", help="Name below data/. [default: the folder's name]")] = None,
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Copy a folder of sounds to data/, version it with DVC and point params.yaml at it."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.library.datasets import add_dataset
    from distill.projects.project import required_project

    added = add_dataset(folder, required_project(project), name)
    values = {"path": added.path, "pointer": added.pointer, "usable": added.usable}
    print_result([added.path, str(added.pointer)], values, as_json=as_json)


def _drawn(waveform: tuple[int, ...], width: int = 16) -> str:
    """A waveform's thumbnail as a row of blocks."""
    step = max(1, len(waveform) // width)
    return "".join(
        BLOCKS[max(waveform[i : i + step]) * (len(BLOCKS) - 1) // 100] for i in range(0, len(waveform), step)
    )
