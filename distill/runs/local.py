"""Runs in this process: stages one after the other, watched and recorded; whole trainings from a folder of sounds."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.artifact.container import digest_tensors
from distill.artifact.manifest import Manifest, parse_manifest
from distill.artifact.model_file import EXTENSION, read_manifest, read_model, write_model
from distill.errors import DataError, DistillError, StorageError, UsageError
from distill.files import read_json, replacing, require_suffix, storage_errors, write_json
from distill.live.events import Listeners, Warned
from distill.live.journal import Journal, effective_by_stage, parse_entry
from distill.live.status import StatusListener
from distill.live.stop_request import StopRequest
from distill.params import Params, parse_params, write_params
from distill.projects.models import MODELS
from distill.projects.project import project_of
from distill.runs.folder import Order, open_folder
from distill.runs.forecast import Outlook
from distill.runs.inputs import Inputs, as_name, bring_sounds, named_params, settings_of, source_of, with_section
from distill.runs.removal import DELIVERED, clear, remove
from distill.stages.pipeline import STAGES, require_stage, run_stage
from distill.stages.versions import FORMER_NAMES
from distill.stages.workspace import Call, Workspace, read_report
from distill.tracking.listener import started_by, track

# Runs a stage and gives its report.
Executor = Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """The model file (None before the last stage), the run's folder and the report of each stage."""

    model: Path | None
    workspace: Path
    reports: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """How a training is done, whatever it follows from.

    Attributes:
        project: folder with `runs/` and `models/`.
        name: of the model; None: that of the file to write, else the one that it has, else made of the folder and the
            time.
        output: model file to write; None: `models/NAME.distill`, or the given model itself.
        fresh: forget what an earlier call did.
        emit: gets the events.
        stop: asked to stop, the training saves its state and ends.
    """

    project: Path
    name: str | None
    output: Path | None
    fresh: bool
    emit: Listeners
    stop: StopRequest

    @property
    def given_name(self) -> str | None:
        """The model's name as far as the call says it."""
        if self.name is None and self.output is not None:
            return as_name(self.output.stem)
        return self.name


def train_folder(
    source: Path,
    params: Params,
    options: Options,
    *,
    force: bool = False,
    replay: Sequence[Path] = (),
    until: str | None = None,
) -> Outcome:
    """Train both models on a folder of sounds (or one file).

    The run's folder follows from the sounds and the parameters: the same call goes on where an earlier one stopped.

    Args:
        source: the sounds.
        params: all parameters; its `data.path` and the model's name are not looked at.
        options: how it is done.
        force: replace another model file.
        replay: journals whose changes are made again, at their steps, in a run of its own.
        until: the last stage to run; a call without it goes on from there.

    Raises:
        ArtifactError: a journal cannot be read.
        DataError: there is no such folder, or no usable sound in it.
        UsageError: there is no stage `until`.
        TrainingError: the run goes on elsewhere; nothing is changed then.
        StorageError: something cannot be written, or the output exists and is another model.
        Interrupted: somebody asked to stop.
    """
    stages = stages_until(until)
    changes = effective_by_stage(replay)
    inputs = Inputs(options.project, source_of(options.project, source), params, changes)
    params = named_params(inputs, options.given_name, keep=not options.fresh)
    target = options.output or options.project / MODELS / f"{params.model.name}{EXTENSION}"
    _check_target(target, Workspace(inputs.root), force)
    with _open(inputs, params, options, again=not changes, until=until) as workspace:
        for stage, entries in changes.items():
            journal = Journal(workspace.journal(stage), stage)
            if not journal.entries():
                journal.replace([parse_entry(entry, f"--replay, {stage}") for entry in entries])
        return _run(workspace, options, stages, target, force=force)


def train_prior_for(
    model_path: Path, source: Path, params: Params, options: Options, *, force: bool = False
) -> Outcome:
    """Train a prior on a folder of sounds for the VQ-VAE of a model file.

    The model file is replaced whole by one with the new prior, unless `options.output` names another; that one
    replaces another model file only with `force`. Spectrogram and VQ-VAE are the model's, and so are its name,
    description and tags unless others are given.

    Raises:
        ArtifactError: the model file cannot be used.
        DataError, UsageError, TrainingError, StorageError, Interrupted: as in `train_folder`.
    """
    named = source_of(options.project, source)
    model = read_model(model_path)
    known = model.manifest.metadata
    values = params.model_dump(mode="json", by_alias=True)
    values["spectrogram"] = model.manifest.spectrogram_config.model_dump(mode="json")
    # The codes that the prior is planned for.
    values["vqvae"]["num_quantizers"] = model.manifest.vqvae_config.num_quantizers
    values["model"] = {
        "name": as_name(known.name),
        "description": params.model.description or known.description,
        "tags": list(params.model.tags or known.tags),
    }
    params = parse_params(values, where=str(model_path))
    target = options.output or model_path
    force = force or target.resolve() == model_path.resolve()
    inputs = Inputs(options.project, named, params, model=digest_tensors(model.vqvae_state))
    _check_target(target, Workspace(inputs.root), force)
    params = named_params(inputs, options.given_name or params.model.name)
    with _open(inputs, params, options, again=False, until=None) as workspace:
        if model.manifest.vocoder_config is not None and not params.vocoder.enabled:
            said = f"the vocoder of {model_path} is left out: --set vocoder.enabled=true trains one"
            options.emit(Warned("train_vocoder", "no_vocoder", said))
        write_model(workspace.vqvae, _vqvae_alone(model.manifest, model_path), model.vqvae_state)
        return _run(workspace, options, tuple(stage for stage in STAGES if stage != "train_vqvae"), target, force=force)


def _vqvae_alone(manifest: Manifest, path: Path) -> Manifest:
    """What a model's file says of its VQ-VAE, without all that came behind it."""
    parts = [f"{part}_{what}" for part in ("prior", "vocoder", "space") for what in ("config", "metadata")]
    known, prior = manifest.metadata, manifest.prior_metadata
    of_prior = () if prior is None else prior.memorization_warnings
    warnings = [warning for warning in known.warnings if warning not in of_prior]
    changes = [entry for entry in manifest.journal or () if entry["stage"] == "train_vqvae"]
    return parse_manifest(
        {
            **dict(manifest),
            **dict.fromkeys([*parts, "inverse", "memorization"]),
            "metadata": {**known.model_dump(mode="json"), "warnings": warnings},
            "journal": changes or None,
        },
        path,
    )


def stages_until(until: str | None) -> tuple[str, ...]:
    """The stages up to one of them; None: all.

    Raises:
        UsageError: there is no such stage.
    """
    if until is None:
        return STAGES
    until = FORMER_NAMES.get(until, until)
    require_stage(until)
    return STAGES[: STAGES.index(until) + 1]


@contextmanager
def watch(workspace: Workspace, emit: Listeners, stop: StopRequest, *, ahead: Sequence[str]) -> Iterator[Executor]:
    """Runs stages of a workspace in this process, with their status, their time and their record in MLflow kept.

    Args:
        workspace: the folder.
        emit: gets the events, too.
        stop: asked to stop, the stage saves its state and ends.
        ahead: the stages whose time is forecast, from the first that runs on; none: nothing is.
    """
    with track(workspace) as recorder:
        emit = emit.with_listener(recorder).with_listener(StatusListener(workspace.root))
        # What is planned is known behind `prepare`.
        if ahead and ahead[-1] != "prepare":
            emit = emit.with_listener(Outlook(project_of(workspace.root), workspace, ahead, emit))
        yield lambda stage: run_stage(stage, Call(workspace, emit, stop))


@contextmanager
def _open(inputs: Inputs, params: Params, options: Options, *, again: bool, until: str | None) -> Iterator[Workspace]:
    """The run's folder with its params.yaml; a new one that a command filled in vain is removed."""
    root, starter = inputs.root, started_by()
    new = not root.exists()

    def make() -> None:
        if options.fresh:
            clear(root)
        path = bring_sounds(root, inputs.project, inputs.source)
        write_params(root / "params.yaml", with_section(params, "data", path=path))

    order = Order(inputs.source, settings_of(params), params.model.name, until, starter, again)
    try:
        with open_folder(root, order, make):
            yield Workspace(root)
    except (DataError, UsageError):
        # The command prints the reason; the page reads it in the run's folder.
        if new and starter == "cli" and not (root / "reports").exists():
            remove(root)
        raise


def _run(workspace: Workspace, options: Options, stages: Sequence[str], target: Path, *, force: bool) -> Outcome:
    with watch(workspace, options.emit, options.stop, ahead=stages) as run:
        reports = {stage: run(stage) for stage in stages}
    if "assemble" not in reports:
        return Outcome(None, workspace.root, reports)
    made = workspace.root / reports["assemble"]["model"]
    try:
        # Another training may have ended there meanwhile.
        _check_target(target, workspace, force)
    except DistillError as error:
        raise StorageError(f"{error}; the model that was trained is {made}") from error
    with replacing(target) as temporary:
        shutil.copyfile(made, temporary)
    _note_delivered(workspace, reports["assemble"]["digest"])
    return Outcome(target, workspace.root, reports)


def _check_target(target: Path, workspace: Workspace, force: bool) -> None:
    require_suffix(target, EXTENSION)
    _check_writable(target)
    if force or not target.exists():
        return
    mine = set(_delivered(workspace))
    with suppress(DistillError):
        mine.add(read_report(workspace, "assemble")["digest"])
    try:
        known = read_manifest(target).tensor_digest in mine
    except DistillError:
        known = False
    if not known:
        raise StorageError(f"{target} exists and is another file: choose another file, or replace it with --force")


def _delivered(workspace: Workspace) -> list[str]:
    """The digests of the models that a run has delivered; also of those that were trained before a fresh start."""
    with suppress(DistillError):
        return list(read_json(workspace.root / DELIVERED, what="note of delivered models", schema=1)["digests"])
    return []


def _note_delivered(workspace: Workspace, digest: str) -> None:
    digests = dict.fromkeys([*_delivered(workspace), digest])
    write_json(workspace.root / DELIVERED, {"schema": 1, "digests": list(digests)})


def _check_writable(target: Path) -> None:
    if target.is_dir():
        raise UsageError(f"{target} is a folder: name a file, such as {target / 'model.distill'}")
    with storage_errors(target.parent, "write into"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
