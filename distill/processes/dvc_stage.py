"""Running one stage through DVC in a process group that ends when its owner does."""

import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from distill.errors import DataError, DistillError, Interrupted, StorageError, TrainingError
from distill.files import storage_errors
from distill.locks import close, require_open
from distill.processes.guard import ASKED, KILLED, release
from distill.processes.run_lock import RunLock
from distill.programs import PYTHON, own_path

POLL_SECONDS = 0.5
# How long a killed guard's processes may take to end.
LEFT_SECONDS = 10.0
_EXITED = re.compile(r"exited with (-?\d+)")
# What an orderly failing stage exits with; anything else is a crash.
_ORDERLY = {1, 2, 3}
_INTERRUPTED = 3
# What a guard ends with that was asked to stop, also before it can hear that.
_ASKED = {ASKED, -signal.SIGTERM, -signal.SIGINT, -getattr(signal, "SIGHUP", signal.SIGTERM)}
# What DVC says where another one works in the same folder.
_IN_USE = re.compile(r"[Uu]nable to acquire lock|is busy, it is being blocked")

_running: set["subprocess.Popen[str]"] = set()


class StageCrashed(DistillError):
    """A stage that died without saying why (killed, out of memory), or that found DVC busy: trying again may help."""


def repro(
    root: Path,
    stage: str,
    *,
    environment: dict[str, str],
    on_line: Callable[[str], None],
    on_wait: Callable[[], None],
    lock: RunLock | None = None,
    limit_seconds: float | None = None,
    pull: bool = False,
) -> bool:
    """Bring one stage of a workspace up to date by `dvc repro`; whether it ran, rather than came from the cache.

    Whatever interrupts the caller, or kills its process, ends the stage too.

    Args:
        root: the workspace, a DVC project.
        stage: its name in dvc.yaml.
        environment: variables for the stage, besides those of this process.
        on_line: gets each line that DVC and the stage print.
        on_wait: called about twice a second meanwhile.
        lock: that of the run, held until the stage has ended, even when the caller is killed before.
        limit_seconds: how long it may take.
        pull: whether a result may also come from the workspace's remote.

    Raises:
        StageCrashed: it died, or DVC was busy.
        TrainingError: it took longer than it may.
        Interrupted: it was asked to stop, or this process starts no more stages.
        DistillError: the stage's own complaint.
    """
    require_open()
    note = root / ".dvc" / "tmp" / "rwlock"
    if lock is not None and not in_use(note):
        # DVC would take another process that has the number of a killed one by now for its owner.
        with storage_errors(note, "remove"):
            note.unlink(missing_ok=True)
    process = _start(root, stage, environment, lock, pull=pull)
    lines: list[str] = []
    try:
        for line in _lines_of(process, stage, on_wait, limit_seconds):
            lines.append(line)
            on_line(line)
        code = process.wait()
    finally:
        _stop(process)
        if lock is not None:
            lock.note(stops=None)
    if code in _ASKED:
        raise _when_asked(stage, lines)
    if code < 0 or code == KILLED:
        raise StageCrashed(f"{stage} was ended: {'DVC' if code == KILLED else 'the process that guards it'} was killed")
    if code:
        raise _failure(stage, lines)
    return any(line.startswith(f"Running stage '{stage}'") for line in lines)


def stop_running() -> None:
    """End every stage that this process runs, whichever thread waits for it; `distill.locks.reopen` allows new ones."""
    close()
    for process in list(_running):
        _stop(process)


def _start(
    root: Path, stage: str, environment: dict[str, str], lock: RunLock | None, *, pull: bool
) -> "subprocess.Popen[str]":
    command = [*PYTHON, "-m", "dvc", "--cd", str(root), "repro", "--single-item", *(["--pull"] if pull else [])]
    process = subprocess.Popen(
        [*PYTHON, "-m", "distill.processes.guard", *command, stage],
        env={**os.environ, **environment, "PATH": own_path(), **(lock.environment if lock else {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # A signal to the caller's process group must not reach the guard, which cleans up after it.
        start_new_session=True,
        pass_fds=() if lock is None else (lock.descriptor,),
    )
    _running.add(process)
    return process


def _lines_of(
    process: "subprocess.Popen[str]", stage: str, on_wait: Callable[[], None], limit_seconds: float | None
) -> Iterator[str]:
    """What a process prints, until it has ended; a killed guard's processes may keep its output open for a while."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=read, name=f"read-{stage}", daemon=True).start()
    # In the moment of the start others may have been stopped.
    require_open()
    begun, left = time.monotonic(), 0.0
    while True:
        if limit_seconds is not None and time.monotonic() - begun > limit_seconds:
            raise TrainingError(
                f"{stage} took longer than {limit_seconds:g} s and was stopped; start the same run to resume it"
            )
        try:
            line = lines.get(timeout=POLL_SECONDS)
        except queue.Empty:
            if process.poll() is not None and (left := left or time.monotonic() + LEFT_SECONDS) < time.monotonic():
                return
            on_wait()
            continue
        if line is None:
            return
        if line:
            yield line


def _stop(process: "subprocess.Popen[str]") -> None:
    release(process)
    _running.discard(process)


def in_use(note: Path) -> bool:
    """Whether a living process is in DVC's note of who reads and writes what; one that is younger than it is not."""
    try:
        noted, values = note.stat().st_mtime, json.loads(note.read_bytes())
        readers = [each for many in values.get("read", {}).values() for each in many]
        pids = {int(each["pid"]) for each in (*values.get("write", {}).values(), *readers)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False
    for pid in pids:
        with suppress(psutil.Error):
            if psutil.Process(pid).create_time() <= noted:
                return True
    return False


def _when_asked(stage: str, lines: list[str]) -> DistillError:
    """What came of a stage that was asked to stop: its own complaint, or that it was interrupted; never a crash."""
    own = _own_words(lines)
    if own is None:
        return Interrupted(f"{stage} was stopped before it could say that its state is saved")
    failure = _failure(stage, lines)
    return Interrupted(own) if isinstance(failure, StageCrashed) else failure


def _own_words(lines: list[str]) -> str | None:
    return next((line.removeprefix("distill: ") for line in reversed(lines) if line.startswith("distill: ")), None)


def _failure(stage: str, lines: list[str]) -> DistillError:
    own = _own_words(lines)
    error = next((line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")), None)
    match = next(filter(None, map(_EXITED.search, lines)), None)
    code = int(match[1]) if match else None
    if own is not None and code is None:
        # DVC ended at the same request to stop and could not say what its stage ended with.
        return Interrupted(own)
    if own is not None and code in _ORDERLY:
        return Interrupted(own) if code == _INTERRUPTED else DistillError(own)
    if error and "missing data" in error.lower():
        return DataError(f"{stage}: {error}")
    if error and _IN_USE.search(error):
        return StageCrashed(f"{stage}: another DVC works in this workspace: {error}")
    if code is not None:
        return StageCrashed(f"{stage} ended with exit code {code} and said nothing; out of memory?")
    return StorageError(f"dvc failed at {stage}: {error or (lines[-1] if lines else 'it gave no reason')}")
