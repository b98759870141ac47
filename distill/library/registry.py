"""The registry of models: each a name with versions, a version the `.distill` file and what MLflow needs to run it."""

import difflib
import fcntl
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from distill import __version__
from distill.artifact.manifest import Manifest
from distill.artifact.model_file import EXTENSION, read_manifest, read_model
from distill.errors import ArtifactError, UsageError
from distill.files import digest_json, storage_errors
from distill.models.health import judge
from distill.tracking.address import client_of, experiment_of, tracking_errors
from distill.tracking.lookup import LINEAGE, find_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

CANDIDATE, CHAMPION = "candidate", "champion"
_DIGEST = "distill.digest"
_FOLDER = "registered"
_REFERENCE = re.compile(r"^(?P<name>[^/@:]+)(?:/(?P<version>[0-9]+)|@(?P<alias>[A-Za-z][A-Za-z0-9_-]*))?$")


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the registry; `created` says whether this call made it."""

    name: str
    version: int
    digest: str
    lineage: str
    run_id: str | None
    aliases: tuple[str, ...]
    created: bool = False

    @property
    def reference(self) -> str:
        """NAME/VERSION."""
        return f"{self.name}/{self.version}"


def register(model: Path, project: Path, *, run_id: str | None = None, name: str | None = None) -> RegisteredVersion:
    """Register a model file as a new version, a candidate; the same model is registered once.

    The same is what has the same weights and the same lineage, so a model that was checked anew is another version.

    Args:
        model: the file, which is checked whole.
        project: the project whose registry it goes into.
        run_id: the run that made it; by default the newest recorded one with its lineage, else a new run.
        name: name in the registry; by default the model's own.

    Raises:
        ArtifactError, StorageError: the file cannot be used.
        UsageError: the name cannot be one.
        TrackingError: the registry cannot be used; nothing is registered then.
    """
    manifest = read_model(model).manifest
    name = name or manifest.metadata.name
    _check_name(name)
    client = client_of(project)
    with _lock(project), tracking_errors(project):
        for known in versions(project, name):
            if (known.digest, known.lineage) == (manifest.tensor_digest, manifest.lineage.id):
                return known
        return _register(client, project, model, manifest, name, run_id or _run_of(client, project, manifest, name))


def versions(project: Path, name: str | None = None) -> list[RegisteredVersion]:
    """All versions in the registry, or those of one name, the newest of each name first.

    Raises:
        TrackingError: the registry cannot be used.
    """
    client = client_of(project)
    with tracking_errors(project):
        found = []
        for model in _pages(client.search_registered_models):
            if name is not None and model.name != name:
                continue
            by_version: dict[int, list[str]] = {}
            for alias, version in model.aliases.items():
                by_version.setdefault(int(version), []).append(alias)
            for each in _pages(client.search_model_versions, filter_string=f"name = '{model.name}'"):
                aliases = tuple(sorted(by_version.get(int(each.version), ())))
                digest, lineage = each.tags.get(_DIGEST, ""), each.tags.get(LINEAGE, "")
                found.append(RegisteredVersion(model.name, int(each.version), digest, lineage, each.run_id, aliases))
    return sorted(found, key=lambda version: (version.name, -version.version))


def find_version(reference: str, project: Path) -> RegisteredVersion:
    """The version that NAME/VERSION, NAME@ALIAS or NAME (its newest) means.

    Raises:
        UsageError: it is no such reference, or there is no such version.
        TrackingError: the registry cannot be used.
    """
    match = _REFERENCE.match(reference)
    if match is None:
        raise UsageError(f"{reference!r} is neither a model file nor NAME/VERSION, NAME@ALIAS or NAME of the registry")
    known = versions(project)
    name, number, alias = match["name"], match["version"], match["alias"]
    of_name = [version for version in known if version.name == name]
    if not of_name:
        names = sorted({version.name for version in known})
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; registered: {', '.join(names) or 'nothing yet'}"
        raise UsageError(f"{reference}: no model file and no registered model has this name{hint}")
    chosen = [
        version
        for version in of_name
        if (number is None or version.version == int(number)) and (alias is None or alias in version.aliases)
    ]
    if not chosen:
        there = ", ".join(f"{v.version}{''.join(f' @{a}' for a in v.aliases)}" for v in of_name)
        raise UsageError(f"{reference}: {name} has no such version; there are {there}")
    return chosen[0]


def resolve(reference: str, project: Path) -> Path:
    """The `.distill` file that a path or a reference to the registry means; one on a server is fetched first.

    Raises:
        UsageError: there is no such file or version.
        ArtifactError: the registered version holds no model file.
        TrackingError: the registry cannot be used.
    """
    path = Path(reference)
    if path.is_file() or path.suffix == EXTENSION:
        return path
    return file_of(find_version(reference, project), project)


def file_of(version: RegisteredVersion, project: Path) -> Path:
    """The `.distill` file of a registered version; one on a server is fetched into the project first.

    Raises:
        ArtifactError: the version holds no model file.
        TrackingError: the registry cannot be used.
    """
    client = client_of(project)
    with tracking_errors(project):
        source = client.get_model_version_download_uri(version.name, str(version.version))
        parsed = urlparse(source)
        if parsed.scheme in ("", "file"):
            folder = Path(unquote(parsed.path))
        else:
            from mlflow.artifacts import download_artifacts

            folder = project / ".distill" / "registry" / (version.digest or version.reference.replace("/", "-"))
            if not list(folder.glob(f"**/*{EXTENSION}")):
                download_artifacts(source, dst_path=str(folder), tracking_uri=client.tracking_uri)
    files = sorted(folder.glob(f"**/artifacts/*{EXTENSION}"))
    if not files:
        raise ArtifactError(f"{version.reference} holds no model file in {folder}: register it again")
    return files[0]


def set_alias(version: RegisteredVersion, alias: str, project: Path) -> None:
    """Give a version an alias, which any other version of the name loses.

    Raises:
        TrackingError: the registry cannot be used.
    """
    client = client_of(project)
    with tracking_errors(project):
        client.set_registered_model_alias(version.name, alias, str(version.version))


def delete_version(version: RegisteredVersion, project: Path) -> None:
    """Remove a version from the registry, and its name with the last of them.

    Raises:
        TrackingError: the registry cannot be used.
    """
    client = client_of(project)
    with _lock(project), tracking_errors(project):
        client.delete_model_version(version.name, str(version.version))
        if not versions(project, version.name):
            client.delete_registered_model(version.name)


def _register(
    client: "MlflowClient", project: Path, model: Path, manifest: Manifest, name: str, run_id: str
) -> RegisteredVersion:
    with tempfile.TemporaryDirectory(prefix="distill-register-") as temporary:
        folder = Path(temporary) / _FOLDER
        _save(model, manifest, folder)
        place = f"{_FOLDER}/{name}-{digest_json([manifest.tensor_digest, manifest.lineage.id])[:16]}"
        client.log_artifacts(run_id, str(folder), place)
    first = not any(known.name == name for known in _pages(client.search_registered_models))
    if first:
        client.create_registered_model(name, description=manifest.metadata.description)
    made = None
    try:
        made = client.create_model_version(
            name,
            source=f"{client.get_run(run_id).info.artifact_uri}/{place}",
            run_id=run_id,
            tags=_tags(manifest),
            description=_description(manifest),
        )
        client.set_registered_model_alias(name, CANDIDATE, made.version)
    except BaseException:
        with suppress(Exception):
            if made is not None:
                client.delete_model_version(name, made.version)
        with suppress(Exception):
            if first:
                client.delete_registered_model(name)
        raise
    digest, lineage = manifest.tensor_digest, manifest.lineage.id
    return RegisteredVersion(name, int(made.version), digest, lineage, run_id, (CANDIDATE,), created=True)


def _save(model: Path, manifest: Manifest, folder: Path) -> None:
    # The name of the file in the registry is the model's, whatever it was called here.
    named = folder.parent / f"{manifest.metadata.name}{EXTENSION}"
    shutil.copyfile(model, named)
    with warnings.catch_warnings():
        # MLflow warns of its own type hints, and of a model without any.
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        import pandas as pd
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, DataType, Schema, TensorSpec

        inputs: list[ColSpec | TensorSpec] = [
            ColSpec(DataType.long, "seed"),
            ColSpec(DataType.double, "seconds", required=False),
            ColSpec(DataType.double, "temperature", required=False),
            ColSpec(DataType.long, "top_k", required=False),
            ColSpec(DataType.double, "top_p", required=False),
        ]
        outputs: list[ColSpec | TensorSpec] = [
            ColSpec(DataType.long, "seed"),
            ColSpec(DataType.long, "sample_rate"),
            ColSpec(DataType.double, "seconds"),
            ColSpec(DataType.string, "audio"),
        ]
        torch = manifest.lineage.environment.torch.partition("+")[0]
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"model": str(named)},
            signature=ModelSignature(Schema(inputs), Schema(outputs)),
            input_example=pd.DataFrame([{"seed": 0, "seconds": 1.0, "temperature": 1.0, "top_k": 0, "top_p": 1.0}]),
            # Named, so that MLflow does not run the model in order to find them.
            pip_requirements=[f"distill=={__version__}", f"torch=={torch}"],
            metadata={"digest": manifest.tensor_digest, "lineage": manifest.lineage.id},
        )


def _tags(manifest: Manifest) -> dict[str, str]:
    verdict = manifest.memorization
    health: Any = {
        name: {"utilization": level.utilization or 0.0, "perplexity": level.perplexity or 0.0, "dead_codes": 0}
        for name, level in manifest.codebook_health_snapshot.items()
    }
    judged = judge(health)
    return {
        _DIGEST: manifest.tensor_digest,
        LINEAGE: manifest.lineage.id,
        "distill.verdict": verdict.verdict if verdict else "not checked",
        "distill.health": f"{judged.light}: {judged.words}",
        "distill.dataset": manifest.metadata.dataset,
        "distill.preset": manifest.metadata.preset,
    }


def _description(manifest: Manifest) -> str:
    metadata, verdict = manifest.metadata, manifest.memorization
    lines = [
        metadata.description,
        f"Trained on {metadata.train_files} of {metadata.file_count} sounds from {metadata.dataset}; "
        f"{len(manifest.codebook_health_snapshot)} levels of {manifest.vqvae_config.codebook_size} codes.",
        f"Held-out loss {metadata.best_val_loss}.",
        f"Memorization: {verdict.verdict}. {' '.join(verdict.reasons)}" if verdict else "Memorization: not checked.",
        *metadata.warnings,
    ]
    return "\n\n".join(line for line in lines if line)


def _run_of(client: "MlflowClient", project: Path, manifest: Manifest, name: str) -> str:
    """The newest run with the file's lineage, or a new one for a file that was made elsewhere."""
    found = find_runs(project, manifest.lineage.id)
    if found:
        return found[0].run_id
    tags = {
        LINEAGE: manifest.lineage.id,
        "distill.started_by": "import",
        "distill.dataset": manifest.metadata.dataset,
    }
    run = client.create_run(experiment_of(client, project), run_name=f"{name} (registered from a file)", tags=tags)
    client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise UsageError(f"{name!r} cannot be a model's name: letters, digits, dots and dashes, at most 64")


def _pages(search: Any, **arguments: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


@contextmanager
def _lock(project: Path) -> Iterator[None]:
    """One writer at a time among the processes of this machine."""
    path = project / ".distill" / "registry.lock"
    with storage_errors(path, "lock"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def manifest_of(version: RegisteredVersion, project: Path) -> Manifest:
    """What the registered file says of itself.

    Raises:
        ArtifactError: the file is damaged, or is not the one that was registered.
        TrackingError: the registry cannot be used.
    """
    path = file_of(version, project)
    manifest = read_manifest(path)
    if version.digest and manifest.tensor_digest != version.digest:
        raise ArtifactError(f"{path} is not the file that was registered as {version.reference}: its weights differ")
    return manifest
