"""A process that works on shards for another one: `python -m distill.workers.child` reads them from its standard input.

It ends when that is closed, so that it does not outlive a killed parent.
"""

import os
import pickle
import signal
import sys
from contextlib import suppress
from typing import Any


def main() -> None:
    """Answer each shard by its results, or by what went wrong."""
    # Ctrl-C and the end of the terminal reach all its processes; who asked for the work decides.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What a library prints is no answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = sys.stdin.buffer
    work: Any = None
    common: Any = None
    with suppress(EOFError, BrokenPipeError):
        while True:
            asked = pickle.load(requests)  # noqa: S301, from the process that started this one
            if isinstance(asked, tuple):
                work, common = asked
                continue
            pickle.dump(_answer(work, common, asked), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()


def _answer(work: Any, common: Any, shard: list[Any]) -> Any:
    try:
        return [work(common, item) for item in shard]
    except Exception as error:  # noqa: BLE001, it is raised where the work was asked for
        try:
            pickle.dumps(error)
        except Exception:  # noqa: BLE001, an error that cannot be sent is sent in words
            return RuntimeError(f"{type(error).__name__}: {error}")
        return error


if __name__ == "__main__":
    main()
