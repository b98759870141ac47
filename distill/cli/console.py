"""Where the command writes: results on stdout, everything else on stderr."""

import gc
import json
import logging
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

from distill.errors import UsageError
from distill.live.stop_request import ending_signals
from distill.words import visible

Project = Annotated[
    Path | None,
    typer.Option(
        "--project",
        envvar="DISTILL_PROJECT",
        help="Project folder (default: the project around this folder, or else your user folder).",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only errors and the result.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show more details.")]

# Without a terminal, lines are not broken at 80 columns.
PLAIN_WIDTH = 160
# Columns of a terminal that has room for all figures of a table beside names.
WIDE = 100
# A column of a list: broken where need be, never broken, or only there where there is room for it.
Fit = Literal["broken", "whole", "wide"]


def answer(ask: Callable[[], Any], otherwise: str) -> Any:
    """What somebody answers to a question of Typer's.

    Raises:
        UsageError: nobody answers, with the message `otherwise`.
        KeyboardInterrupt: Ctrl-C in place of an answer.
    """
    try:
        return ask()
    except typer.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise UsageError(otherwise) from None


class _Terminal(Console):
    """A console that shows texts as they are, names of files above all: no markup, no emoji codes, nothing hidden."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = visible(record.message)
        return super().formatMessage(record)


def _width(stream: TextIO | None) -> int | None:
    """That of a terminal, which rich finds out: None."""
    return None if stream is not None and stream.isatty() else PLAIN_WIDTH


stderr = _Terminal(stderr=True, width=_width(sys.stderr))


def stdout_console() -> Console:
    """A console for tables on stdout."""
    return _Terminal(width=_width(sys.stdout))


def print_list(columns: Mapping[str, Fit], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table on stdout with all of each cell; where there is no room for its `wide` columns, without them."""
    stdout, table = stdout_console(), Table()
    shown = [fit != "wide" or stdout.width >= WIDE for fit in columns.values()]
    for name, fit in compress(columns.items(), shown):
        table.add_column(name, overflow="fold", no_wrap=fit == "whole")
    for row in rows:
        cells = ("" if cell is None else cell if isinstance(cell, Text) else str(cell) for cell in row)
        table.add_row(*compress(cells, shown))
    stdout.print(table)


def lines_of(lines: list[str]) -> Text:
    """Several lines in one cell of a table."""
    return Text("\n".join(map(visible, lines)))


def remark(title: str, message: str) -> None:
    """A remark on stderr behind a coloured title."""
    stderr.print(Text.assemble((f"{title}:", "yellow"), f" {visible(message)}"))


def set_up_logging(*, quiet: bool, verbose: bool) -> None:
    """One logger tree, on stderr."""
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    logger = logging.getLogger("distill")
    handler = RichHandler(console=stderr, show_time=False, show_path=False, show_level=verbose)
    handler.setFormatter(_Formatter())
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
    # Where a home cannot be written, it says so in lines of its own, and goes on.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    stderr.quiet = quiet


def interrupt_on_signals() -> None:
    """Let SIGTERM, and the end of the terminal, end this process as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in ending_signals():
        signal.signal(number, interrupt)


@contextmanager
def loading() -> Iterator[None]:
    """Load modules. What they make stays: to search it for rubbish now and at the end takes a fifth of a short call."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def print_result(lines: list[str], values: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result on stdout, as JSON or as plain lines; programs get every name as it is, people see it whole."""
    shown = visible if sys.stdout.isatty() else str
    if as_json:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False, indent=2)
        if sys.stdout.isatty() and visible(text.replace("\n", "")) != text.replace("\n", ""):
            text = json.dumps(values, allow_nan=False, indent=2)
        sys.stdout.write(text + "\n")
    else:
        sys.stdout.write("".join(f"{shown(line)}\n" for line in lines))
    sys.stdout.flush()


def plain_levels(text: str) -> str:
    """A text in which levels are called as people read them.

    >>> plain_levels("level_1: only 20% of the codes are used")
    'level 1: only 20% of the codes are used'
    """
    return re.sub(r"\blevel_(?=\d)", "level ", text)


def health_table(health: Mapping[str, Mapping[str, Any]], *, title: str | None = None) -> Table:
    """Codebook health with one row a level."""
    table = Table(title=title, title_justify="left")
    for column in ("level", "utilization", "perplexity", "dead codes"):
        table.add_column(column, justify="left" if column == "level" else "right")
    for name, level in health.items():
        table.add_row(
            plain_levels(name),
            "?" if level["utilization"] is None else f"{level['utilization']:.0%}",
            "?" if level["perplexity"] is None else f"{level['perplexity']:.1f}",
            str(level["dead_codes"]),
        )
    return table
