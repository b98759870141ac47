"""The entry point: commands, errors as one line, exit codes."""

import errno
import logging
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import typer

from distill import __version__
from distill.cli import (
    check,
    codes,
    dataset,
    encode,
    flows,
    generate,
    kit,
    model,
    new,
    reproduce,
    run,
    signing,
    stage,
    start,
    tracking,
    train,
    ui,
    variations,
)
from distill.cli.console import interrupt_on_signals
from distill.errors import EXIT_FAILURE, EXIT_INTERRUPTED, DistillError, UsageError
from distill.live.stop_request import remember_parent
from distill.words import visible

# The tools underneath report home by default.
QUIET_TOOLS = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

# Of a text that cannot be encoded so many characters are shown on each side of the fault.
_MOST_AROUND = 100
# Typer's code for a KeyboardInterrupt.
_TYPER_INTERRUPTED = 130

EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 interrupted (the same command resumes a training)."

app = typer.Typer(
    name="distill",
    help="Train a generative audio model on your own sounds, and make new sounds from it.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# What most people need comes first, in the order in which they need it.
MORE, TOOLS = "More about models and sounds", "For engineers"
app.command("start")(start.start)
app.command("new")(new.new)
app.add_typer(dataset.app, name="dataset")
app.command("train")(train.train)
app.command("generate")(generate.generate)
app.command("ui")(ui.ui)
app.add_typer(model.app, name="model")
model.app.command("sign")(signing.sign)
model.app.command("verify")(signing.verify)
model.app.command("keygen")(signing.keygen)
app.command("check", rich_help_panel=MORE)(check.check)
app.command("vary", rich_help_panel=MORE)(variations.vary)
app.command("morph", rich_help_panel=MORE)(variations.morph)
app.command("kit", rich_help_panel=MORE)(kit.kit)
app.command("find", rich_help_panel=MORE)(variations.find)
app.command("encode", rich_help_panel=MORE)(encode.encode)
app.command("decode", rich_help_panel=MORE)(encode.decode)
app.add_typer(codes.app, name="codes", rich_help_panel=MORE)
app.command("train-prior", rich_help_panel=MORE)(train.train_prior)
app.add_typer(run.app, name="run", rich_help_panel=MORE)
app.command("reproduce", rich_help_panel=TOOLS)(reproduce.reproduce)
app.command("stage", rich_help_panel=TOOLS)(stage.stage)
app.command("sweep", rich_help_panel=TOOLS)(flows.sweep)
app.command("serve-flows", rich_help_panel=TOOLS)(flows.serve_flows)
app.add_typer(tracking.app, name="tracking", rich_help_panel=TOOLS)


def _version(show: bool) -> None:
    if show:
        sys.stdout.write(f"distill {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Run the command; what goes wrong becomes one line on stderr and an exit code."""
    remember_parent()
    for name, value in QUIET_TOOLS.items():
        os.environ.setdefault(name, value)
    # Closed by whoever started this; what is printed goes nowhere.
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: PTH123, SIM115
    # What saves its state has handlers of its own.
    interrupt_on_signals()
    try:
        _require_values(["distill", *sys.argv[1:]])
        app()
    except SystemExit as end:
        if end.code == _TYPER_INTERRUPTED:
            _fail("interrupted", EXIT_INTERRUPTED)
        raise
    except DistillError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader has closed the pipe; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILURE)
    except MemoryError:
        _fail(
            "out of memory: use fewer or shorter sounds, or a smaller batch size (--set vqvae.batch_size=8)",
            EXIT_FAILURE,
        )
    except Exception as error:
        logging.getLogger("distill").debug("unexpected error", exc_info=error)
        _fail(_in_words(error), EXIT_FAILURE)


def _require_values(words: Sequence[str]) -> None:
    """Refuse an empty word, as a shell makes it of a variable that is not set: as a path it would mean this folder.

    Raises:
        UsageError: there is one.
    """
    for before, word in pairwise(words):
        if not word or re.fullmatch(r"--[a-z-]+=", word):
            raise UsageError(f"{word or f'what follows {before}'} is empty (a variable that is not set?)")


def _in_words(error: Exception) -> str:
    match error:
        case UnicodeEncodeError(reason="surrogates not allowed"):
            around = error.object[max(0, error.start - _MOST_AROUND) : error.end + _MOST_AROUND]
            return f"{around!r} holds bytes that are no UTF-8: rename the file or folder"
        case OSError(errno=errno.ENOSPC, filename=None):
            return f"the output cannot be written: {error.strerror}"
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())} (-v shows where; please report it)"


def _fail(message: str, code: int) -> None:
    # A terminal that has gone takes nothing, and the code counts all the same.
    with suppress(OSError):
        sys.stderr.write(f"distill: {visible(message)}\n")
    sys.exit(code)
