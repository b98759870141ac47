"""Small workspaces for the tests of trainings and stages."""

from pathlib import Path
from typing import Any

import yaml

from distill.live.events import Event, Listeners
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from sounds_util import folder_of_tones, noise, save

# As small as a run can be that still has several steps an epoch, several epochs, dropout and augmentation.
TINY: dict[str, dict[str, Any]] = {
    "data": {"chunk_seconds": 0.35, "speed_semitones": [2.0]},
    "run": {"arithmetic": "native", "device": "cpu", "precision": "fp32", "preset": "tuned", "threads": 1},
    "vqvae": {
        "epochs": 3,
        "batch_size": 4,
        "augmentation_expansion": 3,
        "codebook_size": 8,
        "codebook_dim": 16,
        "dropout": 0.1,
        "kmeans_chunks": 8,
        "checkpoint_interval": 1,
        "preview_count": 0,
        "learning_rate": 1e-3,
    },
    "prior": {
        "epochs": 3,
        "batch_size": 4,
        "hidden": 16,
        "layers": 1,
        "heads": 2,
        "dropout": 0.1,
        "checkpoint_interval": 1,
    },
    "memorization": {"sounds": 2, "seconds": 0.5},
    "vocoder": {"enabled": False},
    "model": {"name": "tiny"},
}


def make_workspace(root: Path, *, sounds: int = 8, **changes: dict[str, Any]) -> Workspace:
    """A workspace with little sounds and the parameters of TINY, with `changes` by section."""
    if not (root / "sounds").exists():
        folder_of_tones(root / "sounds", sounds - 2)
        for seed in range(2):
            save(root / "sounds" / f"noise{seed}.wav", noise(0.4, seed))
    values = {name: {**TINY.get(name, {}), **changes.get(name, {})} for name in {*TINY, *changes}}
    (root / "params.yaml").write_text(yaml.safe_dump({"schema": 1, **values}))
    return Workspace(root)


def run(workspace: Workspace, *stages: str, events: list[Event] | None = None, stop: StopRequest | None = None) -> Any:
    """Run stages; the report of the last."""
    listeners = Listeners([events.append] if events is not None else [])
    report = None
    for stage in stages:
        report = run_stage(stage, Call(workspace, listeners, stop or StopRequest()))
    return report


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder, by relative path, without the state that is resumed from."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".distill" not in path.relative_to(folder).parts
    }
