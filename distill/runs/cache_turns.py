"""Runs that are about to do the same work take turns, so that the later ones find it in DVC's cache."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from distill.files import digest_file, digest_json
from distill.params import read_yaml
from distill.processes.waiting import lock
from distill.runs.dvc_project import DvcRun


def _alone(_key: str) -> AbstractContextManager[None]:
    return nullcontext()


@contextmanager
def taking_turns(
    run: DvcRun, stage: str, on_wait: Callable[[], None], across: Callable[[str], AbstractContextManager[None]] = _alone
) -> Iterator[None]:
    """Run a stage while no other run of the project does the same with the same inputs; `on_wait` is told once.

    `across` holds a key among the machines that share a remote of DVC; by default there are no others.

    Raises:
        StorageError: a file of the workspace cannot be read.
        Interrupted: this process runs no more stages.
    """
    key = f"{stage}-{digest_json(inputs_of(run.root, stage))[:16]}"
    with lock(run.project / ".distill" / "turns" / f"{key}.lock", on_wait, remove=True), across(key):
        yield


def inputs_of(root: Path, stage: str) -> list[Any]:
    """What a stage of a workspace follows from: its command, its parameters and the content of its dependencies."""
    described = read_yaml(root / "dvc.yaml")["stages"][stage]
    params = read_yaml(root / "params.yaml")
    return [
        described["cmd"],
        {name: _value(params, name) for name in described.get("params", [])},
        {path: _content(root, str(path)) for path in described["deps"]},
    ]


def _value(params: Any, name: str) -> Any:
    for part in name.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return params


def _content(root: Path, path: str) -> str | None:
    """Digest of a small file; of a folder, or what is not there, what DVC noted when it was made."""
    if (root / path).is_file():
        return digest_file(root / path)
    stages = read_yaml(root / "dvc.lock")["stages"] if (root / "dvc.lock").is_file() else {}
    made = (out for each in stages.values() for out in each.get("outs", ()) if out["path"] == path)
    return next((out.get("md5") for out in made), None)
