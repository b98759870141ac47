"""`distill reproduce`."""

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, print_result, set_up_logging, stderr
from distill.cli.options import Model
from distill.errors import EXIT_FAILURE
from distill.live.stop_request import stop_on_signals


def reproduce(
    model: Model,
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Rebuild a recorded model from its commit, data and settings, and tell whether it is identical.

    The exit code is 1 if it is not.
    """
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.library.reproduce import reproduce as rebuild
    from distill.projects.project import required_project

    with stop_on_signals() as stop:
        rebuilt = rebuild(model, required_project(project), stop=stop, tell=stderr.print)
    if rebuilt.identical:
        lines = [f"identical: {rebuilt.digest}"]
    else:
        lines = [f"different from the stage {rebuilt.stage} on", *rebuilt.reasons]
    values = {
        "identical": rebuilt.identical,
        "digest": rebuilt.digest,
        "stage": rebuilt.stage,
        "reasons": list(rebuilt.reasons),
        "commit": rebuilt.commit,
        "run_id": rebuilt.run_id,
    }
    print_result(lines, values, as_json=as_json)
    if not rebuilt.identical:
        raise typer.Exit(EXIT_FAILURE)
