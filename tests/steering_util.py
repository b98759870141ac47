"""Trainings that tests steer: changes at a step, requests from another thread, journals."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distill.artifact.model_file import read_manifest
from distill.live.events import Event, Listeners, StepDone
from distill.live.folder import RunFolder
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from pipeline_util import bytes_of, make_workspace, run

Act = Callable[[], Any]
STAGE = "train_vqvae"
OUTPUTS = ("trained/vqvae", "previews", "history/train_vqvae", "reports/train_vqvae", "plots/train_vqvae")
VQVAE = {
    "augmentation_expansion": 6,
    "learning_rate": 1e-3,
    "weight_full": 0.5,
    "weight_half": 0.3,
    "weight_quarter": 0.2,
    "weight_l1": 0.0,
}
STEPS_PER_EPOCH = 6


def at_steps(stage: str, acts: dict[int, Act]) -> Callable[[Event], None]:
    """A listener that does something the first time a step is done, between it and the next one."""
    left = dict(acts)

    def listen(event: Event) -> None:
        if isinstance(event, StepDone) and event.stage == stage and event.step in left:
            left.pop(event.step)()

    return listen


class Asked:
    """Asks a training something from another thread, as another process would, and keeps the answer."""

    def __init__(self, folder: RunFolder, command: str, **arguments: Any) -> None:
        self.folder, self.command, self.arguments = folder, command, arguments
        self.answers: list[Any] = []
        self.threads: list[threading.Thread] = []

    def __call__(self) -> None:
        waiting = len(self.folder.pending())
        thread = threading.Thread(target=self._ask)
        self.threads.append(thread)
        thread.start()
        # The training goes on only when it has been asked, so that the step is certain.
        while thread.is_alive() and len(self.folder.pending()) <= waiting:
            pass

    def _ask(self) -> None:
        try:
            self.answers.append(self.folder.ask(self.command, self.arguments, who="command", timeout=60))
        except Exception as error:  # noqa: BLE001, the test looks at it
            self.answers.append(error)

    @property
    def answer(self) -> Any:
        for thread in self.threads:
            thread.join(60)
        (answer,) = self.answers
        return answer


def edit(folder: RunFolder, **changes: Any) -> None:
    """What somebody with an editor does to the settings."""
    values = json.loads(folder.config_file.read_text())
    folder.config_file.write_text(json.dumps({**values, **changes}))


def journal_of(workspace: Workspace, stage: str) -> list[dict[str, Any]]:
    path = workspace.journal(stage)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_journal(path: Path, stage: str, *changes: tuple[int, dict[str, Any]]) -> None:
    """A journal of changes at steps."""
    path.parent.mkdir(exist_ok=True)
    lines = [
        json.dumps({"schema": 1, "stage": stage, "seq": seq, "step": step, "who": "test", "change": change})
        for seq, (step, change) in enumerate(changes, start=1)
    ]
    path.write_text("".join(f"{line}\n" for line in lines))


def prepare(root: Path) -> Workspace:
    """A workspace that is ready to train."""
    workspace = make_workspace(root, vqvae=VQVAE)
    run(workspace, "prepare", "configure")
    return workspace


def copy(workspace: Workspace, root: Path) -> Workspace:
    shutil.copytree(workspace.root, root)
    return Workspace(root)


def train(workspace: Workspace, acts: dict[int, Act] | None = None, stage: str = STAGE) -> list[Event]:
    events: list[Event] = []
    listeners = Listeners([events.append, at_steps(stage, acts or {})])
    run_stage(stage, Call(workspace, listeners, StopRequest()))
    return events


def of(events: list[Event], kind: type[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def weights(workspace: Workspace) -> str:
    return read_manifest(workspace.vqvae).tensor_digest


def outputs(workspace: Workspace) -> dict[str, bytes]:
    """What the training of the VQ-VAE wrote."""
    return {name: data for name, data in bytes_of(workspace.root).items() if name.startswith(OUTPUTS)}
