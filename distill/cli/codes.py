"""`distill codes`: grids of codes are edited."""

from typing import Annotated, Any

import typer

from distill.cli import codes_view
from distill.cli.console import Json, Project, print_result
from distill.cli.grids import (
    At,
    Bands,
    Columns,
    GridFile,
    Levels,
    Other,
    Output,
    Seconds,
    edit_and_write,
    left_alone,
    load_model,
    selection_of,
    span,
    summary_of,
    with_edit,
    write_and_report,
)
from distill.cli.options import Device, Model
from distill.errors import UsageError
from distill.generation import TOP_P
from distill.models.levels import find_level, parse_levels

Steps = Annotated[int, typer.Option("--steps", "-n", help="Number of edits.")]

app = typer.Typer(help="Show, edit and preview grids of codes.", no_args_is_help=True)
app.command()(codes_view.show)
app.command()(codes_view.preview)
app.command()(codes_view.diff)


@app.command("set")
def set_codes(
    grid: GridFile,
    code: Annotated[int, typer.Argument(help="Code for the cells.", show_default=False)],
    columns: Columns = None,
    seconds: Seconds = None,
    bands: Bands = None,
    levels: Levels = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Set the selected cells to a code."""
    from distill.codes.edits import SetCode
    from distill.codes.file import read_grid

    if code < 0:
        raise UsageError(f"there is no code {code}: codes begin at 0")
    before = read_grid(grid)
    chosen = selection_of(before.grid, columns, seconds, bands, levels)
    edit_and_write(before, SetCode(selection=chosen, code=code), grid, output, as_json=as_json)


@app.command()
def swap(
    grid: GridFile,
    other: Other,
    columns: Columns = None,
    seconds: Seconds = None,
    bands: Bands = None,
    levels: Levels = None,
    at: At = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy from the other grid and leave it unchanged.")] = False,
    as_json: Json = False,
) -> None:
    """Swap a region between two grids; if one is shorter, the region is cut to what both have."""
    from distill.codes.exchange import swap as exchange
    from distill.codes.file import read_grid, write_grid, write_grids

    if grid.resolve() == other.resolve():
        raise UsageError(f"{grid} is given twice: a swap takes two grids")
    mine, theirs = read_grid(grid), read_grid(other)
    chosen = selection_of(mine.grid, columns, seconds, bands, levels)
    found = exchange(mine.grid, theirs.grid, chosen, at, names=(grid.name, other.name))
    before, before_other = mine.grid, theirs.grid
    mine, words = with_edit(mine, found.edit)
    if copy:
        write_grid(grid, mine)
    else:
        theirs, _ = with_edit(theirs, found.other_edit)
        write_grids(grid, mine, other, theirs)
    left_out = found.overlap.left_out
    lines = [words, *left_alone(left_out)]
    values: dict[str, Any] = {
        **summary_of(grid, before, mine),
        "other": summary_of(other, before_other, theirs),
        "edit": "swap",
        "words": words,
        "swapped_columns": found.overlap.columns,
        "left_out": left_out,
    }
    print_result([*lines, *(str(path) for path in ([grid] if copy else [grid, other]))], values, as_json=as_json)


@app.command()
def blend(
    model: Model,
    grid: GridFile,
    other: Other,
    weight: Annotated[float, typer.Option("--weight", "-w", help="Weight of the other grid: 0 to 1.")] = 0.5,
    level_weight: Annotated[
        list[str] | None,
        typer.Option("--level-weight", help="Weight of one level, such as Detail=0.2; repeatable."),
    ] = None,
    columns: Columns = None,
    seconds: Seconds = None,
    bands: Bands = None,
    levels: Levels = None,
    at: At = None,
    output: Output = None,
    device: Device = "cpu",
    project: Project = None,
    as_json: Json = False,
) -> None:
    """Blend a grid with another one, by interpolating code vectors."""
    from distill.codes.blend import blend as towards
    from distill.codes.file import read_grid

    mine, theirs = read_grid(grid), read_grid(other)
    weights = [weight] * mine.grid.levels
    for text in level_weight or ():
        name, _, value = text.rpartition("=")
        try:
            weights[find_level(name, mine.grid.labels)] = float(value)
        except ValueError:
            raise UsageError(f"--level-weight takes LEVEL=WEIGHT, not {text!r}") from None
    chosen = selection_of(mine.grid, columns, seconds, bands, levels)
    loaded = load_model(model, device, project)
    found = towards(loaded, mine.grid, theirs.grid, weights, chosen, at, name=other.name)
    edit_and_write(
        mine,
        found.edit,
        grid,
        output,
        as_json=as_json,
        remarks=left_alone(found.overlap.left_out),
        weights=weights,
        distance=found.edit.distance,
        blended_columns=found.overlap.columns,
        left_out=found.overlap.left_out,
    )


@app.command()
def randomize(
    model: Model,
    grid: GridFile,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    temperature: Annotated[float, typer.Option(help="Sampling temperature; 0: always the likeliest code.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Choose among this many of the likeliest codes; 0: all.")] = 0,
    top_p: Annotated[
        float, typer.Option(help="Choose among the likeliest codes with this total probability; 1: all.")
    ] = TOP_P,
    columns: Columns = None,
    seconds: Seconds = None,
    bands: Bands = None,
    levels: Levels = None,
    output: Output = None,
    device: Device = "cpu",
    project: Project = None,
    as_json: Json = False,
) -> None:
    """Let the prior draw new codes for the selected cells that fit the rest."""
    from distill.codes.file import read_grid
    from distill.codes.randomize import randomize as drawn
    from distill.generation.sampler import SamplingConfig

    before = read_grid(grid)
    chosen = selection_of(before.grid, columns, seconds, bands, levels)
    config = SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p)
    edit = drawn(load_model(model, device, project), before.grid, chosen, seed=seed, config=config)
    edit_and_write(before, edit, grid, output, as_json=as_json, seed=seed)


@app.command()
def reverse(
    grid: GridFile,
    columns: Columns = None,
    seconds: Seconds = None,
    bands: Bands = None,
    levels: Levels = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Reverse columns in time."""
    from distill.codes.edits import Reverse
    from distill.codes.file import read_grid

    before = read_grid(grid)
    edit = Reverse(selection=selection_of(before.grid, columns, seconds, bands, levels))
    edit_and_write(before, edit, grid, output, as_json=as_json)


@app.command()
def transpose(
    grid: GridFile,
    by: Annotated[int, typer.Option("--by", help="Number of columns; negative: earlier.", show_default=False)],
    columns: Columns = None,
    seconds: Seconds = None,
    bands: Bands = None,
    levels: Levels = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Move columns in time; what leaves the selection at one end re-enters at the other."""
    from distill.codes.edits import Transpose
    from distill.codes.file import read_grid

    before = read_grid(grid)
    edit = Transpose(selection=selection_of(before.grid, columns, seconds, bands, levels), columns=by)
    edit_and_write(before, edit, grid, output, as_json=as_json)


@app.command()
def repeat(
    grid: GridFile,
    columns: Annotated[str, typer.Option("--columns", help="Column, or FIRST:END (END not included), from 0.")] = ":",
    times: Annotated[int, typer.Option("--times", help="Number of copies.", min=1)] = 1,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Insert copies of columns after them; the sound gets longer."""
    from distill.codes.edits import Repeat
    from distill.codes.file import read_grid

    before = read_grid(grid)
    edit = Repeat(columns=span(columns, len(before.grid), "--columns"), times=times)
    edit_and_write(before, edit, grid, output, as_json=as_json)


@app.command()
def freeze(
    grid: GridFile,
    levels: Annotated[str, typer.Argument(help="Names or numbers from 0, separated by commas.", show_default=False)],
    off: Annotated[bool, typer.Option("--off", help="Unfreeze the levels.")] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Protect levels from edits."""
    from distill.codes.edits import Freeze, Unfreeze
    from distill.codes.file import read_grid

    before = read_grid(grid)
    chosen = parse_levels(levels, before.grid.labels)
    edit = Unfreeze(levels=chosen) if off else Freeze(levels=chosen)
    edit_and_write(before, edit, grid, output, as_json=as_json)


@app.command()
def rename(
    grid: GridFile,
    level: Annotated[str, typer.Argument(help="Name of the level, or its number from 0.", show_default=False)],
    label: Annotated[str, typer.Argument(help="New name.", show_default=False)],
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Rename a level."""
    from distill.codes.edits import Rename
    from distill.codes.file import read_grid

    before = read_grid(grid)
    edit_and_write(
        before, Rename(level=find_level(level, before.grid.labels), label=label), grid, output, as_json=as_json
    )


@app.command()
def undo(grid: GridFile, steps: Steps = 1, output: Output = None, as_json: Json = False) -> None:
    """Undo edits."""
    from distill.codes.file import read_grid

    before = read_grid(grid)
    words = before.describe()
    after = before.undo(steps)
    lines = [f"undone: {words[number]}" for number in range(before.position - 1, after.position - 1, -1)]
    write_and_report(before, after, grid, output, as_json=as_json, lines=lines, words=lines)


@app.command()
def redo(grid: GridFile, steps: Steps = 1, output: Output = None, as_json: Json = False) -> None:
    """Redo undone edits."""
    from distill.codes.file import read_grid

    before = read_grid(grid)
    words = before.describe()
    after = before.redo(steps)
    lines = [f"redone: {line}" for line in words[before.position : after.position]]
    write_and_report(before, after, grid, output, as_json=as_json, lines=lines, words=lines)
