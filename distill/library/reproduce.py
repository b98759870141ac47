"""Building a recorded model again from its commit, data, parameters and environment settings, and comparing the two."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from distill import __version__
from distill.artifact.lineage import Environment
from distill.artifact.manifest import Manifest
from distill.artifact.model_file import EXTENSION, read_manifest
from distill.dataset.store import PreparedDataset
from distill.errors import DistillError, Interrupted, StorageError, TrackingError
from distill.files import storage_errors
from distill.live.journal import TUNABLE, Journal, parse_entry
from distill.live.stop_request import StopRequest
from distill.params import read_yaml
from distill.programs import PYTHON, own_path, reason_in
from distill.registry.catalogue import flatten
from distill.registry.registry import resolve
from distill.runs.inputs import from_project
from distill.stages.base import find_base
from distill.stages.versions import CODE_VERSIONS, FORMER_NAMES
from distill.stages.workspace import Workspace, read_report
from distill.tracking.lookup import RecordedRun, find_runs, recorded_files
from distill.versions.dvc import check_out, dvc, pointer_of, settings
from distill.versions.revision import has_commit, share_cache, worktree

Tell = Callable[[str], None]

POLL_SECONDS = 0.2
STOP_SECONDS = 20.0
# The setting of DVC that says where a remote is.
REMOTE = re.compile(r"remote\..+\.url")
# What of the environment is no version.
PROCESSOR = frozenset({"processor", "threads", "precision", "device"})


@dataclass(frozen=True)
class Rebuilt:
    """How a rebuilt model compares: `stage` is the first that gave something else (None: identical), `reasons` why."""

    digest: str
    identical: bool
    stage: str | None
    reasons: tuple[str, ...]
    commit: str
    run_id: str


def reproduce(reference: str, project: Path, *, stop: StopRequest, tell: Tell) -> Rebuilt:
    """Build a model again, in a temporary worktree of the commit it came from.

    Where the project is a clone of distill, the commit's own code runs; else the installed one, which must be of the
    version that made the model. Each stage's report holds the digests of what the stage made; the first report that
    differs names the stage.

    Args:
        reference: a model file, or NAME/VERSION or NAME@ALIAS in the registry.
        project: the project folder, under git.
        stop: asked to stop, the running stage ends and everything temporary is removed.
        tell: gets a line about each step.

    Raises:
        TrackingError: there is no record of how the model was made.
        DataError: the sounds are not there any more.
        StorageError: git, DVC or a stage failed.
        Interrupted: somebody asked to stop.
    """
    manifest = read_manifest(resolve(reference, project))
    run = _find_run(manifest, project)
    commit = _commit(run, project)
    with recorded_files(project, run.run_id, "params.yaml", "reports") as record, worktree(project, commit) as root:
        tell(f"commit {commit[:12]} in {root}")
        params = _with_environment(read_yaml(record / "params.yaml"), manifest.lineage.environment)
        path = from_project(str(params.get("data", {}).get("path", "sounds")))
        params["data"] = {**params.get("data", {}), "path": _fetch_data(project, root, path, tell)}
        _bring_base(project, root, str(params.get("vqvae", {}).get("base", "")))
        with storage_errors(root, "write into"):
            (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        _write_journals(root, manifest)
        environment = _environment(root)
        _check_code(root, environment, run.tags.get("distill.version", ""))
        recorded = Workspace(record)
        for stage, command in _commands(root):
            tell(f"{stage}: {command}")
            _run(command, root, environment, stop)
            if read_report(Workspace(root), stage) != read_report(recorded, stage):
                return Rebuilt(
                    digest=manifest.tensor_digest,
                    identical=False,
                    stage=stage,
                    reasons=_reasons(manifest, run, root, record),
                    commit=commit,
                    run_id=run.run_id,
                )
    return Rebuilt(manifest.tensor_digest, True, None, (), commit, run.run_id)


def _find_run(manifest: Manifest, project: Path) -> RecordedRun:
    """The newest run that made these weights, one from a clean tree before others."""
    found = find_runs(project, manifest.lineage.id)
    runs = [run for run in found if run.tags.get("distill.digest") == manifest.tensor_digest]
    if not runs:
        raise TrackingError(
            f"no finished run of lineage {manifest.lineage.id[:12]} with these weights is recorded here: "
            "the model was made elsewhere, or its record is gone (distill tracking sync may complete it)"
        )
    return min(runs, key=lambda run: run.tags.get("distill.dirty") == "true")


def _commit(run: RecordedRun, project: Path) -> str:
    """The commit of the project that a run was made from: that of the code where the project is a clone of distill."""
    of_code, of_project = run.tags.get("distill.commit"), run.tags.get("distill.project_commit")
    commit = of_code if of_code and has_commit(project, of_code) else of_project or of_code
    if not commit:
        raise TrackingError(
            f"run {run.run_id} was made in a folder without version control: there is no commit to rebuild it from"
        )
    return commit


def _with_environment(params: dict[str, Any], environment: Environment) -> dict[str, Any]:
    """The parameters with everything that was left to the machine as it was then."""
    settings = {name: getattr(environment, name) for name in ("device", "precision", "threads")}
    return {**params, "run": {**params.get("run", {}), **settings}}


def _write_journals(root: Path, manifest: Manifest) -> None:
    """The live changes that the model carries, in place of those of the commit."""
    entries = [parse_entry(dict(entry), "the model's journal") for entry in manifest.journal or ()]
    for stage in TUNABLE:
        Journal(Workspace(root).journal(stage), stage).replace(entries)


def _fetch_data(project: Path, root: Path, path: str, tell: Tell) -> str:
    """The `data.path` of the sounds of the commit, from the project's cache or its remote; else of those of today."""
    if not (root / path).exists() and pointer_of(root, path) is None and (project / path).exists():
        tell(f"{path} is not under version control: using its sounds as they are now")
        return str((project / path).resolve())
    if not (root / path).exists():
        tell(f"fetching {path} from DVC")
        local = project / ".dvc" / "config.local"
        if local.is_file():
            with storage_errors(root, "write into"):
                shutil.copyfile(local, root / ".dvc" / "config.local")
        share_cache(project, root)
        # The address of a remote may begin at the project, which the worktree is not.
        for name, address in settings(project).items():
            if REMOTE.fullmatch(name) and Path(address).is_absolute():
                dvc(root, "config", "--local", name, address)
    check_out(root, path, remote=True)
    return path


def _bring_base(project: Path, root: Path, base: str) -> None:
    """Put the model file of the project that a training started from where the stages look for it."""
    path = PurePath(base)
    if not base.endswith(EXTENSION) or path.is_absolute() or ".." in path.parts or (root / path).exists():
        return
    found = find_base(base, project)
    if found.is_file():
        with storage_errors(root, "write into"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found, root / path)


def _environment(root: Path) -> dict[str, str]:
    """The environment of the stages: the commit's own code before what is installed, nothing recorded."""
    own = [str(root)] if (root / "distill" / "__init__.py").is_file() else []
    paths = [*own, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PATH": own_path(),
        "PYTHONPATH": os.pathsep.join(paths),
        "DISTILL_TRACKING": "off",
    }


def _check_code(root: Path, environment: Mapping[str, str], version: str) -> None:
    """Make sure that what runs is the commit's code, or the version that made the model where it holds none."""
    if not (root / "distill" / "__init__.py").is_file():
        if version != __version__:
            raise StorageError(
                f"the model was made by distill {version or 'of unknown version'}, but {__version__} is installed: "
                f"install it with pip install 'distill-audio=={version}', in an environment of its own"
            )
        return
    code = "import distill; print(distill.__file__)"
    done = subprocess.run([*PYTHON, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=False)
    if not Path(done.stdout.strip() or "/").is_relative_to(root):
        raise StorageError(
            f"Python finds {done.stdout.strip() or 'no distill'} before the code of the commit in {root}"
        )


def _commands(root: Path) -> list[tuple[str, str]]:
    """The pipeline's own stages in the commit's dvc.yaml in their order, each with its command."""
    stages = read_yaml(root / "dvc.yaml").get("stages", {})
    own = {name: stage for name, stage in stages.items() if FORMER_NAMES.get(name, name) in CODE_VERSIONS}
    return [(name, str(stage["cmd"])) for name, stage in own.items()]


def _run(command: str, root: Path, environment: Mapping[str, str], stop: StopRequest) -> None:
    stop.check()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        child = subprocess.Popen(
            command.split(), cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=output, start_new_session=True
        )
        try:
            while True:
                try:
                    code = child.wait(timeout=POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if stop.asked:
                        raise Interrupted("interrupted; nothing was kept") from None
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(timeout=STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    child.kill()
        if code:
            output.seek(0)
            reason = reason_in(output.read()).removeprefix("distill: ")
            raise StorageError(f"{command} failed in the rebuilt tree: {reason}")


def _environment_here(manifest: Manifest) -> dict[str, Any]:
    """What the lineage of a model made here, with the same settings, would say of the environment."""
    from distill.stages.lineage import environment_of
    from distill.training.runtime import Runtime

    then = manifest.lineage.environment
    runtime = Runtime(
        device=then.device,
        precision=then.precision,
        threads=then.threads,
        seed=manifest.lineage.seed,
        arithmetic=then.arithmetic,
    )
    return environment_of(runtime).model_dump(mode="json")


def _reasons(manifest: Manifest, run: RecordedRun, root: Path, record: Path) -> tuple[str, ...]:
    """The differences in words; all others may follow from the first."""
    data, parameters = _data(manifest, root), _parameters(root, record)
    found = [*data, *(parameters if not data else []), *_code(manifest, run, root), *_environments(manifest)]
    return tuple(found) or ("no known difference: the same code gave something else here",)


def _data(manifest: Manifest, root: Path) -> list[str]:
    then = manifest.lineage.data_digest
    try:
        now = PreparedDataset(root / "prepared").digest
    except DistillError as error:
        return [f"data: {error}"]
    if now == then:
        return []
    return [f"data: the sounds are others than those that the model was made of (digest {then[:12]}, now {now[:12]})"]


def _parameters(root: Path, record: Path) -> list[str]:
    """The resolved parameters that differ, once they are resolved."""
    try:
        then, now = (flatten(read_report(Workspace(folder), "configure")) for folder in (record, root))
    except DistillError:
        return []
    differing = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    return [f"parameters: {name} was {then.get(name)} then and is {now.get(name)} now" for name in differing]


def _code(manifest: Manifest, run: RecordedRun, root: Path) -> list[str]:
    commands = {name: command.split() for name, command in _commands(root)}
    found = list[str]()
    for stage, version in manifest.lineage.code_versions.items():
        words = commands.get(stage) or commands.get(FORMER_NAMES.get(stage, ""), [])
        asked = words[words.index("--code") + 1] if "--code" in words else str(version)
        if asked != str(version):
            found.append(f"code: {stage} was of version {version} then, the commit asks for {asked}")
    if run.tags.get("distill.dirty") == "true":
        found.append("code: the tree held changes that were in no commit")
    return found


def _environments(manifest: Manifest) -> list[str]:
    """Versions first, then the processor and what is set for it."""
    here = _environment_here(manifest)
    then = manifest.lineage.environment.model_dump(mode="json")
    differing = sorted((name for name in then if then[name] != here[name]), key=lambda name: name in PROCESSOR)
    return [
        f"{'processor' if name in PROCESSOR else 'versions'}: {name} was {then[name]} then and is {here[name]} now"
        for name in differing
    ]
