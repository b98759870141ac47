"""Peak memory of preparing and of training, on a small and on a ten times larger set of sounds.

Synthetic sounds of two seconds (two chunks each) are written to a temporary folder. Preparing and training each run in
a fresh process, whose peak resident memory (VmHWM of /proc/self/status, file pages included) is what is shown. Training
means: the real loop for a few dozen steps, which ends with a checkpoint, then one evaluation and one set of previews.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from output import Report, parser

RATE = 22_050
SECONDS = 2


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=40, help="training steps")
    options.add_argument("--chunks", type=int, nargs="+", default=[1000, 10_000])
    options.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    options.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.child:
        task, folder = args.child
        {"import": _import, "prepare": _prepare, "train": _train}[task](Path(folder), args)
        sys.stdout.write(json.dumps(peak()))
        return
    report = Report(args)
    rows: list[list[Any]] = []
    for chunks in [100, 200] if args.quick else args.chunks:
        with tempfile.TemporaryDirectory() as folder:
            synthesize(Path(folder) / "sounds", chunks // SECONDS)
            peaks = {task: _child(task, folder, args) for task in ("import", "prepare", "train")}
            mels = (Path(folder) / "prepared" / "mels.npy").stat().st_size / 2**20
        rows.append([str(chunks), mels, *peaks.values()])
    base = rows[0]
    for row in rows[1:]:
        ratios = [cell / other for cell, other in zip(row[1:], base[1:], strict=True)]
        rows = [*rows, [f"{row[0]} over {base[0]}", *ratios]]
    columns = ["chunks", "mels.npy MiB", "imports MiB", "prepare MiB", "train MiB"]
    report.show(columns, rows, steps=4 if args.quick else args.steps)


def synthesize(folder: Path, files: int) -> None:
    """Different decaying tones with some noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    time = np.arange(RATE * SECONDS) / RATE
    for index in range(files):
        tone = np.sin(2 * np.pi * rng.uniform(60, 4000) * time) * np.exp(-rng.uniform(0.5, 6) * time)
        samples = 0.5 * tone + 0.01 * rng.standard_normal(len(time))
        soundfile.write(folder / f"{index:05}.wav", samples.astype(np.float32), RATE, subtype="PCM_16")


def _child(task: str, folder: str, args: argparse.Namespace) -> float:
    command = [__file__, "--child", task, folder, "--precision", args.precision]
    return peak_of_child([*command, "--steps", str(4 if args.quick else args.steps), "--threads", str(args.threads)])


def peak_of_child(command: list[str]) -> float:
    """MiB, as a script run with some arguments in a process of its own says it."""
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout))


def peak() -> float:
    """MiB. Not ru_maxrss, which a process inherits from the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _import(_folder: Path, _args: argparse.Namespace) -> None:
    """What the imports alone take."""
    import distill.stages.train_vqvae  # noqa: F401


def _prepare(folder: Path, args: argparse.Namespace) -> None:
    from distill.live.events import Listeners
    from distill.live.stopping import StopRequest
    from distill.params import parse_params, write_params
    from distill.stages.pipeline import run_stage
    from distill.stages.workspace import Call, Workspace

    workspace = Workspace(folder)
    run = {"device": "cpu", "precision": args.precision, "threads": args.threads}
    write_params(workspace.params_file, parse_params({"run": run}, where="the benchmark"))
    for stage in ("prepare", "configure"):
        run_stage(stage, Call(workspace, Listeners(), StopRequest()))


def _train(folder: Path, args: argparse.Namespace) -> None:
    import torch

    from distill.configs import VQVAEConfig
    from distill.dataset.store import PreparedDataset
    from distill.errors import Interrupted
    from distill.live.events import Event, Listeners, StepDone
    from distill.live.stopping import StopRequest
    from distill.stages.workspace import Workspace, read_config, section
    from distill.training.checkpoint import Checkpoints
    from distill.training.loop import train
    from distill.training.runtime import Runtime
    from distill.training.vqvae import VQVAETask

    workspace, stop = Workspace(folder), StopRequest()
    values = read_config(workspace, "train_vqvae")
    config: VQVAEConfig = section(values, "vqvae", VQVAEConfig)
    # The same work for every number of chunks: as many steps, none of them behind an evaluation.
    config = config.model_copy(update={"augmentation_expansion": 100, "epochs": 1})
    runtime = replace(Runtime(**values["runtime"]), threads=args.threads)
    runtime.apply()
    dataset = PreparedDataset(workspace.prepared)
    task = VQVAETask(dataset, config, dataset.spectrogram, runtime, folder / "previews")

    def listen(event: Event) -> None:
        if isinstance(event, StepDone) and event.step >= args.steps:
            stop.ask()

    checkpoints = Checkpoints(folder / "state", keep=1)
    with suppress(Interrupted):
        train(task, config, runtime, checkpoints, emit=Listeners([listen]), stop=stop)
    task.model.eval()
    with torch.no_grad(), runtime.autocast():
        task.evaluate()
        task.preview(config.epochs)


if __name__ == "__main__":
    main()
