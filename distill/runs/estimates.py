"""How long each plan takes on this machine, before anything is started."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.configs import STRIDE
from distill.params import Params, with_settings
from distill.runs.forecast import Forecast
from distill.runs.pace import Pace, learn, read_pace
from distill.runs.phase_seconds import LISTENING, effort, first_sounds, training_steps
from distill.runs.plans import PLANS
from distill.stages.planning import Planned, Sizes, planned, sizes_for
from distill.training.probe import step_seconds
from distill.training.runtime import Runtime, resolve_runtime


@dataclass(frozen=True)
class Estimate:
    """How long a run takes from its start: in all, and until the first sounds can be heard; in s."""

    total: float
    first: float


def estimates(project: Path, seconds: Sequence[float]) -> dict[str, Estimate]:
    """How long each plan takes for usable sounds of such durations, by the plan's name.

    Where nothing is known of this machine, a few steps of both networks are done first, which takes some seconds.
    """
    found, pace = {}, None
    for plan in PLANS.values():
        params = with_settings(Params(), plan.settings)
        sizes = sizes_for(seconds, params)
        chosen = planned(params, sizes)
        runtime = resolve_runtime(params.run)
        pace = pace or _pace(project, runtime, sizes, chosen)
        expected = Forecast(pace.expected(effort(params, sizes, chosen)))
        first = expected.until(*first_sounds(chosen)) + pace.of("check_memorization") * LISTENING
        found[plan.name] = Estimate(expected.left(), first)
    return found


def _pace(project: Path, runtime: Runtime, sizes: Sizes, chosen: Planned) -> Pace:
    known = read_pace(project, runtime)
    if known.factors:
        return known
    columns = max(1, round(chosen.window_codes * STRIDE / sizes.n_mels / chosen.vqvae.num_quantizers))
    begun, worked = time.monotonic(), time.process_time()
    seen = step_seconds(
        chosen.vqvae, chosen.prior, runtime, frames=sizes.chunk_frames, n_mels=sizes.n_mels, columns=columns
    )
    # A training that gets less of the machine than these steps did is beside other work.
    processors = (time.process_time() - worked) / (time.monotonic() - begun)
    steps = training_steps(sizes, chosen)
    factors = {name: each / steps[name].seconds for name, each in zip(steps, seen, strict=True)}
    return learn(project, runtime, factors, dict.fromkeys(factors, processors))
