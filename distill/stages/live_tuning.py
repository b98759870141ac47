"""What makes the trainings of a workspace steerable."""

from pathlib import Path

from distill.configs import TrainingConfig
from distill.live.folder import RunFolder
from distill.live.journal import Journal
from distill.live.steering import Steering
from distill.stages.workspace import Call


def steering_of(call: Call, stage: str, config: TrainingConfig, state: Path) -> Steering:
    """The steering of a training that keeps its checkpoints in `state`.

    Raises:
        ArtifactError: the journal cannot be replayed.
        StorageError: it cannot be read.
    """
    workspace = call.workspace
    journal = Journal(workspace.journal(stage), stage)
    return Steering(RunFolder(workspace.root, stage), journal, config, state=state, emit=call.emit)
