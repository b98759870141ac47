"""Tells while a run goes on how long it still takes as a whole, and when its first sounds can be heard."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from distill.errors import StorageError
from distill.live.events import (
    Event,
    Expected,
    Listener,
    Progress,
    RolledBack,
    StageFinished,
    StepDone,
    TrainingStarted,
)
from distill.runs.forecast import Forecast
from distill.runs.pace import learn, read_pace
from distill.runs.phase_seconds import LISTENING, MAKE_CODES, effort, first_sounds
from distill.stages.pipeline import STAGES
from distill.stages.planning import planned, sizes_of
from distill.stages.workspace import Workspace
from distill.training.runtime import Runtime, resolve_runtime

INTERVAL_SECONDS = 1.0
# Of less work nothing is learned about the machine.
LEAST_SECONDS = 5.0


class Outlook:
    """A listener that sends `Expected` once the run is planned, then once a second.

    What was seen of the machine's speed is noted in the project at the end of each stage.

    Args:
        project: the project folder.
        workspace: the run's folder.
        stages: what is to run, in order. Without `configure` others have done what comes before; it counts as what it
            takes here, and nobody waits for the first sounds.
        tell: gets what is expected.
        now: the time in s.
        worked: seconds of processors that this process has had.
    """

    def __init__(
        self,
        project: Path,
        workspace: Workspace,
        stages: Sequence[str],
        tell: Listener,
        now: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] = time.process_time,
    ) -> None:
        self.project, self.workspace, self.stages, self.tell = project, workspace, stages, tell
        self.now, self.worked = now, worked
        self.begun = now()
        self._begin()
        self.forecast: Forecast | None = None
        self.runtime: Runtime | None = None
        self.effort: dict[str, float] = {}
        self.whole = "configure" in stages
        self.before = 0.0
        self.phase, self.share, self.total_steps = "", 0.0, 1
        self.first: tuple[str, float] = ("", 0.0)
        self.told = float("-inf")

    def __call__(self, event: Event) -> None:
        if not self.whole and self.forecast is None:
            self._plan()
        match event:
            case StageFinished():
                self._finish(event)
            case TrainingStarted():
                self._train(event)
            case StepDone():
                self._advance(event.stage, event.step / self.total_steps)
            case RolledBack():
                self._advance(event.stage, event.to / self.total_steps)
            case Progress():
                phase = MAKE_CODES if event.stage == "train_prior" else event.stage
                self._advance(phase, event.done / max(1, event.total))

    def _finish(self, event: StageFinished) -> None:
        if event.stage == "configure":
            self._plan()
        elif self.forecast is not None and event.stage in self.effort:
            self._end(event.stage)
        self._begin()
        self._say(event.stage, at_once=True)

    def _begin(self) -> None:
        self.stage_begun, self.worked_before = self.now(), self.worked()

    def _plan(self) -> None:
        from distill.dataset.store import PreparedDataset

        params = self.workspace.params()
        sizes = sizes_of(PreparedDataset(self.workspace.prepared))
        chosen = planned(params, sizes)
        self.runtime = resolve_runtime(params.run)
        every = effort(params, sizes, chosen)
        self.effort = {phase: seconds for phase, seconds in every.items() if self._comes(phase)}
        expected = read_pace(self.project, self.runtime).expected(every)
        self.forecast = Forecast({phase: expected[phase] for phase in self.effort})
        if self.whole:
            self.first = first_sounds(chosen)
        else:
            self.before = sum(
                seconds for phase, seconds in expected.items() if _place(phase) < STAGES.index(self.stages[0])
            )

    def _comes(self, phase: str) -> bool:
        behind = self.stages[self.stages.index("configure") + 1 :] if self.whole else self.stages
        return STAGES[_place(phase)] in behind

    def _train(self, event: TrainingStarted) -> None:
        if self.forecast is None or event.stage not in self.effort:
            return
        if event.stage == "train_prior":
            self._end(MAKE_CODES)
            self._begin()
        self.total_steps = max(1, event.total_steps)
        self.share = event.step / self.total_steps
        self.forecast.begin(event.stage, self.share)
        self._say(event.stage, at_once=True)

    def _advance(self, phase: str, share: float) -> None:
        if self.forecast is not None and phase in self.effort:
            self.forecast.advance(phase, share, self.now() - self.stage_begun)
            self._say("train_prior" if phase == MAKE_CODES else phase)

    def _end(self, phase: str) -> None:
        assert self.forecast is not None
        assert self.runtime is not None
        spent = self.now() - self.stage_begun
        self.forecast.finish(phase, spent)
        seen = self.forecast.seen(phase)
        if seen is not None and self.effort[phase] >= LEAST_SECONDS:
            # On a full disk the next run only knows less.
            with suppress(StorageError):
                processors = (self.worked() - self.worked_before) / max(spent, 1e-9)
                learn(self.project, self.runtime, {phase: seen / self.effort[phase]}, {phase: processors})

    def _say(self, stage: str, *, at_once: bool = False) -> None:
        now = self.now()
        if self.forecast is None or not (at_once or now - self.told >= INTERVAL_SECONDS):
            return
        self.told = now
        left = self.forecast.left()
        first = None
        if self.first[0] in self.effort:
            until = self.forecast.until(*self.first)
            first = until + LISTENING if until > 0 else 0.0
        self.tell(Expected(stage, left=left, total=self.before + now - self.begun + left, first=first))


def _place(phase: str) -> int:
    """The place of a phase's stage among all."""
    return STAGES.index("train_prior" if phase == MAKE_CODES else phase)
