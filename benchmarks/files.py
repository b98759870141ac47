"""Time and peak memory of every stage by the number of sounds: what a file costs, be it one of few or of many.

Short synthetic sounds (0.15 to 0.3 s, each from its own seed) are written into folders of a thousand. The stages run
one after the other in fresh processes, as `distill stage` runs them, with the smallest plan: trainings of a few steps,
codes of every sound in two cuts and a copy, a check of few sounds against all. `codes` is the part of train_prior
before its first step. `CPU s` is the processor time of all processes of a stage, which other work on the machine
changes less; `CPU ms a file more` is what each file costs beyond those of the row with fewer files. Memory is the sum
over a stage's process and all that it starts of their proportional set sizes (Pss, which counts what is shared once),
looked at once a second.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset.prepare import prepare
from distill.params import parse_params, with_settings, write_params
from output import Report, parser

import numpy as np
import psutil
import soundfile

RATE = 22_050
IN_FOLDER = 1000
STAGES = ("prepare", "configure", "train_vqvae", "train_prior", "check_memorization", "train_vocoder", "assemble")
SMALLEST: dict[str, dict[str, Any]] = {
    "data": {"chunk_seconds": 0.35, "speed_semitones": [2.0]},
    "run": {"preset": "sketch", "device": "cpu", "precision": "fp32"},
    "vqvae": {"epochs": 1, "steps_per_epoch": 10, "codebook_size": 64, "num_quantizers": 2},
    "prior": {
        "epochs": 1,
        "steps_per_epoch": 10,
        "hidden": 32,
        "layers": 1,
        "heads": 2,
        "column_cuts": 2,
        "augmented_copies": 1,
    },
    "memorization": {"sounds": 2, "seconds": 0.5},
}


def main() -> None:
    options = parser(__doc__, rounds=3)
    options.add_argument("--files", type=int, nargs="+", default=[1000, 10_000], help="numbers of sounds")
    options.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="run no others")
    options.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="other parameters")
    options.add_argument(
        "--cluster", type=int, nargs="*", default=[], help="also prepare the fewest by so many Dask workers, in turns"
    )
    options.add_argument("--keep", type=Path, help="folder in which sounds and workspaces stay and are found again")
    args = options.parse_args()
    if args.quick:
        args.files = [20, 40]
    report, rows = Report(args), list[list[Any]]()
    with tempfile.TemporaryDirectory() as temporary:
        cluster = on_clusters((args.keep or Path(temporary)) / str(args.files[0]), args)
        for count in args.files:
            root = (args.keep or Path(temporary)) / str(count)
            rows += measured(root, count, args)
            if args.keep is None:
                shutil.rmtree(root)
    known = {(row[0], row[1]): row[3] for row in rows}
    fewer = dict(zip(args.files[1:], args.files, strict=False))
    for row in rows:
        before = fewer.get(row[0])
        row[4] = None if before is None else 1000 * (row[3] - known[before, row[1]]) / (row[0] - before)
    report.show(["files", "stage", "s", "CPU s", "CPU ms a file more", "peak MiB", "processes"], rows, **cluster)


def synthesize(folder: Path, files: int) -> None:
    """Decaying tones with some noise, each from its own seed, a thousand in a folder; what is there stays."""
    for index in range(files):
        path = folder / f"{index // IN_FOLDER:03}" / f"{index:06}.wav"
        if path.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([0, index])
        at = np.arange(int(RATE * rng.uniform(0.15, 0.3))) / RATE
        tone = np.sin(2 * np.pi * rng.uniform(60, 4000) * at) * np.exp(-rng.uniform(5, 40) * at)
        soundfile.write(path, 0.5 * tone + 0.01 * rng.standard_normal(len(at)), RATE, subtype="PCM_16")


def measured(root: Path, files: int, args: argparse.Namespace) -> list[list[Any]]:
    """A row for each stage of so many sounds."""
    synthesize(root / "sounds", files)
    values = {**SMALLEST, "run": {**SMALLEST["run"], "threads": args.threads}}
    shutil.rmtree(root / ".distill", ignore_errors=True)
    write_params(root / "params.yaml", with_settings(parse_params(values, where="the benchmark"), args.set))
    rows: list[list[Any]] = []
    for stage in args.stages:
        watch = Watch(root)
        begun = time.monotonic()
        command = [sys.executable, "-m", "distill", "stage", stage, "--workspace", str(root), "--quiet"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        watch.follow(process.pid)
        failed = process.wait()
        seconds = time.monotonic() - begun
        watch.end()
        if failed:
            sys.exit(f"{stage} failed with {files} files")
        if stage == "train_prior" and watch.codes_at:
            spent = watch.codes_at - begun
            rows.append([files, "codes", spent, watch.spent_by_codes, None, watch.peak_of_codes, watch.processes])
        rows.append([files, stage, seconds, watch.spent, None, watch.peak, watch.processes])
        sys.stderr.write(f"{files} {stage} {seconds:.1f} s, CPU {watch.spent:.1f} s, {watch.peak:.0f} MiB\n")
    return rows


def on_clusters(root: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds that preparing the fewest sounds takes on Dask clusters of some numbers of workers with a thread each."""
    if not args.cluster:
        return {}
    synthesize(root / "sounds", args.files[0])
    seconds: dict[int, list[float]] = {workers: [] for workers in args.cluster}
    data = DataConfig.model_validate(SMALLEST["data"])
    for _ in range(args.rounds):
        for workers in args.cluster:
            from distributed import LocalCluster

            local = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
            with LocalCluster(host="127.0.0.1", **local) as cluster, tempfile.TemporaryDirectory() as out:
                address = cluster.scheduler_address
                # The workers load torch.
                prepare(root / "sounds" / "000", Path(out) / "first", data, SpectrogramConfig(), 0, dask=address)
                begun = time.monotonic()
                prepare(root / "sounds", Path(out) / "all", data, SpectrogramConfig(), 0, dask=address)
                seconds[workers].append(time.monotonic() - begun)
    return {"prepared_on_dask_workers_s": {workers: median(each) for workers, each in seconds.items()}}


class Watch:
    """The memory of a process and of all that it starts, and when the codes of a workspace were made."""

    def __init__(self, root: Path) -> None:
        self.peak, self.processes, self.codes_at, self.peak_of_codes, self.spent_by_codes = 0.0, 0, 0.0, 0.0, 0.0
        self._root, self._over = root, threading.Event()
        self._times: dict[int, float] = {}
        self._thread: threading.Thread | None = None

    def follow(self, pid: int) -> None:
        """Watch a process until `end` is called."""
        self._thread = threading.Thread(target=self._look, args=(pid,))
        self._thread.start()

    def end(self) -> None:
        """Watch no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self, pid: int) -> None:
        while not self._over.wait(1.0):
            self._times.update(times := processor_times(pid))
            each = [size for process in times if (size := proportional(process))]
            self.processes = max(self.processes, len(each))
            self.peak = max(self.peak, sum(each))
            # The loop takes its lock when the codes are there.
            if not self.codes_at and any(self._root.glob(".distill/state/train_prior/*/lock")):
                self.codes_at, self.peak_of_codes, self.spent_by_codes = time.monotonic(), self.peak, self.spent

    @property
    def spent(self) -> float:
        """Processor time of all processes that were seen, in s."""
        return sum(self._times.values())


def processor_times(pid: int) -> dict[int, float]:
    """Processor time so far of a process and of each that it has started, in s."""
    times: dict[int, float] = {}
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                spent = each.cpu_times()
                times[each.pid] = spent.user + spent.system
    return times


def proportional(pid: int) -> float:
    """The proportional set size of a process in MiB; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) / 1024


if __name__ == "__main__":
    os.environ.setdefault("DISTILL_TRACKING", "off")
    main()
