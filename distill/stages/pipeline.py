"""The stages in their order, and running one by its name."""

import importlib
import time
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
