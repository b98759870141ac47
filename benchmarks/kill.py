"""Kill what trains, at random moments: does anything run on, and does the same call end with the same bytes?

A project of little sounds is trained by the command, by the page's start and by the flow, in one and the same run
folder. Each time a process, chosen by chance, gets SIGKILL: the training, or of a flow the flow itself, the guard, DVC
or the stage. After 5 s nothing that it watched over may run, the server that Prefect starts for a flow among it. Then
the same call goes on, and at last ends: the model must have the bytes of a training that nobody killed.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from distill.files import digest_file
from distill.params import read_params
from distill.runs.dvc_project import plan_run
from distill.runs.inputs import settings_of
from project_util import make_project

MARK = "DISTILL_KILLED_FOR"
LEFT_SECONDS = 5.0
POLL_SECONDS = 0.1
FLOW = "from flows.train import train; train()"
SERVING = ("server", "follower")
PAGE = """
import json, sys
from pathlib import Path
from distill.runs.background import start
from distill.runs.folder import Order
start(Path(), Order("sounds", tuple(json.loads(sys.argv[1])), "tiny", None, "page"))
"""


class Trained:
    """A project that is trained and killed."""

    def __init__(self, folder: Path) -> None:
        self.project = make_project(folder / "project")
        self.settings = settings_of(read_params(self.project / "params.yaml"))
        self.root = plan_run(self.project, {}).root
        self.environment = {
            **os.environ,
            "DISTILL_TRACKING": "off",
            "PREFECT_HOME": str(folder / "prefect"),
            MARK: str(folder),
        }
        self.environment["PYTHONPATH"] = str(self.project)

    def begin(self, way: str) -> None:
        """Start a training, or go on with it."""
        python = [sys.executable, "-W", "ignore"]
        command = [*python, "-m", "distill", "train", "sounds", "--model-name", "tiny", "--force", "--quiet"]
        commands = {
            "command": [*command, *(f"--set={each}" for each in self.settings)],
            "page": [*python, "-c", PAGE, json.dumps(self.settings)],
            "flow": [*python, "-c", FLOW],
        }
        with (self.project / "said.log").open("ab") as log:
            subprocess.Popen(
                commands[way], cwd=self.project, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def family(self) -> dict[psutil.Process, str]:
        """What runs of it, each with its kind."""
        found = {}
        for process in psutil.process_iter():
            try:
                mine = process.environ().get(MARK) == self.environment[MARK]
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found[process] = kind_of(process.cmdline())
            except (psutil.Error, OSError):
                continue
        return found

    def made(self) -> str | None:
        """The digest of the finished model's file."""
        path = self.root / "models" / "tiny.distill"
        return digest_file(path) if path.is_file() else None

    def forget(self) -> None:
        """Take away everything that was trained."""
        for name in ("runs", "models", ".dvc/cache", "dvc.lock", "prepared", "config", "trained", "reports", "history"):
            path = self.project / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def kind_of(command: list[str]) -> str:
    """Which of the processes it is."""
    words = " ".join(command)
    known = {
        "distill.processes.guard": "guard",
        "-m dvc": "dvc",
        "distill stage": "stage",
        FLOW: "flow",
        "uvicorn": "server",
        "follow.py": "follower",
    }
    return next((kind for sign, kind in known.items() if sign in words), "training")


def until(done: Callable[[], object], seconds: float) -> bool:
    """Wait, at most so long; whether it was reached."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def rest(trained: Trained) -> None:
    """Wait until nothing trains any more."""
    if not until(lambda: not trained.family(), 3600.0):
        raise SystemExit(f"it runs without end: {trained.family()}")


def kill_one(trained: Trained, draw: random.Random) -> str | None:
    """Kill one process; its kind, or None where nothing runs any more."""
    family = trained.family()
    kinds = sorted(set(family.values()).difference(SERVING))
    if not kinds:
        return None
    kind = draw.choice(kinds)
    victim = next(process for process, each in family.items() if each == kind)
    # A flow tries a stage again that was killed; what it has started before must end all the same.
    staying: set[str] = set() if kind in ("flow", "training") else {"flow", *SERVING}
    ending = [process for process, each in family.items() if each not in staying]
    victim.kill()
    if not until(lambda: not [each for each in ending if each in trained.family()], LEFT_SECONDS):
        left = [(each.pid, trained.family().get(each)) for each in ending if each in trained.family()]
        raise SystemExit(f"5 s after the {kind} was killed there still runs {left}")
    return kind


def series(trained: Trained, way: str, draw: random.Random, kills: int, longest: float, expected: str) -> Counter[str]:
    """Kill a training some times and let it end; how often each kind of process was killed."""
    counts: Counter[str] = Counter()
    for _ in range(kills):
        if not trained.family():
            trained.begin(way)
        time.sleep(draw.uniform(0.5, longest))
        kind = kill_one(trained, draw)
        if kind is not None:
            counts[f"{way}: {kind}"] += 1
    rest(trained)
    trained.begin(way)
    rest(trained)
    if trained.made() != expected:
        said = (trained.project / "said.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{way}: {trained.made()} in place of {expected}\n{said}")
    trained.forget()
    return counts


def main() -> None:
    """Kill as often as asked, and print the counts as JSON, a line a series."""
    ways = ["command", "page", "flow"]
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--each", type=int, default=5, help="kills before a training may end")
    options.add_argument("--longest", type=float, default=30.0, help="longest time before a kill, in s")
    options.add_argument("--ways", nargs="+", default=ways, choices=ways)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    draw, counts = random.Random(given.seed), Counter[str]()
    folder = Path(tempfile.mkdtemp(prefix="distill-kill-"))
    trained = Trained(folder)
    try:
        trained.begin("command")
        rest(trained)
        expected = trained.made()
        if expected is None:
            raise SystemExit((trained.project / "said.log").read_text())
        trained.forget()
        while sum(counts.values()) < given.kills:
            for way in given.ways:
                counts += series(trained, way, draw, given.each, given.longest, expected)
                sys.stdout.write(json.dumps({"kills": sum(counts.values()), **counts}) + "\n")
                sys.stdout.flush()
    finally:
        for process in trained.family():
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
