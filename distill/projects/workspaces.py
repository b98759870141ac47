"""A run's own DVC project inside a project: made, locked while it is used, and published back when it fits."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from distill.errors import StorageError, UsageError
from distill.files import digest_json, storage_errors, write_bytes
from distill.params import Params, parse_params, read_yaml
from distill.projects.command import dvc
from distill.projects.data import check_out
from distill.projects.locks import lock
from distill.projects.project import mark_workspace
from distill.stages.workspace import Workspace

RUNS = Path("runs")
# Besides params.yaml, what decides what DVC has to run.
COPIED = ("dvc.yaml", "journal/train_vqvae.jsonl", "journal/train_prior.jsonl")

Overrides = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class RunWorkspace:
    """A workspace of a project; `own` says whether its parameters are the project's own."""

    workspace: Workspace
    project: Path
    own: bool

    @property
    def root(self) -> Path:
        """Its folder."""
        return self.workspace.root


def with_overrides(project: Path, overrides: Overrides) -> Params:
    """The project's parameters with others in their place.

    Raises:
        UsageError: an unknown name, or a value that is wrong.
        StorageError: params.yaml cannot be read.
    """
    return parse_params(_merged(project, overrides), where="parameters")


def open_workspace(project: Path, overrides: Overrides) -> RunWorkspace:
    """The workspace for a project's parameters with these overrides: the same ones lead to the same workspace.

    Raises:
        UsageError: a parameter is wrong.
        DataError: the sounds are not there.
        StorageError: the workspace cannot be made.
    """
    params = with_overrides(project, overrides)
    sounds = check_out(project, params.data.path)
    key = digest_json([params.model_dump(mode="json", by_alias=True), str(sounds)])[:8]
    root = project / RUNS / f"{sounds.stem}-{key}"
    with storage_errors(root, "write into"):
        _initialize(root, project)
        for name in COPIED:
            if (project / name).is_file() and not _goes_on(project / name, root / name):
                _copy(project / name, root / name)
        own = not overrides or params == with_overrides(project, {})
        data = (project / "params.yaml").read_bytes() if own else _dumped(_merged(project, overrides))
        _write_if_changed(root / "params.yaml", data)
        _link(root / params.data.path, sounds)
    return RunWorkspace(Workspace(root), project, own)


@contextmanager
def locked(workspace: RunWorkspace, on_wait: Callable[[], None]) -> Iterator[int]:
    """Use a workspace alone: whoever comes second waits, told once by `on_wait`; the system frees what a dead one held.

    Gives the descriptor of the lock, for `run_stage`: a stage that outlives a killed caller for a moment keeps it.

    Raises:
        StorageError: the lock cannot be made.
        Interrupted: this process runs no more stages.
    """
    with lock(workspace.root / ".distill" / "run.lock", on_wait) as descriptor:
        yield descriptor


def publish(workspace: RunWorkspace) -> str | None:
    """Make a finished run the project's own, so that `dvc repro` there has nothing to do; None, or why it is not.

    Raises:
        StorageError: DVC failed.
    """
    if not workspace.own:
        return "its parameters are not those of params.yaml"
    root, project = workspace.root, workspace.project
    with lock(project / ".distill" / "publish.lock", lambda: None):
        for name in ("params.yaml", *COPIED):
            if _bytes(project / name) != _bytes(root / name):
                return f"{name} has changed since"
        # The workspace's sounds are the project's: what changed since shows here.
        if "up to date" not in dvc(root, "status"):
            return "the sounds have changed since"
        before = _bytes(project / "dvc.lock")
        write_bytes(project / "dvc.lock", (root / "dvc.lock").read_bytes())
        try:
            dvc(project, "checkout", *_stages(project))
        except StorageError as error:
            if before is None:
                (project / "dvc.lock").unlink()
            else:
                write_bytes(project / "dvc.lock", before)
            return f"files in the project are in the way ({error})"
    return None


def _stages(project: Path) -> list[str]:
    return list(read_yaml(project / "dvc.yaml").get("stages", {}))


def _initialize(root: Path, project: Path) -> None:
    if (root / ".dvc" / "config").is_file():
        return
    cache = dvc(project, "cache", "dir").strip()
    mark_workspace(root, project)
    config = f"[core]\n    no_scm = True\n    analytics = false\n    check_update = false\n[cache]\n    dir = {cache}\n"
    write_bytes(root / ".dvc" / "config", config.encode())


def _merged(project: Path, overrides: Overrides) -> dict[str, Any]:
    """The YAML of the project's params.yaml with the given keys in it, so that untouched sections stay as they are."""
    values = read_yaml(project / "params.yaml")
    if not isinstance(values, dict):
        raise UsageError(f"{project / 'params.yaml'}: expected sections of parameters")
    return {
        **values,
        **{name: {**(values.get(name) or {}), **section} for name, section in overrides.items() if section},
    }


def _dumped(values: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True).encode()


def _link(target: Path, sounds: Path) -> None:
    """A link to the project's sounds at their own relative path; sounds elsewhere are named by their absolute path."""
    if target == sounds or target.is_symlink():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(sounds.resolve(), target_is_directory=True)


def _goes_on(journal: Path, here: Path) -> bool:
    """Whether a journal in a workspace holds what the project's holds, and live changes after that."""
    known = _bytes(here)
    return journal.suffix == ".jsonl" and known is not None and known.startswith(_bytes(journal) or b"")


def _copy(source: Path, target: Path) -> None:
    _write_if_changed(target, source.read_bytes())


def _write_if_changed(path: Path, data: bytes) -> None:
    if _bytes(path) != data:
        write_bytes(path, data)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
