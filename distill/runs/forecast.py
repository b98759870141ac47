"""How long a run still takes: what its phases were expected to take, corrected by what they took so far."""

from collections.abc import Mapping
from dataclasses import dataclass

# So many seconds of work have to be seen before they count as much as what was expected.
DOUBT_SECONDS = 5.0


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
        """What is expected of the part that nobody did."""
        return 0.0 if self.over else self.expected * (1 - self.done)


class Forecast:
    """The phases of a run and how far they are.

    A phase that goes on from where another process stopped tells of the machine's speed only by what is done here.

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
        """A share of a phase is done, by this process after so many s."""
        phase = self._phases[name]
        # Whoever takes a training back to an earlier step takes its share back.
        phase.before, phase.done, phase.spent = min(phase.before, share), share, seconds

    def finish(self, name: str, seconds: float) -> None:
        """A phase has ended after so many s of this process, perhaps before all of it was done."""
        phase = self._phases[name]
        # One that does not tell how far it is was done whole.
        self.advance(name, phase.done or 1.0, seconds)
        phase.over = True

    def seen(self, name: str) -> float | None:
        """What all of a phase would take at the pace of that part which this process did; None where it did nothing."""
        phase = self._phases[name]
        return phase.spent / (phase.done - phase.before) if phase.done > phase.before else None

    def slowness(self, name: str) -> float:
        """How many times longer than expected a phase takes, by its own pace and by that of the whole run."""
        phases = self._phases.values()
        in_all = _blended(sum(each.spent for each in phases), sum(each.here for each in phases), 1.0)
        return _blended(self._phases[name].spent, self._phases[name].here, in_all)

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


def _blended(spent: float, expected: float, otherwise: float) -> float:
    return (spent + DOUBT_SECONDS * otherwise) / (expected + DOUBT_SECONDS)
