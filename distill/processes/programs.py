"""Programs that are called as commands: where they find this interpreter, and why they failed."""

import os
import sys
from functools import reduce
from pathlib import Path


def own_path() -> str:
    """The PATH with this interpreter's folder first, so that a program finds the `distill` that belongs to it."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def reason_in(output: str, *signs: str) -> str:
    """The line that says why a program failed: the first that begins with one of the signs, without it, else the last.

    >>> reason_in("Cloning ...\\nfatal: no such branch\\n\\n", "fatal: "), reason_in("")
    ('no such branch', 'it gave no reason')
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it gave no reason"]
    return reduce(str.removeprefix, signs, next((line for line in lines if line.startswith(signs)), lines[-1]))
