"""Options and arguments that several commands have, and the model that they name."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from distill.errors import UsageError

# An option whose help says what happens without it.
option = partial(typer.Option, show_default=False)

Model = Annotated[
    str,
    typer.Argument(help="Model: a file, a name, or NAME/VERSION or NAME@ALIAS in the registry.", show_default=False),
]
Channels = Annotated[
    int | None,
    option("--channels", help="1: mono (default: 2 if the model was trained on stereo sounds).", min=1, max=2),
]
Width = Annotated[
    float,
    typer.Option("--width", help="Stereo width: 0 is mono on both channels, 1 is as learned.", min=0.0, max=1.5),
]
Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Workspace = Annotated[
    Path | None,
    option("--workspace", help="Folder with the prepared sounds of the training (default: found automatically)."),
]


def model_file(reference: str | None, project: Path | None) -> Path:
    """The model file that a path, a name or a reference to the registry means; None: the project's own.

    Raises:
        DataError: there is no such model.
        UsageError: none is named, and there is not just one.
        TrackingError: the registry cannot be used.
    """
    from distill.projects.models import default_file, named_file
    from distill.projects.project import current_project

    root = current_project(project)
    path = default_file(root) if reference is None else named_file(reference, root)
    # A file is read at once; the registry takes seconds to load.
    if path is None:
        from distill.registry.registry import resolve

        path = resolve(str(reference), root)
    return path


def given_options(context: typer.Context) -> set[str]:
    """The parameters of a command that the call gives."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name not in ("DEFAULT", "DEFAULT_MAP")}


def refuse(names: set[str], context: typer.Context, words: str) -> None:
    """Refuse parameters, if there are any; `words` has `{}` in place of their options.

    Raises:
        UsageError: there are some.
    """
    if names:
        options = {each.name: max(each.opts, key=len) for each in context.command.params}
        raise UsageError(words.format(", ".join(sorted(options[name] for name in names))))
