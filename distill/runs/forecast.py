"""How long a run still takes: what its phases were expected to take, corrected by what they took so far."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
from distill.runs.pace import learn, read_pace
from distill.runs.phase_seconds import LISTENING, MAKE_CODES, effort, first_sounds
from distill.stages.pipeline import STAGES
from distill.stages.planning import planned, sizes_of
from distill.stages.workspace import Workspace
from distill.training.runtime import Runtime, resolve_runtime

# Seconds of observed work that weigh as much as the expectation.
DOUBT_SECONDS = 5.0
INTERVAL_SECONDS = 1.0
# Shorter phases say nothing about the machine.
LEAST_SECONDS = 5.0


@dataclass
class _Phase:
    """What a phase is expected to take in s, the share done before this process and by now, and the time spent."""

    expected: float
    before: float = 0.0
    done: float = 0.0
    spent: float = 0.0
    over: bool = False

    @property
    def here(self) -> float:
        """What was expected of the part that this process did."""
        return self.expected * (self.done - self.before)

    @property
    def rest(self) -> float:
        """What is expected of the part still to do."""
        return 0.0 if self.over else self.expected * (1 - self.done)


class Forecast:
    """The phases of a run and how far they are.

    In a phase that resumes where another process stopped, only what this process does counts for the speed.

    Args:
        expected: the phases in their order, and what each takes, in s.
    """

    def __init__(self, expected: Mapping[str, float]) -> None:
        self._phases = {name: _Phase(seconds) for name, seconds in expected.items()}

    def begin(self, name: str, share: float) -> None:
        """A phase begins, of which a share from 0 to 1 was done before."""
        phase = self._phases[name]
        phase.before = phase.done = share

    def advance(self, name: str, share: float, seconds: float) -> None:
        """A share of a phase is done, after `seconds` s of this process."""
        phase = self._phases[name]
        # A rollback to an earlier step lowers the share.
        phase.before, phase.done, phase.spent = min(phase.before, share), share, seconds

    def finish(self, name: str, seconds: float) -> None:
        """A phase has ended after `seconds` s of this process, perhaps before all of it was done."""
        phase = self._phases[name]
        # A phase without progress reports was done as a whole.
        self.advance(name, phase.done or 1.0, seconds)
        phase.over = True

    def seen(self, name: str) -> float | None:
        """What all of a phase would take at the pace of that part which this process did; None where it did nothing."""
        phase = self._phases[name]
        return phase.spent / (phase.done - phase.before) if phase.done > phase.before else None

    def slowness(self, name: str) -> float:
        """How many times longer than expected a phase takes, by its own pace and by that of the whole run."""
        phases = self._phases.values()
        in_all = _blend(sum(each.spent for each in phases), sum(each.here for each in phases), 1.0)
        return _blend(self._phases[name].spent, self._phases[name].here, in_all)

    def left(self) -> float:
        """Until the end of the run, in s."""
        return sum(phase.rest * self.slowness(name) for name, phase in self._phases.items())

    def until(self, name: str, share: float) -> float:
        """Until a share of a phase is done, in s; 0 behind it."""
        seconds = 0.0
        for each, phase in self._phases.items():
            if each == name:
                part = 0.0 if phase.over else phase.expected * max(0.0, share - phase.done)
                return seconds + part * self.slowness(each)
            seconds += phase.rest * self.slowness(each)
        raise KeyError(name)


def _blend(spent: float, expected: float, otherwise: float) -> float:
    return (spent + DOUBT_SECONDS * otherwise) / (expected + DOUBT_SECONDS)


class Outlook:
    """A listener that sends `Expected` once the run is planned, then once a second.

    What was seen of the machine's speed is noted in the project at the end of each stage.

    Args:
        project: the project folder.
        workspace: the run's folder.
        stages: the stages to run, in order. Without `configure` the ones before have run elsewhere; they count with the
            time that they take here, and no time until the first sounds is sent.
        tell: gets the forecast.
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
        self.last_sent = float("-inf")

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
        if self.forecast is None or not (at_once or now - self.last_sent >= INTERVAL_SECONDS):
            return
        self.last_sent = now
        left = self.forecast.left()
        first = None
        if self.first[0] in self.effort:
            until = self.forecast.until(*self.first)
            first = until + LISTENING if until > 0 else 0.0
        self.tell(Expected(stage, left=left, total=self.before + now - self.begun + left, first=first))


def _place(phase: str) -> int:
    """The place of a phase's stage among all."""
    return STAGES.index("train_prior" if phase == MAKE_CODES else phase)
