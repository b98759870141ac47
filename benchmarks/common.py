"""What the benchmarks share: the limits of the machine, and timing in turns.

The machine may be slow or shared, and its speed may change from second to second. So everything that is compared is
timed in turns (A B A B ...) within one run, a comparison is the median of the ratios of neighbouring turns, and
absolute work is given as a multiple of its floor: its floating-point operations at the speed of a plain matrix product,
timed in the same turns.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from distill.configs import TrainingConfig
from distill.errors import Interrupted
from distill.live.events import CheckpointSaved, EpochDone, Event, Listeners, StepDone
from distill.live.stop_request import StopRequest
from distill.models.vqvae import ConvVQVAE
from distill.training.checkpoint import Checkpoints
from distill.training.loop import train
from distill.training.runtime import Runtime
from distill.training.task import Task

import torch

FLOOR_SIZE = 1024
FLOOR_REPEATS = 3
FLOOR_GFLOP = FLOOR_REPEATS * 2 * FLOOR_SIZE**3 / 1e9
FLOORS = {"floor fp32": torch.float32, "floor bf16": torch.bfloat16}

Work = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Timings:
    """Seconds of each turn, by what was timed."""

    seconds: dict[str, list[float]]

    def milliseconds(self, name: str) -> float:
        """Median of the turns."""
        return 1000 * median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """Median over the turns of how many times as long as `other` it took."""
        return median(a / b for a, b in zip(self.seconds[name], self.seconds[other], strict=True))

    def multiple(self, name: str, gflop: float, precision: str = "fp32") -> float:
        """How many times as long it took as so many GFLOP of matrix products."""
        return self.ratio(name, f"floor {precision}") * FLOOR_GFLOP / gflop

    def rate(self, precision: str) -> float:
        """GFLOP/s of matrix products."""
        return FLOOR_GFLOP / median(self.seconds[f"floor {precision}"])


def floors() -> dict[str, Callable[[], object]]:
    """Matrix products in fp32 and bf16 to be timed beside other work."""

    def products(kind: torch.dtype) -> Callable[[], object]:
        matrix = torch.rand(FLOOR_SIZE, FLOOR_SIZE).to(kind)
        return lambda: [matrix @ matrix for _ in range(FLOOR_REPEATS)]

    return {name: products(kind) for name, kind in FLOORS.items()}


def interleave(work: Work, rounds: int, *, warmup: int = 1) -> Timings:
    """Time several things in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(-warmup, rounds):
        for name, do in work.items():
            spent = timed(do)
            if turn >= 0:
                seconds[name].append(spent)
    return Timings(seconds)


def timed(do: Callable[[], object]) -> float:
    """Seconds that something takes."""
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun


def interleave_with_training(
    task: Task, config: TrainingConfig, runtime: Runtime, work: Work, rounds: int, *, warmup: int = 3
) -> Timings:
    """Time the steps of a real training (as `ours`) in turns with other work, which runs between two steps.

    A turn of `ours` is all that happens from one step's event to the next: batch, step, checks, event. Turns with an
    evaluation or a checkpoint in them are left out.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *work)}
    stop, failures = StopRequest(), list[Exception]()
    begun: float | None = None
    turns = 0

    def listen(event: Event) -> None:
        nonlocal begun, turns
        if isinstance(event, EpochDone | CheckpointSaved):
            begun = None
        if not isinstance(event, StepDone) or stop.asked:
            return
        ours = None if begun is None else time.perf_counter() - begun
        try:
            with beside_training():
                spent = {name: timed(do) for name, do in work.items()}
        except Exception as error:  # noqa: BLE001 - a listener's errors would only be logged
            failures.append(error)
            stop.ask()
            return
        turns += 1
        if ours is not None and turns > warmup:
            for name, value in {"ours": ours, **spent}.items():
                seconds[name].append(value)
        if len(seconds["ours"]) >= rounds:
            stop.ask()
        begun = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder, suppress(Interrupted):
        train(task, config, runtime, Checkpoints(Path(folder), keep=1), emit=Listeners([listen]), stop=stop)
    if failures:
        raise failures[0]
    return Timings(seconds)


@contextmanager
def beside_training() -> Iterator[None]:
    """Do something that changes neither a training's random states nor is slowed by its settings."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic)


@torch.no_grad()
def make_audible(vqvae: ConvVQVAE) -> None:
    """Let a decoder with random weights give sounds that are heard: others are passed over and others are drawn."""
    vqvae.decoder.out[0].get_parameter("bias").add_(5.0)
