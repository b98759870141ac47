"""A training, a generation, the check and the page beside none, one and two busy loops.

Each is a command of its own; the page is served until it has made the six sounds that it greets with. `passive` is as
the project sets OpenMP, whose threads sleep while they wait; `spinning` is as OpenMP does by itself, with its own count
of rounds. `fair` is what a command takes that loses no more than the share of the processors that the loops take.
Sounds are synthetic, the models hardly trained.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from common import interleave
from distill.files import digest_file
from memory import synthesize
from output import Report, parser

# libgomp's count where nothing is set.
WAYS = {"passive": {}, "spinning": {"GOMP_SPINCOUNT": "300000"}}
LOOPS = (0, 1, 2)
TRAINING = ("train", "kit", "--epochs", "1", "--set", "prior.epochs=1", "--force", "--quiet", "-o", "kit.distill")
WORK = {
    "train": ("train", "kit", "--epochs", "1", "--until", "train_vqvae", "--fresh", "--quiet", "--model-name", "other"),
    "generate": ("generate", "kit.distill", "-n", "32", "-o", "new", "--force", "--quiet"),
    "check": ("check", "kit.distill", "-n", "8", "-o", "report", "--quiet"),
    "page": ("ui",),
}

MADE = {
    "train": "runs/*/trained/vqvae.distill",
    "generate": "new/*.wav",
    "check": "report/report.json",
    "page": ".distill/greeting/*/*.wav",
}
GREETING = 6


def main() -> None:
    options = parser(__doc__, rounds=1)
    args = options.parse_args()
    report = Report(args)
    cores = len(os.sched_getaffinity(0))
    rows: list[list[Any]] = []
    alone: dict[str, float] = {}
    made: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthesize(folder / "kit", 5 if args.quick else 20)
        distill(folder, TRAINING, {})

        def do(task: str, way: str) -> None:
            (greet if task == "page" else distill)(folder, WORK[task], WAYS[way])
            made.setdefault(task, set()).add(outcome(folder, task))

        for loops in LOOPS[:1] if args.quick else LOOPS:
            for task in WORK:
                with busy(loops):
                    work: dict[str, Callable[[], object]] = {way: partial(do, task, way) for way in WAYS}
                    timings = interleave(work, args.rounds, warmup=0)
                passive, spinning = (timings.milliseconds(way) / 1000 for way in WAYS)
                fair = alone.setdefault(task, passive) * max(1.0, (loops + cores) / cores)
                rows.append([f"{task}, loops: {loops}", passive, fair, spinning, timings.ratio("spinning", "passive")])
    same = {task: len(digests) == 1 for task, digests in made.items()}
    report.show(["what", "passive s", "fair s", "spinning s", "spinning over passive"], rows, **{"same bytes": same})


def distill(folder: Path, command: tuple[str, ...], variables: dict[str, str]) -> None:
    """Run a command of the project in a folder."""
    subprocess.run([sys.executable, "-m", "distill", *command], cwd=folder, env={**os.environ, **variables}, check=True)


def greet(folder: Path, command: tuple[str, ...], variables: dict[str, str]) -> None:
    """Serve the page of a folder whose model nobody has heard yet, until its sounds are there."""
    models = folder / "models"
    models.mkdir(exist_ok=True)
    shutil.copy(folder / "kit.distill", models)
    shutil.rmtree(folder / ".distill" / "greeting", ignore_errors=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    called = [sys.executable, "-m", "distill", *command, "--port", port]
    page = subprocess.Popen(called, cwd=folder, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)
    try:
        while len(list(folder.glob(MADE["page"]))) < GREETING and page.poll() is None:
            time.sleep(0.05)
    finally:
        page.terminate()
        page.wait()


def outcome(folder: Path, task: str) -> str:
    """A digest of what a command makes."""
    made = sorted(folder.glob(MADE[task]))
    if not made:
        sys.exit(f"{task} made no {MADE[task]}")
    return ",".join(map(digest_file, made))


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that do nothing but work."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
