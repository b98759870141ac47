"""`distill new`: a project of one's own."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Json, Quiet, Verbose, print_result, remark, set_up_logging, stderr
from distill.errors import UsageError
from distill.words import counted


def new(
    folder: Annotated[Path, typer.Argument(help="Folder to create; the model gets its name.", show_default=False)],
    sounds: Annotated[
        Path | None, typer.Option("--sounds", help="Folder of sounds to copy into the project.", show_default=False)
    ] = None,
    ci: Annotated[
        bool,
        typer.Option("--ci", help="Add a GitHub workflow that trains on a few of the sounds for each pull request."),
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Bring an existing project to the installed version of distill.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Create a project: pipeline, parameters, flows and sounds, under git and DVC."""
    set_up_logging(quiet=quiet, verbose=verbose)
    if update:
        if sounds is not None or ci:
            raise UsageError("--update changes only the files that come from distill: omit --sounds and --ci")
        _update(folder, as_json=as_json)
        return
    from distill.library.new import new_project

    made = new_project(folder, sounds=sounds, ci=ci)
    steps = [f"cd {shlex.quote(str(made.folder))}"]
    steps += [] if made.usable else ["distill dataset add SOUNDS"]
    usable = f"{counted(made.usable, 'usable sound')}. " if made.usable else ""
    stderr.print(
        f"{usable}The model is called {made.model}. Next: {' && '.join([*steps, 'dvc repro', 'distill generate'])}"
    )
    print_result(
        [str(folder)], {"folder": str(made.folder), "model": made.model, "usable": made.usable}, as_json=as_json
    )


def _update(folder: Path, *, as_json: bool) -> None:
    from distill.library.new import update_project

    done = update_project(folder)
    for path in done.conflicts:
        remark("Conflict", f"{path}: you and distill changed the same lines; resolve this in the file, then commit")
    summary = f"{done.before} -> {done.after}: {len(done.changed)} files changed"
    undo = "git status and git diff show them; to undo the update: git checkout -- ., and remove what is new"
    stderr.print(f"{summary}; {undo}" if done.changed else f"{summary}.")
    values = {"before": done.before, "after": done.after, "changed": done.changed, "conflicts": done.conflicts}
    print_result(done.difference.splitlines(), {**values, "difference": done.difference}, as_json=as_json)
