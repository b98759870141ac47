"""A stage and all that it started end with what runs it, and after its time."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from distill.errors import DistillError, Interrupted, TrainingError
from distill.locks import close, reopen
from distill.processes import dvc_stage
from distill.processes.run_lock import RunLock, hold, holder_of
from distill.runs.stopping import stop
from page_util import wait

GUARDED = """
import sys, time
from distill.live.stop_request import StopRequest, stop_with_owner
stop_with_owner(StopRequest())
print("READY", flush=True)
time.sleep(600)
"""
QUICK = "from pathlib import Path\nPath('out').touch()\n"
DVC_YAML = "stages:\n  slow:\n    cmd: {python} {script}\n    outs: [out]\n"


def make_project(root: Path, script: str) -> None:
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    analytics = false\n")
    (root / "slow.py").write_text(script)
    (root / "dvc.yaml").write_text(DVC_YAML.format(python=sys.executable, script="slow.py"))


def bring_up_to_date(root: Path, lock: RunLock) -> bool:
    return dvc_stage.repro(root, "slow", environment={}, on_line=lambda _: None, on_wait=lambda: None, lock=lock)


def end_slow_stage(root: Path, on_ready: Callable[[list[psutil.Process]], None], **limits: float) -> None:
    """Run the stage until what `on_ready` does to its processes ends it; none of them is left, whatever it raises."""
    make_project(root, GUARDED)
    before = psutil.Process().children(recursive=True)
    family: list[psutil.Process] = []

    def hear(line: str) -> None:
        if line == "READY":
            family.extend(each for each in psutil.Process().children(recursive=True) if each not in before)
            on_ready(family)

    try:
        with hold(root) as lock:
            dvc_stage.repro(root, "slow", environment={}, on_line=hear, on_wait=lambda: None, lock=lock, **limits)
    finally:
        assert len(family) >= 3
        _, left = psutil.wait_procs(family, timeout=10)
        assert left == []
        assert holder_of(root) is None


@pytest.mark.parametrize("victim", ["distill.processes.guard", "dvc"])
def test_nothing_runs_on_when_guard_or_dvc_is_killed(tmp_path: Path, victim: str) -> None:
    def kill(family: list[psutil.Process]) -> None:
        (chosen, *_) = [each for each in family if each.cmdline()[2:4] == ["-m", victim]]
        chosen.send_signal(signal.SIGKILL)

    with pytest.raises(dvc_stage.StageCrashed, match="killed"):
        end_slow_stage(tmp_path, kill)


def test_nothing_runs_on_when_a_stage_takes_longer_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic
    clock = SimpleNamespace(monotonic=now)
    monkeypatch.setattr(dvc_stage, "time", clock)

    def wait_for_an_hour(_family: list[psutil.Process]) -> None:
        clock.monotonic = lambda: now() + 3601

    with pytest.raises(TrainingError, match="slow took longer than 3600 s and was stopped"):
        end_slow_stage(tmp_path, wait_for_an_hour, limit_seconds=3600.0)


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_a_stop_between_two_stages_interrupts_what_is_just_being_started(tmp_path: Path, seconds: float) -> None:
    make_project(tmp_path, GUARDED)
    with hold(tmp_path, here=False) as lock:

        def ask() -> None:
            wait(lambda: (holder := holder_of(tmp_path)) and holder.stops)
            time.sleep(seconds)
            stop(tmp_path)

        asking = threading.Thread(target=ask)
        asking.start()
        with pytest.raises(Interrupted):
            bring_up_to_date(tmp_path, lock)
        asking.join()
        holder = holder_of(tmp_path)
        assert holder is not None
        assert holder.stops is None


def test_a_stage_that_is_started_while_all_are_stopped_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path, GUARDED)
    started, start = list[int](), dvc_stage._start

    def start_late(*given: Any, **options: Any) -> Any:
        process = start(*given, **options)
        started.append(process.pid)
        close()
        return process

    monkeypatch.setattr(dvc_stage, "_start", start_late)
    try:
        with hold(tmp_path) as lock, pytest.raises(Interrupted):
            bring_up_to_date(tmp_path, lock)
    finally:
        reopen()
    assert not psutil.pid_exists(started[0])


def test_a_note_that_a_killed_dvc_left_stops_nobody(tmp_path: Path) -> None:
    make_project(tmp_path, QUICK)
    left = tmp_path / ".dvc" / "tmp" / "rwlock"
    left.parent.mkdir()
    # The number of a process that is there, and that is younger than the note.
    left.write_text(json.dumps({"write": {str(tmp_path / "out"): {"pid": os.getpid(), "cmd": "dvc repro"}}}))
    with hold(tmp_path) as lock:
        # One that is older is at work.
        with pytest.raises(dvc_stage.StageCrashed, match="another DVC works in this workspace"):
            bring_up_to_date(tmp_path, lock)
        os.utime(left, (0, 0))
        assert bring_up_to_date(tmp_path, lock)
    assert (tmp_path / "out").is_file()


def test_a_complaint_of_a_stage_that_was_asked_to_stop_is_its_own() -> None:
    failed = "ERROR: failed to reproduce 'slow': failed to run: slow, exited with {}"
    complaint = ["distill: cannot write out: no space left"]
    for code, kind in ((1, DistillError), (3, Interrupted), (-9, Interrupted)):
        found = dvc_stage._when_asked("slow", [*complaint, failed.format(code)])
        assert (type(found), str(found)) == (kind, "cannot write out: no space left")
    found = dvc_stage._when_asked("slow", [failed.format(-15)])
    assert isinstance(found, Interrupted)
    assert "before it could say that its state is saved" in str(found)
