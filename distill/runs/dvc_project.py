"""A run whose stages DVC runs: its folder is a DVC project of its own, with the cache of the project around it."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from configobj import ConfigObj

from distill.errors import UsageError
from distill.files import digest_file, digest_json, storage_errors, write_bytes
from distill.live.journal import effective_by_stage
from distill.locks import lock, patiently
from distill.params import Params, parse_params, read_yaml
from distill.processes.run_lock import RunLock
from distill.projects.template import JOURNALS
from distill.runs.folder import Order, open_folder
from distill.runs.inputs import Inputs, bring_sounds, given_source, settings_of
from distill.stages.workspace import Workspace
from distill.versions.dvc import check_out, dvc, settings
from distill.versions.worker_clone import origin_of

Overrides = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class DvcRun:
    """A run of a project's parameters with others in their place; `own` says that there are no others."""

    inputs: Inputs
    overrides: Overrides
    own: bool

    @property
    def root(self) -> Path:
        """Its folder."""
        return self.inputs.root

    @property
    def project(self) -> Path:
        """The project around it."""
        return self.inputs.project

    @property
    def workspace(self) -> Workspace:
        """Its folder, as stages see it."""
        return Workspace(self.root)


def with_overrides(project: Path, overrides: Overrides) -> Params:
    """The project's parameters with others in their place.

    Raises:
        UsageError: an unknown name, or a value that is wrong.
        StorageError: params.yaml cannot be read.
    """
    return parse_params(_merge(project, overrides), where="parameters")


def plan_run(project: Path, overrides: Overrides) -> DvcRun:
    """The run of a project's parameters with these overrides; nothing is made yet.

    Raises:
        UsageError: a parameter is wrong.
        DataError: the sounds are not there.
        ArtifactError: a journal of the project is damaged.
    """
    params = with_overrides(project, overrides)
    check_out(project, params.data.path)
    source = given_source(project, params.data.path)
    journals = [project / name for name in JOURNALS if (project / name).is_file()]
    changes = {stage: entries for stage, entries in effective_by_stage(journals).items() if entries}
    own = not overrides or params == with_overrides(project, {})
    return DvcRun(Inputs(project, source, params, changes), overrides, own)


def open_project(run: DvcRun, on_wait: Callable[[], None]) -> AbstractContextManager[RunLock]:
    """The run's folder as a DVC project, locked for the block; `on_wait` is called if another process has it.

    Raises:
        StorageError: the folder cannot be made.
        Interrupted: this process starts no more stages.
    """
    inputs = run.inputs
    again = not inputs.changes and not inputs.source.startswith("..")
    order = Order(inputs.source, settings_of(inputs.params), inputs.params.model.name, None, "prefect", again)

    def make() -> None:
        with storage_errors(run.root, "write into"):
            _make(run)

    return open_folder(run.root, order, make, patiently(on_wait), here=False)


def _make(run: DvcRun) -> None:
    root, project = run.root, run.project
    if not (root / ".dvc" / "config").is_file():
        if origin_of(project) is not None:
            # It may hold keys of the remote.
            (root / ".dvc").mkdir(mode=0o700, exist_ok=True)
        write_bytes(root / ".dvc" / "config", _config(root, project))
    for name in ("dvc.yaml", *JOURNALS):
        if (project / name).is_file() and not _goes_on(project / name, root / name):
            _write_if_changed(root / name, (project / name).read_bytes())
    path = bring_sounds(root, project, run.inputs.source)
    overrides = {} if run.own else run.overrides
    if run.own and path == run.inputs.params.data.path:
        data = (project / "params.yaml").read_bytes()
    else:
        values = _merge(project, {**overrides, "data": {**overrides.get("data", {}), "path": path}})
        data = yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()
    _write_if_changed(root / "params.yaml", data)


def _config(root: Path, project: Path) -> bytes:
    """DVC's settings; the project's cache is named so that both can be moved together."""
    cache = Path(dvc(project, "cache", "dir").strip()).resolve()
    if cache.is_relative_to(project.resolve()):
        cache = Path(os.path.relpath(cache, (root / ".dvc").resolve()))
    config: dict[str, dict[str, str]] = {
        "core": {"no_scm": "True", "analytics": "false", "check_update": "false"},
        "cache": {"dir": str(cache)},
    }
    if origin_of(project) is not None:
        # A run on a worker takes results from the project's remote and puts its own there.
        for name, value in settings(project).items():
            section, _, key = name.rpartition(".")
            if section.startswith("remote."):
                config.setdefault(f'remote "{section.removeprefix("remote.")}"', {})[key] = value
            elif name == "core.remote":
                config["core"]["remote"] = value
    return b"".join(line.encode() + b"\n" for line in ConfigObj(config).write())


def _merge(project: Path, overrides: Overrides) -> dict[str, Any]:
    """The YAML of the project's params.yaml with the given keys in it, so that untouched sections stay as they are."""
    values = read_yaml(project / "params.yaml")
    if not isinstance(values, dict):
        raise UsageError(f"{project / 'params.yaml'}: expected sections of parameters")
    for name in overrides:
        if not isinstance(values.get(name) or {}, dict):
            raise UsageError(f"parameters: {name} is no section of parameters")
    return {
        **values,
        **{name: {**(values.get(name) or {}), **section} for name, section in overrides.items() if section},
    }


def _goes_on(journal: Path, here: Path) -> bool:
    """Whether a journal in a run folder holds what the project's holds, and live changes after that."""
    return journal.suffix == ".jsonl" and here.is_file() and here.read_bytes().startswith(journal.read_bytes())


def _write_if_changed(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        write_bytes(path, data)


def _alone(_key: str) -> AbstractContextManager[None]:
    return nullcontext()


@contextmanager
def taking_turns(
    run: DvcRun, stage: str, on_wait: Callable[[], None], across: Callable[[str], AbstractContextManager[None]] = _alone
) -> Iterator[None]:
    """Run a stage while no other run of the project does so with the same inputs; `on_wait` is called once if it waits.

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
