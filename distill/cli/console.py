"""Where the command writes: results on stdout, everything else on stderr."""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors and the result.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show more of what happens.")]

# Where nobody looks at the width of a window, lines are not broken at 80 columns.
PLAIN_WIDTH = 160

stderr = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PLAIN_WIDTH)


def stdout_console() -> Console:
    """A console for tables on stdout."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def set_up_logging(*, quiet: bool, verbose: bool) -> None:
    """One logger tree, on stderr."""
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    logger = logging.getLogger("distill")
    logger.handlers = [RichHandler(console=stderr, show_time=False, show_path=False, show_level=verbose)]
    logger.setLevel(level)
    logger.propagate = False
    stderr.quiet = quiet


def print_result(lines: list[str], values: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result on stdout, as JSON or as plain lines."""
    if as_json:
        sys.stdout.write(json.dumps(values, ensure_ascii=False, allow_nan=False, indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def health_table(health: Mapping[str, Mapping[str, Any]], *, title: str | None = None) -> Table:
    """Codebook health with one row a level."""
    table = Table(title=title, title_justify="left")
    for column in ("level", "utilization", "perplexity", "dead codes"):
        table.add_column(column, justify="left" if column == "level" else "right")
    for name, level in health.items():
        table.add_row(
            name.replace("_", " "),
            "?" if level["utilization"] is None else f"{level['utilization']:.0%}",
            "?" if level["perplexity"] is None else f"{level['perplexity']:.1f}",
            str(level["dead_codes"]),
        )
    return table
