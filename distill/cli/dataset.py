"""`distill dataset`: check sounds, and put them under version control."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.console import Json, Quiet, Verbose, print_result, set_up_logging, stdout_console
from distill.errors import DataError

if TYPE_CHECKING:
    from distill.dataset.scan import FileReport

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

    from distill.dataset.scan import scan
    from distill.files import write_json

    reports = scan(folder)
    values = _summary(folder, reports)
    if report is not None:
        write_json(report, {"schema": 1, **values})
    if as_json:
        print_result([], values, as_json=True)
    else:
        table = Table("file", "verdict", "s", "Hz", "channels", "dB", "reason")
        for each in reports:
            known = each.seconds > 0
            table.add_row(
                each.path,
                each.verdict,
                f"{each.seconds:.2f}" if known else "",
                str(each.sample_rate) if known else "",
                str(each.channels) if known else "",
                f"{each.loudness_db:.1f}" if known else "",
                each.reason,
            )
        stdout = stdout_console()
        stdout.print(table)
        stdout.print(f"{values['usable']} of {values['files']} files are usable, {values['seconds']:.1f} s in all")
        for warning in values["warnings"]:
            stdout.print(f"Warning: {warning}")
    if not values["usable"]:
        raise DataError(f"{folder}: no usable sound")


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="Folder of sounds.", show_default=False)],
    name: Annotated[str | None, typer.Option("--name", help="Name below data/. [default: the folder's name]")] = None,
    project: Annotated[Path, typer.Option("--project", help="Folder with params.yaml and .dvc.")] = Path(),
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Copy a folder of sounds to data/, version it with DVC and point params.yaml at it."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.library.datasets import add_dataset

    added = add_dataset(folder, project, name)
    values = {"path": added.path, "pointer": added.pointer, "usable": added.usable}
    print_result([added.path, added.pointer], values, as_json=as_json)


def _summary(folder: Path, reports: "list[FileReport]") -> dict[str, Any]:
    from dataclasses import asdict

    used = [report for report in reports if report.usable]
    warnings = [f"{report.path}: {warning}" for report in used for warning in report.warnings]
    if len(used) < len(reports):
        warnings.append(f"{len(reports) - len(used)} of {len(reports)} files are not used")
    return {
        "folder": folder.name,
        "files": len(reports),
        "usable": len(used),
        "seconds": round(sum(report.seconds for report in used), 3),
        "verdicts": dict(sorted(Counter(str(report.verdict) for report in reports).items())),
        "sample_rates": {str(rate): n for rate, n in sorted(Counter(report.sample_rate for report in used).items())},
        "channels": {str(count): n for count, n in sorted(Counter(report.channels for report in used).items())},
        "warnings": warnings,
        "reports": [asdict(report) for report in reports],
    }
