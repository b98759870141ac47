"""Whether it helps that something is done about a plateau, or costs.

For each set and seed the VQ-VAE is trained twice from the same prepared sounds, with the controller only watching and
with it acting, and both are measured on held-out sounds as quality.py does. Where no plateau is seen, the second
training would be the first and is left out. `gain` is how much lower LSD-20 is with it; `actions` counts what it
changed, apart from the decay of its own boosts.
"""

import argparse
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from distill.dataset.store import PreparedDataset
from distill.live.controller import Mode
from distill.live.events import Event, Listeners, PlateauSeen
from distill.live.journal import Journal
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from output import Report, parser
from quality import measure
from workspaces import prepared

STAGE = "train_vqvae"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=["kit", "mixed"], help="folders of sounds")
    options.add_argument("--seeds", type=int, default=5, help="seeds 0 to n-1, each with its own split")
    options.add_argument("--set", action="append", default=[], help="section.key=value, as in the command")
    args = options.parse_args()
    report = Report(args)
    rows: list[list[Any]] = []
    details: list[dict[str, Any]] = []
    for name in args.sets:
        found = [compare(name, seed, args) for seed in range(1 if args.quick else args.seeds)]
        details += found
        for row in found:
            values = [row["off"], row["on"], row["off"] - row["on"], row["plateaus"], row["actions"]]
            rows.append([f"{name}, seed {row['seed']}", *values])
        gains = [row["off"] - row["on"] for row in found]
        spread = stdev(gains) if len(gains) > 1 else None
        rows.append(
            [f"{name}, mean", mean(r["off"] for r in found), mean(r["on"] for r in found), mean(gains), None, None]
        )
        rows.append([f"{name}, deviation of the gain", None, None, spread, None, None])
    report.show(["set", "LSD-20 watching", "acting", "gain", "plateaus", "actions"], rows, runs=details)


def compare(name: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train both ways and measure."""
    with tempfile.TemporaryDirectory() as folder:
        watching = prepared(Path(folder) / "watching", name, seed, args, precision="fp32")
        acting = Workspace(Path(folder) / "acting")
        shutil.copytree(watching.root, acting.root)
        change = {"controller": True}
        Journal(acting.journal(STAGE), STAGE).append(0, "benchmark", change, {"controller": [False, True]})
        off, seen = _train(watching, name)
        plateaus = sum(bool(event.info["is_plateau"]) for event in seen)
        # Without a plateau there is nothing to act on: the second training would be the first.
        on, acted = _train(acting, name) if plateaus else (off, [])
    return {
        "set": name,
        "seed": seed,
        "off": off,
        "on": on,
        "plateaus": plateaus,
        "actions": sum(
            event.info["mode"] == Mode.COOLDOWN and before.info["mode"] != Mode.COOLDOWN
            for before, event in pairwise(acted)
        ),
    }


def _train(workspace: Workspace, name: str) -> tuple[float, list[PlateauSeen]]:
    """LSD-20 of held-out sounds in dB, and what the controller saw after each epoch."""
    seen: list[PlateauSeen] = []

    def listen(event: Event) -> None:
        if isinstance(event, PlateauSeen):
            seen.append(event)

    run_stage(STAGE, Call(workspace, Listeners([listen]), StopRequest()))
    found, _ = measure(workspace, PreparedDataset(workspace.prepared), name)
    return found.lsd_20, seen


if __name__ == "__main__":
    main()
