"""A training takes no more memory after a thousand steps than after the first ones, with all that tells of it."""

from pathlib import Path
from statistics import median

import psutil

from distill.live.events import CheckpointSaved, Event, LayerActivity, Listeners, StepDone
from distill.live.folder import RunFolder
from distill.live.status import StatusListener, read_status
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call
from pipeline_util import make_workspace, run
from steering_util import at_steps, edit, journal_of

STAGE = "train_vqvae"
WARM_UP, WINDOW = 250, 100
MOST_GROWTH_MB = 5.0


def test_a_thousand_steps_need_no_more_memory(tmp_path: Path) -> None:
    workspace = make_workspace(
        tmp_path / "run",
        data={"chunk_seconds": 0.1, "speed_semitones": []},
        spectrogram={"n_mels": 32},
        vqvae={
            "epochs": 11,
            "steps_per_epoch": 0,
            "batch_size": 1,
            "num_quantizers": 2,
            "augmentation_expansion": 8,
            "max_checkpoints": 2,
            "preview_interval": 2,
            "preview_count": 1,
        },
    )
    run(workspace, "prepare", "configure")
    folder, process = RunFolder(workspace.root, STAGE), psutil.Process()
    used: list[float] = []
    activity: list[int] = []
    saved: list[int] = []

    def watch(event: Event) -> None:
        match event:
            case StepDone():
                used.append(process.memory_info().rss / 2**20)
            case LayerActivity():
                activity.append(event.step)
            case CheckpointSaved():
                saved.append(event.step)

    changes = {
        step: lambda step=step: edit(folder, log_interval=5, gradient_clip=1 + step / 1000)  # type: ignore[misc]
        for step in range(1, 1000, 50)
    }
    listeners = Listeners([StatusListener(workspace.root), at_steps(STAGE, changes), watch])
    run_stage(STAGE, Call(workspace, listeners, StopRequest()))
    assert len(used) > 1000
    assert (len(activity), len(saved)) == (len(used) // 5, 11)
    assert len(journal_of(workspace, STAGE)) == len(changes)
    assert (read_status(workspace.root, STAGE) or {})["activity"]
    early, late = used[WARM_UP : WARM_UP + WINDOW], used[-WINDOW:]
    assert median(late) - median(early) < MOST_GROWTH_MB
