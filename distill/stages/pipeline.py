"""Running stages: one by name, or all in their order within this process."""

import importlib
import time
from collections.abc import Sequence
from typing import Any

from distill.errors import UsageError
from distill.live.events import StageFinished
from distill.stages.versions import CODE_VERSIONS
from distill.stages.workspace import Call

STAGES = tuple(CODE_VERSIONS)
# Those that may have several processes.
TRAININGS = ("train_vqvae", "train_prior", "train_vocoder")


def require_stage(name: str) -> None:
    """Make sure that there is a stage of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in STAGES:
        raise UsageError(f"there is no stage {name!r}; stages: {', '.join(STAGES)}")


def run_stage(name: str, call: Call) -> dict[str, Any]:
    """Run one stage; its report.

    Raises:
        UsageError: there is no such stage.
        DistillError: what the stage raises.
    """
    require_stage(name)
    call.stop.check()
    # Late, so that a stage loads only what it needs: the first two need no quantizer, which takes seconds to load.
    stage = importlib.import_module(f"distill.stages.{name}")
    begun = time.monotonic()
    report: dict[str, Any] = stage.run(call)
    call.emit(StageFinished(name, report, time.monotonic() - begun))
    return report


def run_stages(call: Call, names: Sequence[str] = STAGES) -> dict[str, dict[str, Any]]:
    """Run stages one after the other; their reports by name.

    A training that was finished before with the same inputs gives its outputs again at once.
    """
    return {name: run_stage(name, call) for name in names}
