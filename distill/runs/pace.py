"""How fast this machine is: what phases took here, beside what they were expected to take, kept in the project.

Beside other work a phase takes longer, and the next run need not have that work beside it. How many seconds of
processors a phase gets in a second says how much of the machine it had: a quiet one gives the most that was seen.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from distill.errors import DistillError
from distill.files import read_json, write_json
from distill.training.runtime import Runtime

SCHEMA = 1
WHAT = "note about this machine's speed"
# The most of the processors that was seen counts a little less after each run: a machine may have fewer by now.
FADING = 0.95
_MACHINES = TypeAdapter(dict[str, dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]])

_Machines = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Pace:
    """How many times longer than expected each phase takes on a machine; those that are not known are like the others.

    Attributes:
        factors: by phase, above 0.
    """

    factors: dict[str, float]

    def of(self, phase: str) -> float:
        """That of a phase."""
        if phase in self.factors or not self.factors:
            return self.factors.get(phase, 1.0)
        return math.exp(sum(map(math.log, self.factors.values())) / len(self.factors))

    def expected(self, effort: dict[str, float]) -> dict[str, float]:
        """What each phase of an effort takes here, in s."""
        return {phase: seconds * self.of(phase) for phase, seconds in effort.items()}


def read_pace(project: Path, runtime: Runtime) -> Pace:
    """What earlier runs of a project showed on this device with this number of threads."""
    return Pace(_read_note(project)[0].get(_key(runtime), {}))


def learn(
    project: Path, runtime: Runtime, factors: dict[str, float], processors: Mapping[str, float] | None = None
) -> Pace:
    """Note the pace of phases in place of the earlier one: the last run says most about the next.

    Args:
        project: the project folder.
        runtime: the device, and with how many threads.
        factors: how many times longer than expected each phase took.
        processors: seconds of processors in a second of each phase, where that was seen. With less than a quiet machine
            gives, the phase took longer for other work, and so much of its factor does not count.

    Raises:
        StorageError: the note cannot be written.
    """
    machines, most = _read_note(project)
    known, quiet = machines.setdefault(_key(runtime), {}), most.setdefault(_key(runtime), {})
    for phase, factor in factors.items():
        got = (processors or {}).get(phase, 0.0)
        if got > 0:
            quiet[phase] = max(got, FADING * quiet.get(phase, 0.0))
            factor *= got / quiet[phase]
        known[phase] = factor
    write_json(_file(project), {"schema": SCHEMA, "machines": machines, "processors": most})
    return Pace(known)


def _read_note(project: Path) -> tuple[_Machines, _Machines]:
    """The factors, and the most processors, of each phase by machine."""
    try:
        note = read_json(_file(project), what=WHAT, schema=SCHEMA)
        return _MACHINES.validate_python(note.get("machines")), _MACHINES.validate_python(note.get("processors"))
    except (DistillError, ValidationError):
        # The note only improves the forecast; without it the pace is learned again.
        return {}, {}


def _file(project: Path) -> Path:
    return project / ".distill" / "pace.json"


def _key(runtime: Runtime) -> str:
    several = f"-{runtime.processes}" if runtime.processes > 1 else ""
    return f"{runtime.device}-{runtime.precision}-{runtime.threads}{several}"
