"""`distill start`: from a folder of sounds to new ones, on the page."""

import os
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Project, Quiet, Verbose, set_up_logging, stderr
from distill.cli.ui import serve_page
from distill.errors import UsageError

# Ports to try, as other pages may be open.
PORTS = 20


def start(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of sounds, or one sound file.", show_default=False)
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port of the page; if it is taken, the next free one.", min=1, max=65535)
    ] = 5050,
    project: Project = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Go from a folder of sounds to new sounds, step by step, in the browser.

    Without a folder, it continues what you began before, or waits until you drop sounds.
    """
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.processes.ports import HOST
    from distill.projects.project import current_project

    root = current_project(project)
    if folder is not None:
        from distill.ui.start_state import begin_with

        begin_with(root, folder.expanduser())
    serve_page(root, host=HOST, port=_free(port), on_up=_open if browser else lambda _: None)


def _free(port: int) -> int:
    from distill.processes.ports import require_free_port

    for each in range(port, min(65_536, port + PORTS)):
        with suppress(UsageError):
            require_free_port(each)
            return each
    raise UsageError(f"the ports from {port} on are taken: choose another one with --port")


def _open(address: str) -> None:
    """Show the page in a browser with windows, if there is one."""
    windows = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not windows or not webbrowser.open(address):
        stderr.print("Open this address in a browser.")
