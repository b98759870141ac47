"""How fast this machine is: what phases took here, beside what they were expected to take, kept in the project."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from distill.errors import DistillError
from distill.files import read_json, write_json
from distill.training.runtime import Runtime

SCHEMA = 1
WHAT = "note about this machine's speed"
_MACHINES = TypeAdapter(dict[str, dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]])


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
    """What earlier runs of a project showed on this device with so many threads."""
    return Pace(_noted(project).get(_key(runtime), {}))


def learn(project: Path, runtime: Runtime, factors: dict[str, float]) -> Pace:
    """Note what was seen of phases, in place of what was known of them: the last run says most of the next.

    Raises:
        StorageError: the note cannot be written.
    """
    noted = _noted(project)
    noted[_key(runtime)] = {**noted.get(_key(runtime), {}), **factors}
    write_json(_file(project), {"schema": SCHEMA, "machines": noted})
    return Pace(noted[_key(runtime)])


def _noted(project: Path) -> dict[str, dict[str, float]]:
    try:
        note = read_json(_file(project), what=WHAT, schema=SCHEMA)
        return _MACHINES.validate_python(note.get("machines"))
    except (DistillError, ValidationError):
        # It is only there to expect better; without it one learns anew.
        return {}


def _file(project: Path) -> Path:
    return project / ".distill" / "pace.json"


def _key(runtime: Runtime) -> str:
    return f"{runtime.device}-{runtime.precision}-{runtime.threads}"
