"""`distill encode` and `distill decode`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, loading, print_result, set_up_logging
from distill.cli.grids import GridFile, HeardLevels, load_model, require_free, require_stereo, selection_of, write_audio
from distill.cli.options import Channels, Device, Force, Model, Width
from distill.files import require_suffix


def encode(
    model: Model,
    audio: Annotated[Path, typer.Argument(help="Sound file of any length.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Grid file to write.", show_default=False)],
    like: Annotated[
        Path | None,
        typer.Option(
            "--like",
            metavar="GRID",
            help="For a sound made from this grid: use its gain, and keep its codes where they fit.",
        ),
    ] = None,
    force: Force = False,
    device: Device = "cpu",
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Turn a sound into a grid of codes."""
    set_up_logging(quiet=quiet, verbose=verbose)
    require_suffix(output, ".json")
    require_free(output, force=force)
    with loading():
        from distill.codes.file import read_grid, write_grid
        from distill.codes.history import History
        from distill.codes.sound import encode_file
        from distill.models.health import health_of_counts, usage_counts

    level_of = None if like is None else read_grid(like).grid
    grid = encode_file(load_model(model, device, project), audio, like=level_of)
    write_grid(output, History(grid))
    values = {
        "grid": str(output),
        "model": vars(grid.model),
        "columns": len(grid),
        "bands": grid.bands,
        "levels": list(grid.labels),
        "seconds_per_column": grid.seconds_per_column,
        "source": None if grid.source is None else vars(grid.source),
        "usage": health_of_counts(usage_counts(grid.codes, grid.codebook_size)),
    }
    print_result([str(output)], values, as_json=as_json)


def decode(
    model: Model,
    grid: GridFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Sound file to write.", show_default=False)],
    levels: HeardLevels = None,
    channels: Channels = None,
    width: Width = 1.0,
    check: Annotated[
        bool, typer.Option("--check", help="Encode the sound again and say how many codes change.")
    ] = False,
    force: Force = False,
    device: Device = "cpu",
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Turn a grid of codes into a sound, at the level of the encoded sound; levels that you omit are silent."""
    set_up_logging(quiet=quiet, verbose=verbose)
    require_free(output, force=force)
    with loading():
        from distill.codes.file import read_grid
        from distill.codes.playback import hear
        from distill.codes.sound import as_source, round_trip
        from distill.codes.sound import decode as decoded
        from distill.generation.space import width_of

    codes = read_grid(grid).grid
    loaded = load_model(model, device, project)
    loaded.require(codes, str(grid))
    how = width_of(loaded.codec, channels, width)
    if levels is None:
        heard = decoded(loaded, codes, width=how)
    else:
        heard = hear(loaded, codes, selection_of(codes, levels=levels), width=how)
    require_stereo(heard, channels, width)
    samples = as_source(loaded, codes, heard)
    write_audio(output, samples, loaded.sample_rate)
    found = round_trip(loaded, codes) if check else None
    values = {
        "path": str(output),
        "seconds": samples.shape[-1] / loaded.sample_rate,
        "sample_rate": loaded.sample_rate,
        "round_trip": None if found is None else asdict(found),
    }
    lines = [str(output)]
    if found is not None:
        shares = zip(codes.labels, found.by_spectrogram, found.by_sound, found.by_file, found.like_grid, strict=True)
        lines += [
            f"{label}: {drawn:.0%} of the codes change by way of the spectrogram, {heard:.0%} of the sound, "
            f"{written:.0%} of a file with a peak of 1; {like:.0%} if it is encoded like the grid"
            for label, drawn, heard, written, like in shares
        ]
        lines.append(f"distance of the code vectors: {found.distance:.0%} of their size")
    print_result(lines, values, as_json=as_json)
