"""`distill kit`."""

from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, loading, print_result, set_up_logging
from distill.cli.options import Channels, Device, Force, Model, Width, model_file
from distill.cli.progress import shown_progress
from distill.live.events import Progress


def kit(
    model: Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder of the kit; its name becomes the name of the kit.", show_default=False
        ),
    ],
    pads: Annotated[
        str | None,
        typer.Option(
            help="LABEL:NUMBER, separated by commas, or a number of pads, up to 64 (default: 16, over all labels).",
            show_default=False,
        ),
    ] = None,
    layers: Annotated[int, typer.Option("--velocity", help="Velocity layers of each pad.", min=1, max=8)] = 1,
    turns: Annotated[int, typer.Option("--round-robin", help="Alternating sounds of each pad.", min=1, max=8)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first pad; each further pad has the next one.")] = 0,
    duration: Annotated[float, typer.Option("--duration", "-d", help="Longest duration of a sound, in s.")] = 3.0,
    channels: Channels = None,
    width: Width = 1.0,
    sample_rate: Annotated[
        int | None,
        typer.Option(
            "--sample-rate", help="44100, 48000 or 96000 Hz (default: that of the model).", show_default=False
        ),
    ] = None,
    bits: Annotated[str | None, typer.Option("--bits", help="16, 24 or 32f (default: 24).", show_default=False)] = None,
    licence: Annotated[
        str | None, typer.Option("--license", help="License text for the sounds.", show_default=False)
    ] = None,
    force: Force = False,
    device: Device = "cpu",
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a sampler kit: sounds on pads, as SFZ, for Hydrogen and Decent Sampler, and as a zip."""
    set_up_logging(quiet=quiet, verbose=verbose)
    with loading():
        from distill.artifact.model_file import read_manifest
        from distill.generation.export import ExportSettings
        from distill.generation.sound_request import request_of
        from distill.kits.kit import make_kit
        from distill.kits.pads import pads_of

    path = model_file(model, project)
    config = read_manifest(path).prior_config
    known = None if config is None else config.conditions
    on = pads_of(pads, known.labels if known else ())
    with shown_progress() as tell:
        made = make_kit(
            path,
            on,
            output,
            request=request_of(
                {"seconds": duration, "natural": True, "finish": True, "channels": channels, "width": width}
            ),
            seed=seed,
            layers=layers,
            turns=turns,
            settings=ExportSettings("wav", sample_rate, bits),
            licence=licence,
            force=force,
            device=device,
            tell=lambda done, count: tell(Progress("kit", done, count, "sounds")),
        )
    listed = [
        {
            "name": each.pad.name,
            "label": each.pad.label,
            "note": each.pad.note,
            "files": [list(files) for files in each.layers],
        }
        for each in made.instruments
    ]
    print_result(
        [str(made.folder), str(made.archive)],
        {"folder": str(made.folder), "zip": str(made.archive), "pads": listed},
        as_json=as_json,
    )
