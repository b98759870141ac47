"""A training step of the VQ-VAE (batch 32, 0.84 M parameters): ours against a plain version of the same work.

`ours` is a step of the real training loop, from one step's event to the next: batch with augmentation from the
memory-mapped spectrograms, channels_last network, checks, fused AdamW. `plain` is plain.py: files decoded, resampled
and made into spectrograms in every step, fp32, contiguous, unfused AdamW. `plain ready` is the same with sounds that
are decoded and resampled already, which makes it a stricter comparison. They and the matrix products of the floor are
timed in turns between the steps of one training, once with ours in fp32 and once in bf16.

`activity` is what it costs to measure the blocks' activity at every log interval, as a share of the training's time.
"""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from common import floors, interleave, interleave_with_training
from distill.configs import LiveConfig, VQVAEConfig
from distill.dataset.store import PreparedDataset
from distill.live.events import Listeners
from distill.live.stop_request import StopRequest
from distill.models.losses import COMMITMENT, spectral_terms, total_loss
from distill.params import parse_params, write_params
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace, read_config, section
from distill.training.block_activity import measure_activity
from distill.training.runtime import Runtime
from distill.training.vqvae import VQVAETask
from output import Report, parser, sounds
from plain import ORIGINAL_STEP_MS, STEP_GFLOP, Laps, PlainTraining

import torch
from torch import nn


def main() -> None:
    options = parser(__doc__, rounds=40)
    options.add_argument("--set", default="mixed", help="folder of sounds")
    options.add_argument("--codebook-size", type=int, default=256)
    options.add_argument("--batch-size", type=int, default=32)
    options.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    args = options.parse_args()
    rounds = 2 if args.quick else args.rounds
    report = Report(args)
    rows: list[list[Any]] = []
    parts: dict[str, dict[str, float]] = {}
    floor_gflops: dict[str, dict[str, int]] = {}
    activity: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        workspace = prepared(Path(folder), args)
        values = read_config(workspace, "train_vqvae")
        config: VQVAEConfig = section(values, "vqvae", VQVAEConfig)
        dataset = PreparedDataset(workspace.prepared)
        files = [sounds(args.set) / name for name in dataset.manifest["path"][dataset.manifest["split"] == "train"]]
        runtime = Runtime(**values["runtime"])
        plain, ready = (
            PlainTraining(
                files, config.batch_size, dataset.spectrogram, codebook_size=config.codebook_size, ready=ready
            )
            for ready in (False, True)
        )
        for precision in args.precision:
            runtime = replace(runtime, precision=precision)
            runtime.apply()
            task = VQVAETask(dataset, config, dataset.spectrogram, runtime, Path(folder) / "previews")
            work = {"plain": plain.step, "plain ready": ready.step, **floors()}
            timings = interleave_with_training(task, config, runtime, work, rounds)
            gflop = STEP_GFLOP * config.batch_size / 32
            for name in ("ours", "plain", "plain ready"):
                rows.append(
                    [
                        f"{name} {precision if name == 'ours' else 'fp32'}",
                        timings.milliseconds(name),
                        timings.ratio("plain", name),
                        timings.ratio("plain ready", name),
                        timings.multiple(name, gflop, "fp32"),
                        timings.multiple(name, gflop, "bf16"),
                    ]
                )
            floor_gflops[precision] = {kind: round(timings.rate(kind)) for kind in ("fp32", "bf16")}
            parts[f"ours {precision}"] = breakdown(task, config, runtime, rounds)
            activity[precision] = activity_share(task, runtime, rounds, timings.milliseconds("ours"))
        parts["plain"] = plain.parts()
    columns = ["step", "ms", "x faster than plain", "than plain ready", "x floor fp32", "x floor bf16"]
    original = {"ms": ORIGINAL_STEP_MS, "x floor fp32": 3.3}
    shown = {"parts_ms": parts, "floor_gflops": floor_gflops, "activity": activity}
    report.show(columns, rows, **shown, original_elsewhere=original)


def prepared(folder: Path, args: Any) -> Workspace:
    """A workspace in which `prepare` and `configure` have run, with an epoch longer than the benchmark."""
    workspace = Workspace(folder)
    values = {
        "data": {"path": str(sounds(args.set))},
        "run": {"device": "cpu", "precision": "fp32", "threads": args.threads},
        "vqvae": {
            "codebook_size": args.codebook_size,
            "batch_size": args.batch_size,
            "augmentation_expansion": 1000,
            "epochs": 1,
        },
    }
    write_params(workspace.params_file, parse_params(values, where="the benchmark"))
    for stage in ("prepare", "configure"):
        run_stage(stage, Call(workspace, Listeners(), StopRequest()))
    return workspace


def breakdown(task: VQVAETask, config: VQVAEConfig, runtime: Runtime, rounds: int) -> dict[str, float]:
    """Median ms of the parts of our step, which is done here as the training loop does it."""
    model, laps = task.model.train(), Laps()
    optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate, fused=True)
    batches = task.batches(0, 0)
    for _ in range(rounds):
        laps.start()
        mel = torch.from_numpy(next(batches))[:, None].contiguous(memory_format=torch.channels_last)
        laps.lap("batch")
        with runtime.autocast():
            encoded = model.encode(mel)
            laps.lap("encoder")
            spatial, _, commitment = model.quantize(encoded)
            laps.lap("quantizer")
            reconstruction = model.decode(spatial, (mel.shape[2], mel.shape[3]))
            laps.lap("decoder")
            terms = {**spectral_terms(reconstruction, mel), COMMITMENT: commitment}
            loss = total_loss(terms, task.weights)
            laps.lap("loss")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        laps.lap("backward")
        nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimizer.step()
        laps.lap("optimizer")
    return laps.milliseconds()


def activity_share(task: VQVAETask, runtime: Runtime, rounds: int, step_ms: float) -> float:
    """How much longer a training takes because the activity of its blocks is measured."""
    task.model.train()
    batch = next(task.batches(0, 0))

    def forward(*, on: bool) -> None:
        with runtime.autocast(), measure_activity(task.model, on=on):
            task.loss(batch)

    timings = interleave({"with": partial(forward, on=True), "without": partial(forward, on=False)}, rounds)
    extra = (timings.ratio("with", "without") - 1) * timings.milliseconds("without")
    return extra / step_ms / LiveConfig().log_interval


if __name__ == "__main__":
    main()
