"""What recording to MLflow costs a training: the same training with and without it, in turns, in fresh processes.

A process trains the VQ-VAE in a workspace that is prepared already, and ends when everything is recorded. `training` is
from the stage's start to its end, `whole` adds what the process waits for its record after that, both without the
imports that both have. The processor time of the recording thread (importing MLflow, opening its database, an epoch
after the other) is counted by the system, and therefore the steadiest figure: `thread share` is that time over the
whole training.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from distill.live.events import Event, Listeners, StageFinished
from distill.live.stop_request import StopRequest
from distill.params import parse_params, write_params
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from distill.tracking.listener import track
from output import Report, parser, sounds

import psutil

ON, OFF = "recorded", "not recorded"


def main() -> None:
    options = parser(__doc__, rounds=3)
    options.add_argument("--sounds", type=Path, help="folder of sounds [default: kit below DISTILL_TEST_AUDIO]")
    options.add_argument("--epochs", type=int, help="epochs of the training [default: as planned for the sounds]")
    options.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.child:
        sys.stdout.write(json.dumps(train(args.child)) + "\n")
        return
    report = Report(args)
    found: dict[str, list[dict[str, float]]] = {ON: [], OFF: []}
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared"
        prepare(Workspace(prepared), args)
        for turn in range(1 if args.quick else args.rounds):
            for kind in (ON, OFF) if turn % 2 else (OFF, ON):
                root = Path(folder) / f"{kind}-{turn}"
                shutil.copytree(prepared, root)
                found[kind].append(child(root, kind))
                shutil.rmtree(root)
    columns = ["", "training s", "whole s", "thread cpu s", "epochs", "cpu s"]
    names = ("training", "whole", "thread_cpu", "epochs", "cpu")
    rows = [[kind, *(median(run[name] for run in runs) for name in names)] for kind, runs in found.items()]
    pairs = list(zip(found[ON], found[OFF], strict=True))
    report.show(
        columns,
        rows,
        thread_share=median(on["thread_cpu"] / off["training"] for on, off in pairs),
        training_ratio=[on["training"] / off["training"] for on, off in pairs],
        whole_ratio=[on["whole"] / off["whole"] for on, off in pairs],
        seconds_more=median(on["whole"] - off["whole"] for on, off in pairs),
    )


def prepare(workspace: Workspace, args: argparse.Namespace) -> None:
    """Everything before the training."""
    (workspace.root / ".dvc").mkdir(parents=True)
    epochs = 2 if args.quick else args.epochs
    values = {
        "schema": 1,
        "data": {"path": str((args.sounds or sounds("kit")).resolve())},
        "run": {"device": "cpu", "threads": args.threads},
        "vqvae": {"epochs": epochs} if epochs else {},
    }
    write_params(workspace.params_file, parse_params(values, where="benchmark"))
    for stage in ("prepare", "configure"):
        run_stage(stage, Call(workspace, Listeners(), StopRequest()))


def child(root: Path, kind: str) -> dict[str, float]:
    """Train in a process of its own; what it measured."""
    left_out = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment["DISTILL_TRACKING"] = "on" if kind == ON else "off"
    command = [sys.executable, __file__, "--child", "."]
    done = subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def train(root: Path) -> dict[str, float]:
    """Train as `distill stage train_vqvae` does, with a clock."""
    workspace, clock = Workspace(root), ThreadClock("tracking")
    ended = epochs = 0.0
    begun = time.perf_counter()

    def watch(event: Event) -> None:
        nonlocal ended, epochs
        if isinstance(event, StageFinished):
            ended, epochs = time.perf_counter(), float(event.report["epochs"])

    with clock, track(workspace) as recorder:
        run_stage("train_vqvae", Call(workspace, Listeners([watch, recorder]), StopRequest()))
    return {
        "training": ended - begun,
        "whole": time.perf_counter() - begun,
        "thread_cpu": clock.seconds,
        "epochs": epochs,
        "cpu": time.process_time(),
    }


class ThreadClock(threading.Thread):
    """Watches the processor seconds that the thread of a name has used, to a tenth of a second."""

    def __init__(self, name: str) -> None:
        super().__init__(daemon=True)
        self.watched, self.seconds, self.over = name, 0.0, threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        self.join()

    def run(self) -> None:
        process = psutil.Process()
        while not self.over.wait(0.1):
            known = [thread.native_id for thread in threading.enumerate() if thread.name == self.watched]
            for thread in process.threads() if known else ():
                if thread.id in known:
                    self.seconds = thread.user_time + thread.system_time


if __name__ == "__main__":
    main()
