"""Making a finished run the project's own, stage by stage, where the project is still what it was."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from distill.errors import DataError, DistillError, StorageError
from distill.files import write_bytes
from distill.locks import acquire, lock
from distill.params import Params, read_yaml
from distill.processes.dvc_stage import in_use
from distill.projects.template import JOURNALS
from distill.runs.dvc_project import DvcRun
from distill.stages.pipeline import STAGES
from distill.versions.dvc import dvc

BUSY_SECONDS = 5.0
POLL_SECONDS = 0.1


def publish(run: DvcRun) -> str | None:
    """Make a finished run the project's own, so that `dvc repro` has none of its stages to run; None, or why it is not.

    Stages of the user's own, and their entries in dvc.lock, stay as they are. The caller holds the run's lock.

    Raises:
        StorageError: the lock cannot be had, or dvc.lock cannot be put back.
    """
    if not run.own:
        return "its parameters are not those of params.yaml"
    project = run.project
    with lock(project / ".distill" / "publish.lock", lambda: None):
        try:
            why_not = _difference(run) or _changes_by_dvc(run)
        except DistillError as error:
            why_not = str(error)
        if why_not is not None:
            return why_not
        target = project / "dvc.lock"
        before = target.read_bytes() if target.is_file() else None
        try:
            with _dvc_at_rest(project):
                write_bytes(target, _merged_lock(run, before))
            dvc(project, "checkout", *STAGES)
        except StorageError as error:
            if before is not None:
                write_bytes(target, before)
            elif target.exists():
                target.unlink()
            return f"the project's files stay as they are ({error})"
    return None


def _difference(run: DvcRun) -> str | None:
    """In what the project is not any more what the run was started from."""
    here, there = run.root, run.project
    if _read_values(there) != _read_values(here, run.inputs.params.data.path):
        return "params.yaml has changed since"
    mine, theirs = (_pipeline(folder) for folder in (here, there))
    for stage in STAGES:
        if mine["stages"].get(stage) != theirs["stages"].get(stage):
            return f"dvc.yaml describes the stage {stage} in another way since"
    if mine.get("vars") != theirs.get("vars"):
        return "the vars of dvc.yaml have changed since"
    for name in JOURNALS:
        if _bytes(here / name) != _bytes(there / name):
            return f"{name} is not that of the run"
    return None


def _changes_by_dvc(run: DvcRun) -> str | None:
    """What DVC finds changed in the run's folder, in words: its sounds are the project's."""
    changed = json.loads(dvc(run.root, "status", "--json", *STAGES))
    # What lies outside of the run's folder DVC names by its absolute path.
    sounds = (run.root / _paths(run)[0]).resolve()
    for stage, findings in changed.items():
        for finding in findings:
            if not isinstance(finding, dict):
                return f"{stage}: {finding}"
            for kind, paths in finding.items():
                if any((run.root / path).resolve() == sounds for path in paths):
                    return "the sounds have changed since"
                return f"{stage}: {kind}: {', '.join(paths) if isinstance(paths, dict) else paths}"
    return None


def _pipeline(folder: Path) -> dict[str, Any]:
    """What dvc.yaml says.

    Raises:
        DataError: it has no stages.
    """
    values = read_yaml(folder / "dvc.yaml")
    if not isinstance(values, dict) or not isinstance(values.get("stages"), dict):
        raise DataError(f"{folder / 'dvc.yaml'} has no stages")
    return values


def _merged_lock(run: DvcRun, before: bytes | None) -> bytes:
    """The project's dvc.lock with the run's entries for the stages of the pipeline."""
    yaml = YAML()
    try:
        made = yaml.load((run.root / "dvc.lock").read_bytes())
        known = yaml.load(before) if before else {"schema": made["schema"], "stages": {}}
        for stage in STAGES:
            known["stages"][stage] = _entry_of_project(made["stages"][stage], *_paths(run))
        text = StringIO()
        yaml.dump(known, text)
    except (YAMLError, KeyError, TypeError) as error:
        raise StorageError(f"a dvc.lock cannot be read: {' '.join(str(error).split())}") from error
    return text.getvalue().encode()


def _entry_of_project(entry: Any, here: str, there: str) -> Any:
    """A stage's entry with the sounds as the project names them."""
    entry = deepcopy(entry)
    for dependency in entry.get("deps", ()):
        if dependency["path"] == here:
            dependency["path"] = there
    for values in entry.get("params", {}).values():
        if "data.path" in values:
            values["data.path"] = there
        if "path" in values.get("data", {}):
            values["data"]["path"] = there
    return entry


def _paths(run: DvcRun) -> tuple[str, str]:
    """`data.path` in the run's folder and in the project."""
    return _read_values(run.root)["data"]["path"], run.inputs.params.data.path


def _read_values(folder: Path, path: str | None = None) -> dict[str, Any]:
    """What params.yaml says, with `data.path` in any case, or another one in its place.

    Raises:
        DataError: it has no sections of parameters.
    """
    values = read_yaml(folder / "params.yaml")
    data = values.get("data") or {} if isinstance(values, dict) else None
    if not isinstance(data, dict):
        raise DataError(f"{folder / 'params.yaml'} has no sections of parameters")
    return {**values, "data": {**data, "path": path or data.get("path", Params().data.path)}}


@contextmanager
def _dvc_at_rest(project: Path) -> Iterator[None]:
    """Hold DVC's own lock of a project, in which no stage runs.

    Raises:
        StorageError: DVC works there.
    """
    until = time.monotonic() + BUSY_SECONDS

    def wait() -> None:
        if time.monotonic() > until:
            raise StorageError("DVC works in the project")
        time.sleep(POLL_SECONDS)

    folder = project / ".dvc" / "tmp"
    descriptor = acquire(folder / "lock", wait)
    try:
        if in_use(folder / "rwlock"):
            raise StorageError("dvc repro runs in the project")
        yield
    finally:
        os.close(descriptor)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
