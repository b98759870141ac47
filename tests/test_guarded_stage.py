"""A stage and all that it started end with what runs it, and after its time."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from distill.errors import TrainingError
from distill.processes import dvc_stage
from distill.processes.run_lock import hold, holder_of

GUARDED = """
import sys, time
from distill.live.stop_request import StopRequest, stop_with_owner
stop_with_owner(StopRequest())
print("READY", flush=True)
time.sleep(600)
"""
DVC_YAML = "stages:\n  slow:\n    cmd: {python} {script}\n    outs: [out]\n"


def end_slow_stage(root: Path, on_ready: Callable[[list[psutil.Process]], None], **limits: float) -> None:
    """Run the stage until what `on_ready` does to its processes ends it; none of them is left, whatever it raises."""
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    analytics = false\n")
    (root / "slow.py").write_text(GUARDED)
    (root / "dvc.yaml").write_text(DVC_YAML.format(python=sys.executable, script="slow.py"))
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
