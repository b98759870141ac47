"""Trainings in processes of their own, which go on when whoever started them is gone and are found again."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from distill.errors import DataError, DistillError, TrainingError
from distill.files import read_json, storage_errors, write_json
from distill.live.folder import RunFolder
from distill.live.journal import TRAININGS
from distill.live.status import read_status
from distill.locks import is_held, taken_within
from distill.params import Params, with_settings
from distill.projects.workspaces import RUNS
from distill.stages.local import workspace_for
from distill.stages.pipeline import STAGES

SCHEMA = 1
POLL_SECONDS = 0.05
# Somebody who looks whether a training runs holds the lock for a moment.
LOCK_SECONDS = 1.0
LOG_BYTES = 20_000


@dataclass(frozen=True)
class Order:
    """What a training was started with.

    Attributes:
        source: folder of sounds, absolute.
        settings: `section.key=value`, as for `distill train --set`.
        name: of the model; None: made of the folder and the time.
        until: the last stage to run; None: all.
    """

    source: str
    settings: tuple[str, ...] = ()
    name: str | None = None
    until: str | None = None


@dataclass(frozen=True)
class Progress:
    """Where the training of a workspace stands as a whole.

    Attributes:
        run: the workspace's name.
        state: `running`, `paused`, `finished` or `stopped`.
        stage: the stage that runs, or ran last; None before the first.
        stages: (name, `waiting`, `running` or `finished`) of each stage that is to run.
        reason: why it stopped, in one line; empty otherwise.
        order: what it was started with; None where it was started elsewhere.
    """

    run: str
    state: str
    stage: str | None
    stages: tuple[tuple[str, str], ...]
    reason: str
    order: Order | None


def start(project: Path, order: Order) -> Path:
    """Start a training of a project's sounds in the background, or go on with the one that has the same order.

    Returns:
        Its workspace.

    Raises:
        UsageError: a setting is wrong.
        DataError: there is no such folder.
        TrainingError: it runs already.
        StorageError: the workspace cannot be written.
    """
    params = with_settings(Params(), order.settings)
    root = project / workspace_for(Path(order.source), params)
    _launch(project, root, order)
    return root


def go_on(project: Path, root: Path, *, until: str | None = None) -> None:
    """Go on with the training of a workspace that was stopped, up to another last stage.

    Raises:
        TrainingError: it runs already.
        DataError: it was not started by `start`, so nobody knows with what.
    """
    order = read_order(root)
    if order is None:
        raise DataError(f"{root.name} was started elsewhere: give the same command there again")
    _launch(project, root, Order(order.source, order.settings, order.name, until))


def stop(root: Path) -> None:
    """Ask the training of a workspace to save its state and end.

    Raises:
        TrainingError: nothing runs there.
    """
    folder = _running_training(root)
    if folder is not None:
        # Asking twice does no harm; a second signal would end it before its state is saved.
        folder.ask("stop", {}, who="page", timeout=60.0)
        return
    pid = _pid(root)
    if pid is None:
        raise TrainingError(f"nothing runs in {root.name}")
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def alive(root: Path) -> bool:
    """Whether a training runs in a workspace, wherever it was started."""
    return is_held(_lock_file(root)) or _running_training(root) is not None


def read_order(root: Path) -> Order | None:
    """What the training of a workspace was started with; None where it was started elsewhere.

    Raises:
        ArtifactError: the note about it is damaged or of a newer schema.
    """
    if not _note_file(root).is_file():
        return None
    values = read_json(_note_file(root), what="note about a training", schema=SCHEMA)["order"]
    return Order(**{**values, "settings": tuple(values["settings"])})


def progress_of(root: Path) -> Progress:
    """Where the training of a workspace stands as a whole."""
    with suppress(DistillError):
        return _progress(root, read_order(root))
    return _progress(root, None)


def workspaces(project: Path) -> list[Path]:
    """The workspaces in which something was trained, by their names; the project itself comes first, if it is one."""
    found = [project, *sorted((project / RUNS).glob("*/"))]
    return [root for root in found if _note_file(root).is_file() or (root / ".distill" / "live").is_dir()]


def workspace_named(project: Path, name: str) -> Path:
    """The workspace of that name; nothing but a known name leads to a folder.

    Raises:
        DataError: there is none.
    """
    found = {root.name: root for root in workspaces(project)}
    if name not in found:
        raise DataError(f"there is no training {name!r}; there are: {', '.join(found) or 'none'}")
    return found[name]


def default_workspace(project: Path) -> Path:
    """The workspace whose training runs, else the last by name.

    Raises:
        DataError: nothing was trained here.
    """
    found = workspaces(project)
    if not found:
        raise DataError("nothing was trained here so far")
    return next((root for root in found if alive(root)), found[-1])


def _progress(root: Path, order: Order | None) -> Progress:
    running = alive(root)
    until = order.until if order else None
    planned = STAGES[: STAGES.index(until) + 1] if until in STAGES else STAGES
    pid = _pid(root)
    statuses = {name: read_status(root, name) for name in planned}
    # While it runs, what an earlier process said of a stage no longer counts.
    current = {
        name: status["state"]
        for name, status in statuses.items()
        if status is not None and (pid is None or status["pid"] == pid)
    }
    at = next(reversed(current), None)
    states = [(name, "finished" if name in current else "waiting") for name in planned]
    if at is not None and current[at] != "finished":
        states[planned.index(at)] = (at, "running" if running else "waiting")
    if running:
        state = "paused" if at is not None and current[at] == "paused" else "running"
        return Progress(root.name, state, at, tuple(states), "", order)
    if at == planned[-1] and current[at] == "finished":
        return Progress(root.name, "finished", at, tuple(states), "", order)
    return Progress(root.name, "stopped", at, tuple(states), _last_words(root), order)


def _launch(project: Path, root: Path, order: Order) -> None:
    with storage_errors(root, "write into"):
        _lock_file(root).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_lock_file(root), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not taken_within(descriptor, LOCK_SECONDS):
            raise TrainingError(f"{root.name} runs already")
        if _running_training(root) is not None:
            raise TrainingError(f"{root.name} runs already, started elsewhere")
        write_json(_note_file(root), {"schema": SCHEMA, "order": asdict(order)})
        os.ftruncate(descriptor, 0)
        # The training inherits the lock, and with it what shows that it is alive; the system frees it when it dies.
        with storage_errors(_log_file(root), "write"), _log_file(root).open("wb") as log:
            process = subprocess.Popen(
                _command(order),
                cwd=project,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                pass_fds=(descriptor,),
            )
        os.pwrite(descriptor, str(process.pid).encode(), 0)
    finally:
        os.close(descriptor)
    # Somebody has to wait for it, or it would stay as a zombie when it ends.
    threading.Thread(target=process.wait, name=f"wait-{root.name}", daemon=True).start()


def _command(order: Order) -> list[str]:
    command = [sys.executable, "-m", "distill", "train", order.source, "--quiet"]
    command += [f"--model-name={order.name}"] if order.name else []
    command += [f"--until={order.until}"] if order.until else []
    return [*command, *(f"--set={setting}" for setting in order.settings)]


def _running_training(root: Path) -> RunFolder | None:
    return next((folder for name in TRAININGS if (folder := RunFolder(root, name)).running()), None)


def _pid(root: Path) -> int | None:
    """The process that holds the lock; None when nobody does."""
    while is_held(_lock_file(root)):
        # It is written a moment after the process has begun.
        text = _lock_file(root).read_text(encoding="ascii")
        if text:
            return int(text)
        time.sleep(POLL_SECONDS)
    return None


def _last_words(root: Path) -> str:
    """The complaint with which a training ended."""
    path = _log_file(root)
    if not path.is_file():
        return ""
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - LOG_BYTES))
        lines = handle.read().decode(errors="replace").splitlines()
    said = [line.removeprefix("distill: ") for line in lines if line.startswith("distill: ")]
    return said[-1] if said else ""


def _note_file(root: Path) -> Path:
    return root / ".distill" / "training.json"


def _lock_file(root: Path) -> Path:
    return root / ".distill" / "training.lock"


def _log_file(root: Path) -> Path:
    return root / ".distill" / "training.log"
