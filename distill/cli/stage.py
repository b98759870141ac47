"""`distill stage`: one stage of the pipeline, as dvc.yaml calls it."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distill.cli.console import Json, Quiet, Verbose, print_result, set_up_logging
from distill.cli.progress import shown_progress
from distill.errors import EXIT_FAILURE, DataError, UsageError
from distill.live.events import Listeners
from distill.live.stop_request import stop_on_signals, stop_with_owner

if TYPE_CHECKING:
    from distill.stages.workspace import Workspace


def stage(
    name: Annotated[str, typer.Argument(help="Name of the stage.", show_default=False)],
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Folder with params.yaml.")] = Path(),
    code: Annotated[int | None, typer.Option("--code", help="Expected version of the stage's code.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run one stage of the pipeline in a workspace."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.instructions import use
    from distill.live.processes import is_follower
    from distill.stages.pipeline import STAGES, require_stage
    from distill.stages.versions import CODE_VERSIONS, FORMER_NAMES
    from distill.stages.workspace import Workspace

    called, name = name, FORMER_NAMES.get(name, name)
    require_stage(name)
    if code is not None and code != CODE_VERSIONS[name]:
        raise UsageError(
            f"dvc.yaml asks for version {code} of the stage {name}, the installed code is version "
            f"{CODE_VERSIONS[name]}: change the command in dvc.yaml, or install the code that belongs to it"
        )
    folder = Workspace(workspace)
    if not folder.params_file.is_file():
        raise DataError(f"{workspace.absolute()} holds no params.yaml: name a project or run folder with --workspace")
    # Before what loads numpy and torch.
    use(folder.params().run.arithmetic)
    if is_follower():
        _follow(name, folder)
        return
    from distill.processes.run_lock import held_by_ancestor, hold
    from distill.runs.folder import is_run
    from distill.runs.local import watch
    from distill.runs.phase_seconds import PHASES

    alone = is_run(workspace) and not held_by_ancestor(workspace)
    # A caller that runs stages one by one runs the rest as well.
    ahead = STAGES[STAGES.index(name) :] if name in PHASES[PHASES.index("configure") + 1 :] else ()
    with (
        hold(workspace) if alone else nullcontext(),
        stop_on_signals() as stop,
        shown_progress() as shown,
        watch(folder, Listeners([shown]), stop, ahead=ahead) as run,
    ):
        stop_with_owner(stop)
        report = run(name)
    written = folder.report(called)
    if called != name:
        # A dvc.yaml that still calls the stage so expects its report under that name.
        folder.report(name).replace(written)
    print_result([f"{written}"], report, as_json=as_json)


def _follow(name: str, folder: "Workspace") -> None:
    """Take part in a training that another process leads; all else is that one's."""
    from distill.stages.pipeline import TRAININGS, run_stage
    from distill.stages.workspace import Call
    from distill.training.group import ProcessLost

    if name not in TRAININGS:
        return
    with stop_on_signals() as stop:
        stop_with_owner(stop)
        try:
            run_stage(name, Call(folder, Listeners(), stop))
        except ProcessLost as error:
            # The first process says why, or is gone itself.
            raise typer.Exit(EXIT_FAILURE) from error
