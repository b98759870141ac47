"""Training from a folder of sounds in a workspace of its own, resumed by the same call."""

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from distill.artifact.container import digest_tensors
from distill.artifact.manifest import parse_manifest
from distill.artifact.model_file import EXTENSION, read_manifest, read_model, write_model
from distill.configs import ModelConfig
from distill.errors import DataError, DistillError, UsageError
from distill.files import digest_json, replacing, storage_errors
from distill.live.events import Listener, Listeners
from distill.live.journal import Journal, effective_by_stage, parse_entry
from distill.live.status import StatusListener
from distill.live.stopping import StopRequest
from distill.params import Params, parse_params, read_params, write_params
from distill.stages.pipeline import STAGES, run_stages
from distill.stages.workspace import Call, Workspace, read_report

# Gives a listener for what runs in a workspace, as long as it runs.
Watch = Callable[[Workspace], AbstractContextManager[Listener]]

RUNS = Path("runs")
MODELS = Path("models")


@dataclass(frozen=True)
class Outcome:
    """What was done: the model file (None before its last stage), the workspace and the report of each stage."""

    model: Path | None
    workspace: Path
    reports: dict[str, dict[str, Any]]


def train_folder(
    source: Path,
    params: Params,
    *,
    name: str | None,
    output: Path | None,
    fresh: bool,
    force: bool,
    emit: Listeners,
    watch: Watch,
    stop: StopRequest,
    replay: Sequence[Path] = (),
    until: str | None = None,
) -> Outcome:
    """Train both models on a folder of sounds (or one file).

    The workspace is `runs/<folder>-<key>`, where the key follows from the folder's path and the parameters: the same
    call goes on where an earlier one stopped. `fresh` forgets what the earlier one did. `watch` gives one more listener
    once the workspace is known. The changes in the journals of `replay` are made again, at their steps; such a training
    has a workspace of its own. `until` names the last stage to run; a call without it goes on from there.

    Raises:
        ArtifactError: a journal cannot be read.
        DataError: there is no such folder, or no usable sound in it.
        UsageError: the output is there already and is another model, or there is no stage `until`.
        StorageError: something cannot be written.
        Interrupted: somebody asked to stop.
    """
    source = _existing(source)
    stages = _stages_until(until)
    changes = effective_by_stage(replay)
    key = _key(source, params, *([digest_json(changes)] if changes else []))
    workspace, params = _open(source, params, name, key=key, fresh=fresh)
    for stage, entries in changes.items():
        journal = Journal(workspace.journal(stage), stage)
        if not journal.entries():
            journal.replace([parse_entry(entry, f"--replay, {stage}") for entry in entries])
    target = output or MODELS / f"{params.model.name}{EXTENSION}"
    _check_target(target, workspace, force)
    with watch(workspace) as watcher:
        reports = run_stages(Call(workspace, _heard(emit, watcher, workspace), stop), stages)
    model = _deliver(workspace, params, target) if stages == STAGES else None
    return Outcome(model, workspace.root, reports)


def workspace_for(source: Path, params: Params) -> Path:
    """The workspace, below the current folder, in which `train_folder` trains on a folder with these parameters.

    Raises:
        DataError: there is no such folder.
    """
    source = _existing(source)
    return _workspace(source, _key(source, params)).root


def train_prior_for(
    model_path: Path,
    source: Path,
    params: Params,
    *,
    name: str | None,
    output: Path | None,
    fresh: bool,
    emit: Listeners,
    watch: Watch,
    stop: StopRequest,
) -> Outcome:
    """Train a prior on a folder of sounds for the VQ-VAE of a model file.

    The model file is replaced whole by one with the new prior, unless `output` names another.

    Raises:
        ArtifactError: the model file cannot be used.
        DataError, StorageError, Interrupted: as in `train_folder`.
    """
    source = _existing(source)
    model = read_model(model_path)
    values = params.model_dump(mode="json", by_alias=True)
    values["spectrogram"] = model.manifest.spectrogram_config.model_dump(mode="json")
    known = model.manifest.metadata
    values["model"] = {"name": _file_name(known.name), "description": known.description, "tags": list(known.tags)}
    params = parse_params(values, where=str(model_path))
    digest = digest_tensors(model.vqvae_state)
    workspace, params = _open(source, params, name or params.model.name, key=_key(source, params, digest), fresh=fresh)
    _check_writable(output or model_path)
    document = {**dict(model.manifest), "prior_config": None, "prior_metadata": None, "memorization": None}
    document |= {"inverse": None, "vocoder_config": None, "vocoder_metadata": None}
    write_model(workspace.vqvae, parse_manifest(document, model_path), model.vqvae_state)
    with watch(workspace) as watcher:
        call = Call(workspace, _heard(emit, watcher, workspace), stop)
        reports = run_stages(call, [stage for stage in STAGES if stage != "train_vqvae"])
    return Outcome(_deliver(workspace, params, output or model_path), workspace.root, reports)


def _heard(emit: Listeners, watcher: Listener, workspace: Workspace) -> Listeners:
    return emit.with_listener(watcher).with_listener(StatusListener(workspace.root))


def _existing(source: Path) -> Path:
    if not source.exists():
        raise DataError(f"{source}: no such folder of sounds")
    return source.resolve()


def _key(source: Path, params: Params, *more: str) -> str:
    values = params.model_dump(mode="json", by_alias=True)
    del values["model"], values["data"]["path"]
    return digest_json([str(source), values, *more])[:8]


def _stages_until(until: str | None) -> tuple[str, ...]:
    if until is None:
        return STAGES
    if until not in STAGES:
        raise UsageError(f"there is no stage {until!r}; stages: {', '.join(STAGES)}")
    return STAGES[: STAGES.index(until) + 1]


def _workspace(source: Path, key: str) -> Workspace:
    return Workspace(RUNS / f"{_file_name(source.stem)}-{key}")


def _open(source: Path, params: Params, name: str | None, *, key: str, fresh: bool) -> tuple[Workspace, Params]:
    """The workspace for these inputs, with its params.yaml; a model's name is given once and then kept."""
    workspace = _workspace(source, key)
    if fresh and workspace.root.exists():
        with storage_errors(workspace.root, "remove"):
            shutil.rmtree(workspace.root)
    if name is None and workspace.params_file.is_file():
        name = read_params(workspace.params_file).model.name
    if name is None:
        name = f"{_file_name(source.stem)}-{datetime.now():%Y%m%d-%H%M%S}"
    values = params.model_dump(mode="json", by_alias=True)
    values["data"]["path"] = str(source)
    values["model"]["name"] = name
    params = parse_params(values, where="--model-name")
    write_params(workspace.params_file, params)
    return workspace, params


def _file_name(text: str) -> str:
    """A text as a model's name: what may not stand there becomes a dash."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:60]
    return name or ModelConfig().name


def _check_target(target: Path, workspace: Workspace, force: bool) -> None:
    _check_writable(target)
    if force or not target.exists():
        return
    try:
        mine = read_report(workspace, "register")["digest"] == read_manifest(target).tensor_digest
    except DistillError:
        mine = False
    if not mine:
        raise UsageError(f"{target} is there already and is another file: choose another name, or add --force")


def _check_writable(target: Path) -> None:
    if target.is_dir():
        raise UsageError(f"{target} is a folder: name a file, such as {target / 'model.distill'}")
    with storage_errors(target.parent, "write into"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass


def _deliver(workspace: Workspace, params: Params, target: Path) -> Path:
    with replacing(target) as temporary:
        shutil.copyfile(workspace.model(params.model.name), temporary)
    return target
