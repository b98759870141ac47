"""`distill vary`, `distill morph` and `distill find`: what starts from a sound that is there."""

from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, loading, print_result, set_up_logging, stdout_console
from distill.cli.generate import make_and_print
from distill.cli.grids import Channels, Device, Force, Width, resolved
from distill.cli.progress import shown_progress
from distill.errors import UsageError
from distill.live.events import Progress

Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m",
        help="Model: a file, a name, or NAME/VERSION or NAME@ALIAS in the registry (default: the one that made the "
        "sound, or the only one of the project).",
        show_default=False,
    ),
]  # fmt: skip
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the sounds.")]
Format = Annotated[str, typer.Option("--format", help="wav, flac, ogg or mp3.")]
Sidecars = Annotated[
    bool,
    typer.Option(
        "--sidecar/--no-sidecar",
        help="Write a JSON file beside each sound, from which generate --from-sidecar makes it again.",
    ),
]


def vary(
    sound: Annotated[Path, typer.Argument(help="The sound to vary.", show_default=False)],
    count: Annotated[int, typer.Option("-n", "--count", help="Number of variations.")] = 4,
    strength: Annotated[
        float, typer.Option(help="How much of the sound is new, from 0 (nothing) to 1 (everything).", min=0.0, max=1.0)
    ] = 0.3,
    keep: Annotated[
        str | None,
        typer.Option(help="What stays at any strength: attack, or structure (the coarsest level).", show_default=False),
    ] = None,
    model: Model = None,
    channels: Channels = None,
    width: Width = 1.0,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the first variation (default: after the existing files, or 0).", show_default=False),
    ] = None,
    output: Output = Path("generated"),
    format: Format = "wav",
    sidecar: Sidecars = True,
    force: Force = False,
    device: Device = "cpu",
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make variations of a sound."""
    set_up_logging(quiet=quiet, verbose=verbose)
    if keep not in (None, "attack", "structure"):
        raise UsageError(f"--keep {keep}: expected attack or structure")
    with loading():
        from distill.generation.export import ExportSettings
        from distill.generation.sound_request import request_of
        from distill.generation.writing import Destination, produce

    path = _model_of(model, sound, project)
    wanted = {"strength": strength, "keep": keep, "channels": channels, "width": width}
    request = request_of({"action": "vary", **wanted})
    destination = Destination(output, ExportSettings(format), sidecar, force)
    made = produce(path, request, destination, count=count, seed=seed, source=sound, device=device)
    make_and_print("vary", path, made, count, as_json=as_json)


def morph(
    sound: Annotated[Path, typer.Argument(help="First sound of the series.", show_default=False)],
    other: Annotated[Path, typer.Argument(help="Last sound of the series.", show_default=False)],
    steps: Annotated[int, typer.Option(help="Number of sounds in the series.", min=2, max=99)] = 8,
    model: Model = None,
    channels: Channels = None,
    width: Width = 1.0,
    output: Output = Path("generated"),
    format: Format = "wav",
    sidecar: Sidecars = True,
    force: Force = False,
    device: Device = "cpu",
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a series of sounds from one sound to another."""
    set_up_logging(quiet=quiet, verbose=verbose)
    with loading():
        from distill.generation.export import ExportSettings
        from distill.generation.sound_request import request_of
        from distill.generation.writing import Destination
        from distill.generation.writing import morph as made_between

    path = _model_of(model, sound, project)
    destination = Destination(output, ExportSettings(format), sidecar, force)
    series = request_of({"action": "morph", "weight": 0.0, "channels": channels, "width": width})
    made = made_between(path, sound, other, destination, steps=steps, request=series, device=device)
    make_and_print("morph", path, made, steps, as_json=as_json)


def find(
    model: Annotated[
        str,
        typer.Argument(
            help="Model: a file, a name, or NAME/VERSION or NAME@ALIAS in the registry.", show_default=False
        ),
    ],
    sound: Annotated[Path, typer.Argument(help="Sound to compare with.", show_default=False)],
    count: Annotated[int, typer.Option("-n", "--count", help="Number of sounds.")] = 10,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            help="Folder with the prepared sounds of the training (default: found automatically).",
            show_default=False,
        ),
    ] = None,
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find the sounds nearest to one, among those that the model learned from and those that it made."""
    set_up_logging(quiet=quiet, verbose=verbose)
    with loading():
        from rich.table import Table

        from distill.library.finding import find as found_near
        from distill.projects.project import current_project

    with shown_progress() as tell:
        found = found_near(
            resolved(model, project),
            sound,
            current_project(project),
            count=count,
            workspace=workspace,
            tell=lambda done, whole: tell(Progress("find", done, whole, "sounds")),
        )
    if as_json:
        print_result([], {"sound": str(sound), "found": [vars(each) for each in found]}, as_json=True)
        return
    table = Table("distance", "kind", "sound", "from s")
    for each in found:
        table.add_row(f"{each.distance:.3f}", each.kind, each.name, f"{each.seconds:.2f}")
    stdout_console().print(table)


def _model_of(reference: str | None, sound: Path, project: Path | None) -> Path:
    if reference is not None:
        return resolved(reference, project)
    from distill.library.finding import model_of
    from distill.projects.project import current_project

    return model_of(sound, current_project(project))
