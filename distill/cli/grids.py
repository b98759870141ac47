"""What the commands on grids share: naming cells, finding the model, reading and writing grids."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.console import loading, print_result
from distill.cli.options import model_file
from distill.errors import UsageError
from distill.files import require_absent, require_suffix
from distill.models.levels import parse_levels
from distill.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distill.codec.codec import Samples
    from distill.codes.edits import Edit
    from distill.codes.grid import CodeGrid
    from distill.codes.history import History
    from distill.codes.model import CodesModel
    from distill.codes.selection import Selection

GridFile = Annotated[Path, typer.Argument(help="Grid file.", show_default=False)]
Other = Annotated[Path, typer.Argument(help="The other grid file.", show_default=False)]
Columns = Annotated[
    str | None, typer.Option("--columns", help="Column, or FIRST:END (END not included), from 0 (default: all).")
]
Seconds = Annotated[
    str | None, typer.Option("--seconds", help="FROM:TO in s, instead of --columns; extended to whole columns.")
]
Bands = Annotated[
    str | None, typer.Option("--bands", help="Bands from 0 (the lowest), such as 0,2 or 0:4 (default: all).")
]
Levels = Annotated[
    str | None,
    typer.Option(
        "--levels", help="Levels by name or number from 0, separated by commas (default: all that are not frozen)."
    ),
]
HeardLevels = Annotated[
    str | None, typer.Option("--levels", help="Levels by name or number from 0, separated by commas (default: all).")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write this file and leave the grid file unchanged.")
]
At = Annotated[
    int | None,
    typer.Option("--at", help="Column of the other grid that matches the first selected one (default: the same)."),
]


def load_model(reference: str, device: str, project: Path | None) -> "CodesModel":
    """The model that a path or a reference to the registry means."""
    with loading():
        from distill.codes.model import CodesModel
        from distill.training.runtime import resolve_device

    return CodesModel.load(model_file(reference, project), resolve_device(device))


def require_stereo(samples: "Samples", channels: int | None, width: float) -> None:
    """Refuse a width, or two channels, of a grid that is heard in mono.

    Raises:
        UsageError: it is.
    """
    if samples.ndim == 1 and (channels == 2 or width != 1.0):
        raise UsageError("without the level Space this is mono: omit --channels and --width")


def selection_of(
    grid: "CodeGrid",
    columns: str | None = None,
    seconds: str | None = None,
    bands: str | None = None,
    levels: str | None = None,
) -> "Selection":
    """The cells that the options name.

    Raises:
        UsageError: an option cannot be read, or there is no such level.
    """
    from distill.codes.selection import Selection

    if columns is not None and seconds is not None:
        raise UsageError("give --columns or --seconds, not both")
    chosen = None if columns is None else span(columns, len(grid), "--columns")
    if seconds is not None:
        chosen = _span_of_seconds(seconds, grid)
    return Selection(
        columns=chosen,
        bands=None if bands is None else _bands(bands, grid.bands),
        levels=None if levels is None else parse_levels(levels, grid.labels),
    )


def span(text: str, end: int, option: str) -> tuple[int, int]:
    """The first number and the one after the last of `3`, `3:7`, `3:` or `:7`.

    >>> span("3", 12, "--columns"), span("3:7", 12, "--columns"), span("3:", 12, "--columns")
    ((3, 4), (3, 7), (3, 12))
    >>> span("0000000000000002", 12, "--columns")
    Traceback (most recent call last):
    distill.errors.UsageError: --columns takes a number or FIRST:END, counted from 0, not '0000000000000002'

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"(?=.)(\d{0,9})(?:(:)(\d{0,9}))?", text.strip())
    if match is None:
        raise UsageError(f"{option} takes a number or FIRST:END, counted from 0, not {text!r}")
    first = int(match[1] or 0)
    return (first, int(match[3] or end)) if match[2] else (first, first + 1)


def require_free(path: Path, *, force: bool | None = None) -> None:
    """Check that a file may be written; `force` is None where a command has no such option.

    Raises:
        StorageError: it exists.
    """
    if not force:
        require_absent(path, "choose another file" + ("" if force is None else ", or replace it with --force"))


def write_audio(path: Path, samples: "Samples", sample_rate: int) -> None:
    """Write a sound in the finer encoding of its format."""
    from distill.audio.sound import write_sound

    write_sound(path, samples, sample_rate, fine=True)


def edit_and_write(
    before: "History",
    edit: "Edit",
    grid: Path,
    output: Path | None,
    *,
    as_json: bool,
    remarks: "Sequence[str]" = (),
    **values: Any,
) -> None:
    """Do an edit, write the grid, and say what happened, with some remarks."""
    history, words = with_edit(before, edit)
    lines = [words, *remarks]
    write_and_report(before, history, grid, output, as_json=as_json, lines=lines, edit=edit.kind, words=words, **values)


def left_alone(columns: int) -> list[str]:
    """A remark on the selected columns that another, shorter grid has nothing for."""
    return [f"{columns} selected columns have no counterpart and stay unchanged"] if columns else []


def with_edit(before: "History", edit: "Edit") -> "tuple[History, str]":
    """A grid with one more edit, unless that changes nothing, and the edit in words."""
    after, words = before.do(edit), edit.describe(before.grid)
    return (before, f"nothing changes: {words}") if after.grid == before.grid else (after, words)


def write_and_report(
    before: "History",
    history: "History",
    grid: Path,
    output: Path | None,
    *,
    as_json: bool,
    lines: list[str],
    **values: Any,
) -> None:
    """Write a grid whose history went on or back, and say what happened."""
    from distill.codes.file import write_grid

    target = output or grid
    if output is not None and output.resolve() != grid.resolve():
        require_suffix(output, ".json")
        require_free(output)
    write_grid(target, history)
    summary = summary_of(target, before.grid, history)
    edits = f"{summary['done']} of {summary['edits']} edits applied"
    cells = f"{counted(summary['changed'], 'cell')} changed, {counted(summary['columns'], 'column')}, {edits}"
    print_result([*lines, f"{target}: {cells}"], {**summary, **values}, as_json=as_json)


def summary_of(path: Path, before: "CodeGrid", history: "History") -> dict[str, Any]:
    """A grid after an edit, as every command prints it."""
    from distill.codes.difference import changed_cells

    return {
        "grid": str(path),
        "changed": changed_cells(before, history.grid),
        "columns": len(history.grid),
        "edits": len(history.edits),
        "done": history.position,
    }


def _span_of_seconds(text: str, grid: "CodeGrid") -> tuple[int, int]:
    first, colon, last = text.partition(":")
    try:
        begin = float(first) if first.strip() else 0.0
        end = float(last) if last.strip() else grid.seconds
    except ValueError:
        begin = end = math.nan
    if not colon or not 0.0 <= begin < end <= grid.seconds + 1e-6:
        raise UsageError(f"--seconds takes FROM:TO within the {grid.seconds:.3f} s of the grid, not {text!r}")
    column = grid.seconds_per_column
    return int(begin / column + 1e-9), min(len(grid), math.ceil(end / column - 1e-9))


def _bands(text: str, count: int) -> tuple[int, ...]:
    bands: list[int] = []
    for part in text.split(",") if "," in text else [text]:
        if part.strip() or part is text:
            first, end = span(part, count, "--bands")
            # The first one that is not there is enough to be refused.
            bands += range(first, min(end, max(first, count) + 1))
    return tuple(bands)
