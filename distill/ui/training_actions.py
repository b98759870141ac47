"""What can be done with a run now: which buttons and commands would do something."""

from pathlib import Path
from typing import Literal

from distill.runs.folder import is_run
from distill.runs.progress import progress_of, running_training
from distill.stages.pipeline import STAGES

# Who asks a training, in its journal.
WHO = "page"

Act = Literal["pause", "resume", "stop", "complete", "steer", "remove"]


def acts_of(root: Path) -> frozenset[Act]:
    """What can be done with a run where it stands.

    `pause` and `steer` need a training that answers; `resume` goes on with a paused one, or with a run that stopped and
    that the page can start again; `stop` ends whatever runs; `complete` runs the stages that were left out; `remove`
    needs a run's own folder, in which nobody works.
    """
    progress = progress_of(root)
    if progress.state == "paused":
        return frozenset(("resume", "stop", "steer"))
    if progress.state == "running":
        return frozenset(("stop", "pause", "steer")) if running_training(root) else frozenset(("stop",))
    order = progress.order
    found: set[Act] = {"remove"} if is_run(root) else set()
    if order is None or not order.again:
        return frozenset(found)
    if progress.state != "finished":
        found.add("resume")
    if order.until in STAGES[:-1]:
        found.add("complete")
    return frozenset(found)
