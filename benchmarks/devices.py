"""One training on several processes: steps a second by their number, and the share of time spent waiting for batches.

Both models are trained on sounds that are made here, with the same threads in all, or a GPU a process: by one process,
by two, and so on, in turns. `waits` is the share of the time of the first process in which it makes, or waits for, its
part of the next batch; on a GPU nothing is computed meanwhile. `share` is steps a second against the first number.
"""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import distill.training.step as step_module
from distill.live.events import Event, Listeners, StepDone
from distill.live.stop_request import StopRequest
from distill.params import parse_params, write_params
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from output import Report, parser

import numpy as np
import soundfile

# The first steps find out how they are best computed.
WARM_UP = 3


class Watch:
    """Times steps, and how long each waited for its batch."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.ended: list[float] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepDone):
            self.ended.append(time.perf_counter())

    def timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            begun = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self.waited.append(time.perf_counter() - begun)
            yield batch

    @property
    def steps_per_second(self) -> float:
        seconds = np.diff(self.ended[WARM_UP:])
        return float(1 / median(seconds))

    @property
    def waits(self) -> float:
        return sum(self.waited[WARM_UP + 1 :]) / (self.ended[-1] - self.ended[WARM_UP])


def main() -> None:
    options = parser(__doc__, rounds=3)
    options.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    options.add_argument("--device", default="cpu")
    options.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    options.add_argument("--batch-size", type=int, default=32)
    options.add_argument("--steps", type=int, default=20, help="steps of each training in each turn")
    args = options.parse_args()
    if args.quick:
        args.rounds, args.steps, args.batch_size = 1, 6, 8
    logging.disable(logging.WARNING)
    report = Report(args)
    found: dict[tuple[str, int], list[Watch]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sounds = Path(folder) / "sounds"
        make_sounds(sounds)
        for turn in range(args.rounds):
            for processes in args.processes:
                root = Path(folder) / f"{turn}-{processes}"
                for stage, watch in train(root, sounds, processes, args):
                    found.setdefault((stage, processes), []).append(watch)
    rows: list[list[Any]] = []
    for (stage, processes), watches in sorted(found.items()):
        alone = found[stage, args.processes[0]]
        ratios = [mine.steps_per_second / one.steps_per_second for mine, one in zip(watches, alone, strict=True)]
        speed, waits = (median(getattr(each, name) for each in watches) for name in ("steps_per_second", "waits"))
        rows.append([stage, processes, f"{speed:.2f}", f"{median(ratios):.2f}", f"{waits:.1%}"])
    report.show(["training", "processes", "steps/s", "share", "waits"], rows)


def make_sounds(folder: Path) -> None:
    """Noise that fades, 1 s each: with their variants they are enough for 25 batches of 32."""
    folder.mkdir()
    for seed in range(160):
        rng = np.random.default_rng(seed)
        shape = np.exp(-np.linspace(0, 4, 48_000) * rng.uniform(0.2, 1))
        soundfile.write(folder / f"{seed}.wav", 0.5 * shape * rng.uniform(-1, 1, len(shape)), 48_000)


def train(root: Path, sounds: Path, processes: int, args: Any) -> Iterator[tuple[str, Watch]]:
    """Train both models; each stage and what was seen of it."""
    workspace = Workspace(root)
    root.mkdir()
    few = {"batch_size": args.batch_size, "epochs": 1, "steps_per_epoch": args.steps, "checkpoint_interval": 1000}
    values = {
        "data": {"path": str(sounds)},
        "run": {
            "device": args.device,
            "precision": args.precision,
            "threads": args.threads,
            "processes": processes,
        },
        "vqvae": {**few, "augmentation_expansion": 1000, "preview_count": 0},
        "prior": few,
    }
    write_params(workspace.params_file, parse_params(values, where="the benchmark"))
    prepared = sounds.with_name("prepared")
    if prepared.exists():
        shutil.copytree(prepared, workspace.prepared)
    for stage in ("prepare", "configure", "train_vqvae", "train_prior")[prepared.exists() :]:
        watch = Watch()
        plain = step_module.Stepper.batches
        step_module.Stepper.batches = lambda self, *place, watch=watch, plain=plain: watch.timed(plain(self, *place))  # type: ignore[method-assign]
        try:
            run_stage(stage, Call(workspace, Listeners([watch]), StopRequest()))
        finally:
            step_module.Stepper.batches = plain  # type: ignore[method-assign]
        if stage == "prepare":
            shutil.copytree(workspace.prepared, prepared)
        if stage.startswith("train"):
            yield stage, watch


if __name__ == "__main__":
    main()
