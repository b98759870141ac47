"""The commands that show grids and make codes audible."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, print_result, set_up_logging, stdout_console
from distill.cli.grids import (
    Bands,
    Columns,
    GridFile,
    HeardLevels,
    Other,
    Seconds,
    load_model,
    require_free,
    require_stereo,
    selection_of,
    write_audio,
)
from distill.cli.options import Channels, Device, Force, Model, Width, option
from distill.errors import UsageError
from distill.files import require_suffix

if TYPE_CHECKING:
    from distill.codes.grid import CodeGrid
    from distill.codes.history import History
    from distill.codes.model import CodesModel

# As many as fit beside each other in most terminals.
_SHOWN_COLUMNS = 24
_ENTRY_COLUMNS = 2

Picture = Annotated[Path | None, typer.Option("--picture", help="Also draw the result to this PNG file.")]


def show(
    grid: GridFile,
    columns: Columns = None,
    seconds: Seconds = None,
    picture: Picture = None,
    usage: Annotated[
        Path | None, typer.Option("--usage", help="Also draw how often each code is used, to this PNG file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a grid, its history and its codes."""
    for path in (picture, usage):
        require_suffix(path, ".png")
    from distill.codes.file import read_grid

    history = read_grid(grid)
    now, words = history.grid, history.describe()
    found = selection_of(now, columns, seconds).model_copy(update={"levels": tuple(range(now.levels))})
    first, last = found.columns or (0, len(now))
    found.resolved(replace(now, frozen=()))
    if picture is not None or usage is not None:
        from distill.codes.pictures import grid_png, usage_png

        if picture is not None:
            grid_png(picture, now, grid.name)
        if usage is not None:
            usage_png(usage, now)
    if as_json:
        values = {
            "grid": str(grid),
            "model": vars(now.model),
            "codebook_size": now.codebook_size,
            "levels": list(now.labels),
            "frozen": list(now.frozen),
            "bands": [list(band) for band in now.bands_hz],
            "seconds_per_column": now.seconds_per_column,
            "seconds": now.seconds,
            "source": None if now.source is None else vars(now.source),
            "columns": len(now),
            "first": first,
            "codes": now.codes[first:last].tolist(),
            "edits": words,
            "done": history.position,
        }
        print_result([], values, as_json=True)
        return
    _print_history(history)
    _print_codes(now, first, last)


def _print_history(history: "History") -> None:
    from rich.table import Table

    now, source = history.grid, history.grid.source
    rows = {
        "model": f"{now.model.name} (weights {now.model.digest})",
        "source": "" if source is None else f"{source.name}, {source.seconds:.3f} s, gain {source.gain_db:+.1f} dB",
        "grid": f"{len(now)} columns of {now.seconds_per_column:.4f} s ({now.seconds:.3f} s), {now.bands} bands, "
        f"codes 0 to {now.codebook_size - 1}",
        "levels": ", ".join(
            f"{number} {label}{' (frozen)' if number in now.frozen else ''}" for number, label in enumerate(now.labels)
        ),
        "edits": f"{history.position} of {len(history.edits)} done" if history.edits else "none",
    }
    about = Table(show_header=False, box=None)
    for name, value in rows.items():
        if value:
            about.add_row(name, value)
    stdout = stdout_console()
    stdout.print(about)
    for number, line in enumerate(history.describe()):
        stdout.print(f"  {number + 1}. {line}{'' if number < history.position else '  (undone)'}")


def _print_codes(grid: "CodeGrid", first: int, last: int) -> None:
    from rich.table import Table

    stdout, stop = stdout_console(), min(last, first + _SHOWN_COLUMNS)
    table = Table("", "Hz", *map(str, range(first, stop)))
    for level, label in enumerate(grid.labels):
        for band in reversed(range(grid.bands)):
            low, high = grid.bands_hz[band]
            cells = map(str, grid.codes[first:stop, band, level])
            table.add_row(f"{label} {band}", f"{low:.0f} to {high:.0f}", *cells, end_section=band == 0)
    stdout.print(table)
    if stop < last:
        stdout.print(f"{last - stop} more columns: --columns {stop}:{last} shows them")


def preview(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Sound file; for codebook entries also a folder.", show_default=False)
    ],
    grid: Annotated[Path | None, typer.Argument(help="Grid file; without it, you hear the codebooks.")] = None,
    columns: Columns = None,
    seconds: Seconds = None,
    bands: Bands = None,
    levels: HeardLevels = None,
    code: Annotated[list[int] | None, typer.Option("--code", help="Codebook entry; repeatable (default: all).")] = None,
    length: Annotated[
        int | None, option("--length", help=f"Duration of each entry, in columns (default: {_ENTRY_COLUMNS}).")
    ] = None,
    true_level: Annotated[
        bool, typer.Option("--true-level", help="Keep the true level instead of a peak of -1 dB.")
    ] = False,
    channels: Channels = None,
    width: Width = 1.0,
    force: Force = False,
    device: Device = "cpu",
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Hear only the selected cells of a grid, or codebook entries with all other levels silent."""
    set_up_logging(quiet=quiet, verbose=verbose)
    if grid is None:
        if columns is not None or seconds is not None:
            raise UsageError("--columns and --seconds select cells of a grid: also name a grid file")
        if channels is not None or width != 1.0:
            raise UsageError("--channels and --width are for a grid: also name a grid file")
        loaded = load_model(model, device, project)
        columns_each = _ENTRY_COLUMNS if length is None else length
        values = _preview_entries(loaded, output, levels, bands, code, columns_each, true_level=true_level, force=force)
    else:
        if code or length is not None:
            raise UsageError("--code and --length are for codebook entries: omit the grid file")
        require_free(output, force=force)
        from distill.audio.loudness import peak_db
        from distill.codes.file import read_grid
        from distill.codes.playback import hear
        from distill.codes.sound import amplify
        from distill.generation.space import width_of

        codes = read_grid(grid).grid
        loaded = load_model(model, device, project)
        loaded.require(codes, str(grid))
        how = width_of(loaded.codec, channels, width)
        samples = hear(loaded, codes, selection_of(codes, columns, seconds, bands, levels), width=how)
        require_stereo(samples, channels, width)
        peak = round(peak_db(samples), 1)
        write_audio(output, samples if true_level else amplify(samples), loaded.sample_rate)
        values = {"path": str(output), "seconds": samples.shape[-1] / loaded.sample_rate, "peak_db": peak}
    print_result([str(values["path"])], values, as_json=as_json)


def diff(
    grid: GridFile,
    other: Other,
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    """Show how two grids of a model differ."""
    require_suffix(picture, ".png")
    from distill.codes.difference import difference
    from distill.codes.file import read_grid

    one, two = read_grid(grid).grid, read_grid(other).grid
    found = difference(one, two)
    if picture is not None:
        from distill.codes.pictures import difference_png

        difference_png(picture, one, two, f"{other.name} where it differs from {grid.name}")
    cells = found.columns * one.bands
    lines = [
        f"{label}: {count} of {cells} codes differ ({count / cells:.0%})"
        for label, count in zip(one.labels, found.by_level, strict=True)
    ]
    lines.append(f"{len(found.changed_columns)} of {found.columns} common columns differ")
    if found.missing:
        lines.append(f"{found.missing} more columns in {(grid if len(one) > len(two) else other).name}")
    values: dict[str, Any] = {
        "same": found.same,
        "columns": found.columns,
        "missing": found.missing,
        "by_level": dict(zip(one.labels, found.by_level, strict=True)),
        "changed_columns": list(found.changed_columns),
        "changed_bands": list(found.changed_bands),
    }
    print_result(["the codes are the same"] if found.same else lines, values, as_json=as_json)


def _preview_entries(
    model: "CodesModel",
    output: Path,
    levels: str | None,
    bands: str | None,
    codes: list[int] | None,
    length: int,
    *,
    true_level: bool,
    force: bool,
) -> dict[str, Any]:
    """Entries of the codebooks in one file, one after the other, or each in a file of its own in a folder."""
    import numpy as np

    from distill.audio.loudness import peak_db
    from distill.audio.sound import EXTENSIONS
    from distill.cli.progress import shown_progress
    from distill.codes.playback import Entry, hear_entries
    from distill.codes.sound import amplify
    from distill.live.events import Progress

    labels = model.codec.labels
    empty = model.grid(np.zeros((1, model.codec.bands, len(labels)), np.int64))
    chosen = selection_of(empty, bands=bands, levels=levels).resolved(empty)
    wanted = [
        Entry(level, code)
        for level in chosen.levels or ()
        for code in (range(model.codec.codebook_size) if codes is None else codes)
    ]
    one_file = output.suffix.lower() in EXTENSIONS
    names = [f"{labels[entry.level].lower()}_{entry.code:04d}.wav" for entry in wanted]
    for path in [output] if one_file else [output / name for name in names]:
        require_free(path, force=force)
    heard, peaks = [], []
    sounds = hear_entries(model, wanted, columns=length, bands=chosen.bands)
    with shown_progress() as tell:
        for name, samples in zip(names, sounds, strict=True):
            peaks.append(round(peak_db(samples), 1))
            shown = samples if true_level else amplify(samples)
            if one_file:
                heard.append(shown)
            else:
                write_audio(output / name, shown, model.sample_rate)
            tell(Progress("preview", len(peaks), len(names), "entries"))
    if one_file:
        most = max(each.ndim for each in heard)
        both = [each if each.ndim == most else np.stack([each, each]) for each in heard]
        write_audio(output, np.concatenate(both, axis=-1), model.sample_rate)
    return {
        "path": str(output),
        "seconds_each": length * model.codec.column_samples / model.sample_rate,
        "entries": [
            {
                "level": labels[entry.level],
                "code": entry.code,
                "peak_db": peak,
                **({} if one_file else {"path": str(output / name)}),
            }
            for entry, peak, name in zip(wanted, peaks, names, strict=True)
        ],
    }
