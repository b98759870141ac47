"""Registering a model file: packed as MLflow runs it, with tags, figures and a description, as a new version."""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import distill
from distill.artifact.facts import health_of, light_of, perplexity_of, verdict_of
from distill.artifact.manifest import Manifest
from distill.artifact.model_file import EXTENSION, read_model
from distill.files import digest_file, write_json
from distill.registry.registry import (
    CANDIDATE,
    DIGEST,
    RegisteredVersion,
    check_name,
    file_of,
    read_intact,
    registry_lock,
    versions,
)
from distill.registry.signing import read_signature, write_signature
from distill.registry.stored import (
    ARTIFACTS,
    MANIFEST,
    MANIFEST_SCHEMA,
    create_name,
    delete_if_empty,
    is_lost,
    model_id_of,
    remove_stored,
    store,
    store_signature,
)
from distill.tracking.address import client_of, experiment_of, tracking_errors
from distill.tracking.lookup import LINEAGE, find_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What makes sounds: these packages and modules of distill import nothing else of it.
CODE = (
    *("__init__.py", "arithmetic.py", "configs.py", "errors.py", "evenly.py", "files.py", "instructions.py"),
    *("mel_scale.py", "params.py", "programs.py", "validation.py", "words.py"),
    *("artifact", "audio", "codec", "dataset", "generation", "live", "locks.py", "models", "training"),
    *(f"workers/{name}.py" for name in ("__init__", "choice", "place", "processes")),
    *("registry/__init__.py", "registry/served.py"),
)
# And these packages are all that they need beside MLflow, in the versions that are installed here.
NEEDED = (
    *("numpy", "pandas", "platformdirs", "psutil", "pydantic", "pyyaml", "safetensors", "scipy", "soundfile", "soxr"),
    *("torch", "torchaudio", "vector-quantize-pytorch"),
)
# Databases of servers hold no longer ones.
_LONGEST_DESCRIPTION = 5000

_logger = logging.getLogger(__name__)


def register(model: Path, project: Path, *, run_id: str | None = None, name: str | None = None) -> RegisteredVersion:
    """Register a model file as a new version, a candidate; the same model is registered once.

    Models are the same if weights and lineage are, so a model that was checked again is another version.
    The signature beside the file goes along, also when the same file was registered before.

    Args:
        model: the file, which is checked whole.
        project: the project whose registry it goes into.
        run_id: the run that made it; by default the newest recorded one with its lineage, else a new run.
        name: name in the registry; by default the model's own.

    Raises:
        ArtifactError, StorageError: the file cannot be used, or has no prior.
        UsageError: the name cannot be one.
        TrackingError: the registry cannot be used; nothing is registered then.
    """
    manifest = read_model(model).manifest
    name = check_name(name or manifest.metadata.name)
    client = client_of(project)
    with registry_lock(project), tracking_errors(project):
        of_name = versions(project, name)
        for known in of_name:
            if known.is_of(manifest):
                if is_lost(known.source) and known.run_id:
                    _store(model, manifest, known.source, project, run_id=known.run_id)
                _take_signature(known, model, project)
                if known is of_name[0] and not any(CANDIDATE in each.aliases for each in of_name):
                    client.set_registered_model_alias(name, CANDIDATE, str(known.version))
                    known = replace(known, aliases=tuple(sorted({*known.aliases, CANDIDATE})))
                return known
        read_intact(model, generates=True)
        return _register(client, project, model, manifest, name, run_id)


def tags_of(manifest: Manifest) -> dict[str, str]:
    """The tags of a registered version."""
    light = light_of(manifest)
    return {
        DIGEST: manifest.tensor_digest,
        LINEAGE: manifest.lineage.id,
        "distill.verdict": verdict_of(manifest),
        "distill.health": f"{light.light}: {light.words}",
        "distill.dataset": manifest.metadata.dataset,
        "distill.preset": manifest.metadata.preset,
    }


def figures_of(manifest: Manifest) -> dict[str, float]:
    """The metrics of a registered model: its figures on held-out sounds, and the use of each codebook."""
    metadata = manifest.metadata
    found = {
        "model/lsd_db": metadata.best_val_lsd_db,
        "model/vqvae_loss": metadata.best_val_loss,
        "model/prior_perplexity": perplexity_of(manifest),
    }
    for level, health in health_of(manifest).items():
        found |= {f"model/{level}/{name}": health[name] for name in ("utilization", "perplexity", "dead_codes")}
    return {name: float(value) for name, value in found.items() if value is not None and value == value}


def description_of(manifest: Manifest) -> str:
    """The description of a registered version, in Markdown."""
    metadata, verdict = manifest.metadata, manifest.memorization
    figures = {
        "held-out distance in dB": metadata.best_val_lsd_db,
        "held-out loss": metadata.best_val_loss,
        "held-out perplexity": perplexity_of(manifest),
    }
    lines = [
        metadata.description,
        f"Trained on {metadata.train_files} of {metadata.file_count} sounds from {metadata.dataset}; "
        f"{manifest.vqvae_config.num_quantizers} levels of {manifest.vqvae_config.codebook_size} codes: "
        f"{light_of(manifest).words}.",
        "; ".join(f"{name} {value:.4g}" for name, value in figures.items() if value is not None),
        f"Memorization: {verdict_of(manifest)}. {'; '.join(verdict.reasons) if verdict else ''}",
        *metadata.warnings,
    ]
    return "\n\n".join(line.strip() for line in lines if line.strip())[:_LONGEST_DESCRIPTION]


def _package(model: Path, manifest: Manifest, folder: Path, *, run_id: str, model_id: str | None) -> None:
    """Make a folder that MLflow loads and serves.

    Args:
        model: the `.distill` file, which is copied with the signature beside it.
        manifest: what it says of itself.
        folder: the folder to make.
        run_id: the run that made it.
        model_id: what MLflow knows it by; None: as a model of a run.
    """
    # The name of the file in the registry is the model's, whatever it was called here.
    named = folder.parent / f"{manifest.metadata.name}{EXTENSION}"
    shutil.copyfile(model, named)
    with warnings.catch_warnings():
        # MLflow uses what other packages will remove.
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        import pandas as pd
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ColSpec, DataType, Schema, TensorSpec

        inputs: list[ColSpec | TensorSpec] = [
            ColSpec(DataType.long, "seed"),
            ColSpec(DataType.double, "seconds", required=False),
            ColSpec(DataType.double, "temperature", required=False),
            ColSpec(DataType.long, "top_k", required=False),
            ColSpec(DataType.double, "top_p", required=False),
        ]
        if manifest.prior_config is not None and (conditions := manifest.prior_config.conditions) is not None:
            inputs += [ColSpec(DataType.string, "label", required=False)] if conditions.labels else []
            inputs += [ColSpec(DataType.double, name, required=False) for name in conditions.knobs]
        if manifest.space_config is not None:
            inputs.append(ColSpec(DataType.long, "channels", required=False))
            inputs.append(ColSpec(DataType.double, "width", required=False))
        outputs: list[ColSpec | TensorSpec] = [
            ColSpec(DataType.long, "seed"),
            ColSpec(DataType.long, "sample_rate"),
            ColSpec(DataType.double, "seconds"),
            ColSpec(DataType.string, "audio"),
        ]
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"model": str(named)},
            # The sounds of a seed are those of `distill generate` on the same kind of device.
            model_config={"device": "cpu"},
            mlflow_model=Model(run_id=run_id, model_id=model_id),
            signature=ModelSignature(Schema(inputs), Schema(outputs)),
            input_example=pd.DataFrame([{"seed": 0, "seconds": 1.0, "temperature": 1.0, "top_k": 0, "top_p": 1.0}]),
            # The model makes the same sounds where distill is not installed, or in another version.
            code_paths=[str(_code(folder.parent))],
            # Named, so that MLflow does not run the model in order to find them.
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in NEEDED],
            metadata={"digest": manifest.tensor_digest, "lineage": manifest.lineage.id},
        )
    if (signature := read_signature(model)) is not None:
        write_signature(folder / ARTIFACTS / named.name, signature)
    write_json(folder / MANIFEST, {"schema": MANIFEST_SCHEMA, "manifest": manifest.document()})


def _register(
    client: "MlflowClient", project: Path, model: Path, manifest: Manifest, name: str, run_id: str | None
) -> RegisteredVersion:
    with ExitStack() as undo:
        run_id = run_id or _run_of(client, project, manifest, name, undo)
        tags, experiment = tags_of(manifest), client.get_run(run_id).info.experiment_id
        logged = client.create_logged_model(experiment, name, run_id, tags, model_type="distill")
        _undo(undo, client.delete_logged_model, logged.model_id)
        source = str(logged.artifact_location)
        _undo(undo, remove_stored, source, project)
        _store(model, manifest, source, project, run_id=run_id)
        for key, value in figures_of(manifest).items():
            client.log_metric(run_id, key, value, model_id=logged.model_id)
        client.finalize_logged_model(logged.model_id, "READY")
        create_name(client, name, manifest.metadata.description)
        _undo(undo, delete_if_empty, client, name)
        made = client.create_model_version(
            name, source, run_id, tags, description=description_of(manifest), model_id=logged.model_id
        )
        _undo(undo, client.delete_model_version, name, made.version)
        first = _registered_first(project, name, manifest)
        if first.version < int(made.version):
            # `undo` takes back what this call made.
            return first
        client.set_registered_model_alias(name, CANDIDATE, made.version)
        undo.pop_all()
    digest, lineage = manifest.tensor_digest, manifest.lineage.id
    return RegisteredVersion(name, int(made.version), digest, lineage, run_id, (CANDIDATE,), source, created=True)


def _registered_first(project: Path, name: str, manifest: Manifest) -> RegisteredVersion:
    """The oldest version of a model: another machine, which no lock of this one holds off, may register it, too.

    Numbers are given in turn, so the holder of a later one sees all earlier ones.
    """
    return [known for known in versions(project, name) if known.is_of(manifest)][-1]


def _undo(undo: ExitStack, act: Callable[..., object], *arguments: object) -> None:
    """Do something when what follows fails; what fails then, too, hides nothing of the reason."""

    def quietly() -> None:
        with suppress(Exception):
            act(*arguments)

    undo.callback(quietly)


def _store(model: Path, manifest: Manifest, source: str, project: Path, *, run_id: str) -> None:
    with tempfile.TemporaryDirectory(prefix="distill-register-") as temporary:
        folder = Path(temporary) / "model"
        _package(model, manifest, folder, run_id=run_id, model_id=model_id_of(source))
        store(folder, source, project)


def _take_signature(known: RegisteredVersion, model: Path, project: Path) -> None:
    """Let a version that is there already have the signature of the file that it was made from."""
    signature = read_signature(model)
    if signature is None:
        return
    stored = file_of(known, project)
    if digest_file(stored) == digest_file(model):
        store_signature(known.source, stored, signature, project)
    else:
        _logger.warning("the signature of %s is not copied: %s was made from another file", model, known.reference)


def _run_of(client: "MlflowClient", project: Path, manifest: Manifest, name: str, undo: ExitStack) -> str:
    """The newest finished run with the file's lineage, else the newest; a new one for a file from elsewhere."""
    found = find_runs(project, manifest.lineage.id)
    if found:
        return min(found, key=lambda run: run.status != "FINISHED").run_id
    tags = {
        LINEAGE: manifest.lineage.id,
        "distill.started_by": "import",
        "distill.dataset": manifest.metadata.dataset,
    }
    run = client.create_run(experiment_of(client, project), run_name=f"{name} (registered from a file)", tags=tags)
    _undo(undo, client.delete_run, run.info.run_id)
    client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)


def _code(folder: Path) -> Path:
    """A copy of what makes sounds, as a package."""
    package, copy = Path(distill.__file__).parent, folder / "distill"
    for name in CODE:
        source, target = package / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    return copy
