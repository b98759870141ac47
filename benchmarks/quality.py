"""Held-out quality of the VQ-VAE and the time that its training takes.

For each set and seed a fresh workspace is prepared, configured and trained by the pipeline's own stages. Held-out files
(the split of that seed) are cut into chunks and measured as measures.py says. `training mean` is what one gets by
always predicting the mean log mel of the training chunks: a check of the measure itself.

The time is that of the stage train_vqvae alone: no preparation, no imports. Every few steps a plain training step
(plain.py, of the same batch size, with its sounds ready in memory) is timed between two steps and taken off again, so
that the time is also known in plain steps under the same conditions. The original's training, 33 s on kit and 228 s on
mixed at 237 ms for a step of 32, makes the budget; `share of budget` is our plain steps over its.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

import distill.stages.train_vqvae  # noqa: F401 - so that the import is not timed
from common import beside_training, floors, timed
from distill.artifact.model_file import read_model
from distill.audio.mel import MelTransform
from distill.codec.load import build_networks
from distill.dataset.store import PreparedDataset
from distill.live.events import Event, Listeners, StepDone
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace, read_config
from measures import Distance, distances, normalized_chunks
from output import Report, parser
from plain import ORIGINAL_STEP_MS, ORIGINAL_TRAINING_SECONDS, PlainTraining
from workspaces import files, prepared

import torch


class Probe:
    """A listener that times a plain step and the floor's products every few steps of a training."""

    def __init__(self, plain: PlainTraining, every: int) -> None:
        self.plain, self.every = plain, every
        self.work = {"plain": plain.step, **floors()}
        self.seconds: dict[str, list[float]] = {name: [] for name in self.work}
        self.total = 0.0
        for do in self.work.values():
            do()

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepDone) and (event.step - 1) % self.every == 0:
            self.total += timed(self._run)

    def _run(self) -> None:
        with beside_training():
            for name, do in self.work.items():
                self.seconds[name].append(timed(do))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=["kit", "mixed"], help="folders of sounds")
    options.add_argument("--seeds", type=int, default=3, help="seeds 0 to n-1, each with its own split")
    options.add_argument("--preset", choices=["tuned", "reference"], default="tuned")
    options.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    options.add_argument("--set", action="append", default=[], help="section.key=value, as in the command")
    options.add_argument("--probe-every", type=int, default=15, help="steps between two plain steps")
    args = options.parse_args()
    report = Report(args)
    rows: list[list[Any]] = []
    details: list[dict[str, Any]] = []
    for name in args.sets:
        results = [run(name, seed, args) for seed in range(1 if args.quick else args.seeds)]
        details += results
        for row in results:
            rows.append([f"{name}, seed {row['seed']}", *(row[key] for key in SHOWN)])
        numbers = {key: [row[key] for row in results] for key in SHOWN}
        rows.append([f"{name}, mean", *(None if None in values else mean(values) for values in numbers.values())])
        baseline = mean(row["training_mean_lsd_20"] for row in results)
        rows.append([f"{name}, training mean", baseline, *[None] * (len(SHOWN) - 1)])
    columns = ["set", "LSD-20", "LSD0", "L1", "loud", "s", "steps", "s in plain steps", "share of budget"]
    report.show(columns, rows, settings={"preset": args.preset, "set": args.set}, runs=details)


SHOWN = ("lsd_20", "lsd_0", "l1", "loud", "seconds", "steps", "plain_steps", "share_of_budget")


def run(name: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train once and measure."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = prepared(Path(folder), name, seed, args, preset=args.preset, precision=args.precision)
        config = read_config(workspace, "train_vqvae")
        dataset = PreparedDataset(workspace.prepared)
        torch.set_num_threads(args.threads)
        plain = PlainTraining(
            files(dataset, "train", name),
            config["vqvae"]["batch_size"],
            dataset.spectrogram,
            codebook_size=config["vqvae"]["codebook_size"],
            ready=True,
        )
        probe = Probe(plain, args.probe_every)
        begun = time.perf_counter()
        outcome = run_stage("train_vqvae", Call(workspace, Listeners([probe]), StopRequest()))
        seconds = time.perf_counter() - begun - probe.total
        torch.use_deterministic_algorithms(False)
        found, baseline = measure(workspace, dataset, name)
    step = median(probe.seconds["plain"])
    original = ORIGINAL_TRAINING_SECONDS.get(name)
    budget = original and 1000 * original / (ORIGINAL_STEP_MS * plain.batch_size / 32)
    return {
        "set": name,
        "seed": seed,
        **vars(found),
        "training_mean_lsd_20": baseline.lsd_20,
        "seconds": seconds,
        "steps": outcome["steps"],
        "best_epoch": outcome["best_epoch"],
        "epochs": outcome["epochs"],
        "plain_steps": seconds / step,
        "budget_plain_steps": budget,
        "share_of_budget": budget and seconds / step / budget,
        "probe_ms": {key: 1000 * median(value) for key, value in probe.seconds.items()},
        "precision": config["runtime"]["precision"],
        "codebook": outcome["codebook"],
    }


def measure(workspace: Workspace, dataset: PreparedDataset, name: str) -> tuple[Distance, Distance]:
    """Distances of the reconstructions, and of the training mean, to the held-out chunks."""
    transform = MelTransform(dataset.spectrogram)
    model = build_networks(read_model(workspace.vqvae), workspace.vqvae).vqvae
    log_mels = transform.log_mel(normalized_chunks(files(dataset, "validation", name), dataset.spectrogram))
    with torch.no_grad():
        rebuilt = torch.cat([model(part[:, None])[0][:, 0] for part in log_mels.split(32)])
    power = transform.to_power(log_mels)
    training = transform.log_mel(normalized_chunks(files(dataset, "train", name), dataset.spectrogram))
    always = training.mean((0, 2))[None, :, None].expand_as(log_mels)
    return distances(transform.to_power(rebuilt), power), distances(transform.to_power(always), power)


if __name__ == "__main__":
    main()
