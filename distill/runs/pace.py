"""What the phases of a run take, and how fast this machine is.

The figures for the phases are rough: they were set so that a run on the bundled sounds takes what its two trainings
once took on two cores. They only have to be right relative to each other. What phases took here is kept in the project.

Beside other work a phase takes longer, and the next run need not have that work beside it. How many seconds of
processors a phase gets in a second says how much of the machine it had: a quiet one gives the most that was seen.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from distill.configs import STRIDE, VQVAEConfig
from distill.errors import DistillError
from distill.files import read_json, write_json
from distill.params import Params
from distill.stages.planning import Planned, Sizes
from distill.training.runtime import Runtime

SCHEMA = 1
WHAT = "note about this machine's speed"
# The most of the processors that was seen counts a little less after each run: a machine may have fewer by now.
FADING = 0.95
_MACHINES = TypeAdapter(dict[str, dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]])

_Machines = dict[str, dict[str, float]]
# A run's work in its order: the stages, and within train_prior the codes that have to be made first.
MAKE_CODES = "make_codes"
PHASES = ("prepare", "configure", "train_vqvae", MAKE_CODES, "train_prior", "check_memorization", "assemble")

# Loading what a stage needs, and what it does once.
ONCE = {
    "prepare": 3.0,
    "configure": 0.5,
    "train_vqvae": 6.0,
    MAKE_CODES: 1.0,
    "train_prior": 1.0,
    "check_memorization": 4.0,
    "assemble": 1.0,
}
# A mel value through the VQ-VAE and back, a multiplication of the prior there and back.
SECONDS_A_VALUE = 7e-7
SECONDS_A_MULTIPLICATION = 1.2e-10
# Cost of evaluating a batch, relative to training on it.
EVALUATION = 1 / 3
# A frame of a sound prepared, a frame encoded, a sound generated for the check, a frame held against others.
SECONDS_A_FRAME = {"prepare": 3e-4, MAKE_CODES: 4e-5, "check_memorization": 5e-4}
SECONDS_A_SOUND = 0.4
# A prior makes no usable sounds before this share of its training; the first ones take this long.
FIRST_SHARE = 0.3
LISTENING = 6.0


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
        return _MACHINES.validate_python(note.get("machines")), _MACHINES.validate_python(note.get("processors", {}))
    except (DistillError, ValidationError):
        # The note only improves the forecast; without it the pace is learned again.
        return {}, {}


def _file(project: Path) -> Path:
    return project / ".distill" / "pace.json"


def _key(runtime: Runtime) -> str:
    several = f"-{runtime.processes}" if runtime.processes > 1 else ""
    return f"{runtime.device}-{runtime.precision}-{runtime.threads}{several}"


@dataclass(frozen=True)
class Steps:
    """Optimizer steps of a training, and what one takes."""

    count: int
    seconds: float

    @property
    def total(self) -> float:
        return self.count * self.seconds


def effort(params: Params, sizes: Sizes, plan: Planned) -> dict[str, float]:
    """Each phase of a run with what it takes, in order."""
    frames = int(sizes.variants.sum())
    steps = training_steps(sizes, plan)
    encoded = frames * plan.prior.column_cuts * (1 + plan.prior.augmented_copies)
    work = {
        "prepare": frames * SECONDS_A_FRAME["prepare"],
        "train_vqvae": steps["train_vqvae"].total + plan.vqvae.epochs * _looking(sizes, plan.vqvae),
        MAKE_CODES: encoded * SECONDS_A_FRAME[MAKE_CODES],
        "train_prior": steps["train_prior"].total * (1 + EVALUATION * _looked_at(sizes, plan)),
        "check_memorization": params.memorization.sounds * SECONDS_A_SOUND
        + frames * SECONDS_A_FRAME["check_memorization"],
    }
    return {phase: ONCE[phase] + work.get(phase, 0.0) for phase in PHASES}


def training_steps(sizes: Sizes, plan: Planned) -> dict[str, Steps]:
    """Both trainings' optimizer steps."""
    return {
        "train_vqvae": Steps(plan.vqvae_steps, vqvae_step(plan.vqvae, sizes)),
        "train_prior": Steps(plan.prior_steps, prior_step(plan)),
    }


def vqvae_step(config: VQVAEConfig, sizes: Sizes) -> float:
    """A step of the VQ-VAE."""
    return config.batch_size * -(-sizes.chunk_frames // STRIDE) * STRIDE * sizes.n_mels * SECONDS_A_VALUE


def prior_step(plan: Planned) -> float:
    """A step of the prior: its layers see positions of a window, the rest of it each of their codes."""
    hidden, levels = plan.prior.hidden, plan.vqvae.num_quantizers
    layers = plan.prior.layers * hidden * (12 * hidden + 2 * plan.window_codes / levels) / levels
    multiplications = layers + 8 * hidden**2 + hidden * levels * (plan.vqvae.codebook_size + 1)
    return plan.prior.batch_size * plan.window_codes * multiplications * SECONDS_A_MULTIPLICATION


def first_sounds(plan: Planned) -> tuple[str, float]:
    """The phase, and the share of it, after which there is a checkpoint of a prior that knows something."""
    in_epoch = plan.prior_steps / plan.prior.epochs
    interval = in_epoch * plan.prior.checkpoint_interval
    return "train_prior", min(1.0, math.ceil(FIRST_SHARE * plan.prior_steps / interval) * interval / plan.prior_steps)


def _looking(sizes: Sizes, config: VQVAEConfig) -> float:
    """An evaluation of the VQ-VAE: held-out chunks, and about as many of the others."""
    chunks = max(config.batch_size, sizes.train_chunks)
    return EVALUATION * vqvae_step(config, sizes) * chunks / config.batch_size


def _looked_at(sizes: Sizes, plan: Planned) -> float:
    """Windows that the prior's evaluations hear, as a share of those that it learns from."""
    in_epoch = plan.prior_steps / plan.prior.epochs * plan.prior.batch_size
    return min(1.0, max(plan.prior.batch_size, len(sizes.originals)) / in_epoch)
