"""`distill ui`: the page."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Project, Quiet, Verbose, print_result, set_up_logging, stderr
from distill.errors import UsageError


def ui(
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 5050,
    host: Annotated[
        str, typer.Option(help="Address to listen on; with any other address, other machines can reach the page.")
    ] = "127.0.0.1",
    project: Project = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Serve the page on 127.0.0.1, until Ctrl-C; open the printed address.

    The address contains a random token, stored in .distill/page/token; DISTILL_TOKEN replaces it.
    """
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.projects.project import current_project

    serve_page(current_project(project), host=host, port=port)


def serve_page(project: Path, *, host: str, port: int, on_up: Callable[[str], None] = lambda _: None) -> None:
    """Serve the page of a project and print its address; `on_up` gets it, too.

    Raises:
        UsageError: the port is taken, or Gradio is not installed.
        StorageError: the address cannot be listened on, or the project cannot be written.
    """
    from distill.processes.ports import HOST, require_free_port

    if host == HOST:
        require_free_port(port)
    if find_spec("gradio") is None:
        raise UsageError("the page needs Gradio: pip install 'distill-audio[ui]'")
    from distill.ui.server import serve

    def show(address: str) -> None:
        print_result([address], {}, as_json=False)
        stderr.print("Press Ctrl-C to stop the page; trainings continue.")
        on_up(address)

    # What the page keeps while it runs is removed either way.
    serve(project, host=host, port=port, on_up=show)
