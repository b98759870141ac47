"""`distill vary`, `distill morph` and `distill find`: what starts from a sound that is there."""

from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, loading, print_result, set_up_logging, stdout_console
from distill.cli.options import Channels, Device, Force, Model, Width, Workspace, model_file, option
from distill.cli.progress import shown_progress
from distill.cli.sounds import Folder, Format, Sidecars, make_and_print
from distill.errors import UsageError
from distill.live.events import Progress

MadeBy = Annotated[
    str | None,
    option(
        "--model",
        "-m",
        help="Model: a file, a name, or NAME/VERSION or NAME@ALIAS in the registry (default: the one that made the "
        "sound, or the only one of the project).",
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
    model: MadeBy = None,
    channels: Channels = None,
    width: Width = 1.0,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the first variation (default: after the existing files, or 0).", show_default=False),
    ] = None,
    output: Folder = Path("generated"),
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
    model: MadeBy = None,
    channels: Channels = None,
    width: Width = 1.0,
    output: Folder = Path("generated"),
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
    model: Model,
    sound: Annotated[Path, typer.Argument(help="Sound to compare with.", show_default=False)],
    count: Annotated[int, typer.Option("-n", "--count", help="Number of sounds, up to 100.")] = 10,
    workspace: Workspace = None,
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
            model_file(model, project),
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
        return model_file(reference, project)
    from distill.library.finding import model_of
    from distill.projects.project import current_project

    return model_of(sound, current_project(project))
