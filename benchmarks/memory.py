"""Peak memory of every stage: by the number of sounds, and by their length.

Synthetic sounds are written to a temporary folder. Each stage runs in a fresh process, whose peak resident memory
(VmHWM of /proc/self/status, file pages included) is what is shown. Trainings do a few steps of the usual size and
evaluate; the codes of the prior are made for all sounds, the check generates few sounds and holds them against all.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from output import Report, parser

import numpy as np
import soundfile

RATE = 22_050
STAGES = ("prepare", "train_vqvae", "train_prior", "check_memorization", "train_vocoder")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sounds", type=int, nargs="*", default=[50, 500], help="numbers of sounds of a second")
    options.add_argument("--minutes", type=float, nargs="*", default=[1, 10], help="lengths of two long sounds")
    options.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="measure no others")
    options.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    options.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.child:
        stage, folder = args.child
        _run(stage, Path(folder), args)
        sys.stdout.write(json.dumps(peak()))
        return
    if args.quick:
        args.sounds, args.minutes = [4, 8], [0.1, 0.2]
    report = Report(args)
    rows: list[list[Any]] = []
    for name, cases in (
        ("sounds of 1 s", [(str(count), count, 1.0) for count in args.sounds]),
        ("min, two sounds", [(f"{minutes:g}", 2, 60 * minutes) for minutes in args.minutes]),
    ):
        if not cases:
            continue
        measured = [_measured(f"{size} {name}", count, seconds, args) for size, count, seconds in cases]
        ratios = [last / first for first, last in zip(measured[0][1:], measured[-1][1:], strict=True)]
        rows += [*measured, [f"{cases[-1][0]} over {cases[0][0]} {name}", *ratios]]
    report.show(["what", "imports MiB", *(f"{stage} MiB" for stage in args.stages)], rows)


def synthesize(folder: Path, files: int, seconds: float = 2.0) -> None:
    """Different decaying tones with some noise, again and again in a long sound."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    for index in range(files):
        with soundfile.SoundFile(folder / f"{index:05}.wav", "w", RATE, 1, "PCM_16") as handle:
            for _ in range(max(1, round(seconds))):
                tone = np.sin(2 * np.pi * rng.uniform(60, 4000) * time) * np.exp(-rng.uniform(0.5, 6) * time)
                handle.write((0.5 * tone + 0.01 * rng.standard_normal(len(time))).astype(np.float32))


def _measured(name: str, files: int, seconds: float, args: argparse.Namespace) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        synthesize(Path(folder) / "sounds", files, seconds)
        # A stage that is not shown runs all the same where another needs it.
        last = max(STAGES.index(stage) for stage in args.stages)
        peaks = {stage: _child(stage, folder, args) for stage in ("import", *STAGES[: last + 1])}
    return [name, peaks["import"], *(peaks[stage] for stage in args.stages)]


def _child(stage: str, folder: str, args: argparse.Namespace) -> float:
    command = [__file__, "--child", stage, folder, "--precision", args.precision]
    return peak_of_child([*command, "--threads", str(args.threads)])


def peak_of_child(command: list[str]) -> float:
    """MiB, as a script run with some arguments in a process of its own says it."""
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout))


def peak() -> float:
    """MiB. Not ru_maxrss, which a process inherits from the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _run(stage: str, folder: Path, args: argparse.Namespace) -> None:
    from distill.live.events import Listeners
    from distill.live.stop_request import StopRequest
    from distill.params import parse_params, write_params
    from distill.stages.pipeline import run_stage
    from distill.stages.workspace import Call, Workspace

    workspace = Workspace(folder)
    values = {
        "run": {"device": "cpu", "precision": args.precision, "threads": args.threads},
        "vqvae": {"epochs": 1, "steps_per_epoch": 10},
        "prior": {"epochs": 1, "steps_per_epoch": 10, "column_cuts": 1, "augmented_copies": 1},
        "memorization": {"sounds": 4, "seconds": 1.0},
        "vocoder": {"enabled": True, "epochs": 1, "steps_per_epoch": 2},
    }
    write_params(workspace.params_file, parse_params(values, where="the benchmark"))
    stages = {"import": (), "prepare": ("prepare", "configure")}.get(stage, (stage,))
    if stage == "import":
        import distill.stages.train_prior
        import distill.stages.train_vqvae  # noqa: F401
    for each in stages:
        run_stage(each, Call(workspace, Listeners(), StopRequest()))


if __name__ == "__main__":
    main()
