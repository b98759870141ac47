"""Programs that are called as commands: where they find this interpreter, and why they failed."""

import os
import sys
from functools import reduce
from pathlib import Path

# This interpreter as a command; a user's file in the working folder may be named like a module of Python's own.
PYTHON = (sys.executable, "-P")


def own_path() -> str:
    """The PATH with this interpreter's folder first, so that a program finds the `distill` that belongs to it."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def reason_in(output: str, *signs: str) -> str:
    """The line that says why a program failed: the first that begins with one of the signs, without it, else the last.

    What ends in a colon goes on in the next line.

    >>> reason_in("Cloning ...\\nfatal: no such branch\\n\\n", "fatal: "), reason_in("")
    ('no such branch', 'it gave no reason')
    >>> reason_in("ERROR: data is busy, blocked by:\\n  (PID 7): dvc repro\\n", "ERROR: ")
    'data is busy, blocked by: (PID 7): dvc repro'
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it gave no reason"]
    first = next((number for number, line in enumerate(lines) if line.startswith(signs)), len(lines) - 1)
    reason = reduce(str.removeprefix, signs, lines[first])
    return " ".join([reason, *lines[first + 1 : first + 2]]) if reason.endswith(":") else reason
