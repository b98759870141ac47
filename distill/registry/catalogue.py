"""One list of models over the files of a project and its registry, and what can be done with either."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.artifact.facts import NOT_CHECKED, health_of, light_of, perplexity_of, verdict_of
from distill.artifact.manifest import Manifest
from distill.artifact.model_file import EXTENSION, MODEL_FILES, read_manifest, read_model
from distill.errors import DistillError, StorageError, TrackingError, UsageError
from distill.files import digest_file, replacing, require_suffix, storage_errors
from distill.projects.models import model_places, named_file
from distill.registry.registry import (
    CHAMPION,
    RegisteredVersion,
    attach_signature,
    check_name,
    delete_version,
    file_of,
    find_version,
    manifest_of,
    read_intact,
    resolve,
    versions,
)
from distill.registry.signing import read_signature, signature_of, trusted_key, verify, write_signature
from distill.registry.signing import sign as make_signature

PLACES = ("models", "runs/*/models")
VERDICTS = ("pass", "warn", "fail", NOT_CHECKED)
SORTS: dict[str, Callable[["Entry"], Any]] = {
    "name": lambda entry: entry.manifest.metadata.name,
    "distance": lambda entry: _last_if_none(entry.manifest.metadata.best_val_lsd_db),
    "loss": lambda entry: _last_if_none(entry.manifest.metadata.best_val_loss),
    "perplexity": lambda entry: _last_if_none(perplexity_of(entry.manifest)),
    "dataset": lambda entry: entry.manifest.metadata.dataset,
    "sounds": lambda entry: -entry.manifest.metadata.file_count,
}


@dataclass
class Entry:
    """A model with the places where it is: files, and versions in the registry."""

    manifest: Manifest
    files: list[Path] = field(default_factory=list)
    registered: list[RegisteredVersion] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """What a list shows of the model."""
        light = light_of(self.manifest)
        return {
            **_figures(self.manifest),
            "description": self.manifest.metadata.description,
            "light": light.light,
            "files": [str(path) for path in self.files],
            "registered": [version.reference for version in self.registered],
            "aliases": sorted({alias for version in self.registered for alias in version.aliases}),
        }


@dataclass(frozen=True)
class Unreadable:
    """A file, a registered version or a whole registry that cannot be read, and why."""

    place: str
    reason: str


def catalogue(
    project: Path, *, registry: bool = True, folders: Sequence[Path] = ()
) -> tuple[list[Entry], list[Unreadable]]:
    """Every model of a project, each listed once with all its places, and what cannot be read.

    Args:
        project: the project, with files in `models/` and `runs/*/models/`; those of the user's own folder come after.
        registry: whether to ask the registry, too.
        folders: more folders with model files.

    Raises:
        UsageError: one of the folders is not there.
    """
    entries: dict[tuple[str, str], Entry] = {}
    unreadable = []

    def entry_of(manifest: Manifest) -> Entry:
        # The same weights may have been checked twice, with another verdict.
        return entries.setdefault((manifest.tensor_digest, manifest.lineage.id), Entry(manifest))

    for path in _files(project, folders):
        try:
            entry_of(read_manifest(path)).files.append(path)
        except DistillError as error:
            unreadable.append(Unreadable(str(path), str(error)))
    try:
        registered = versions(project) if registry else []
    except TrackingError as error:
        registered = []
        unreadable.append(Unreadable("registry", str(error)))
    for version in registered:
        try:
            entry_of(manifest_of(version, project)).registered.append(version)
        except DistillError as error:
            unreadable.append(Unreadable(version.reference, f"{version.reference}: {error}"))
    return list(entries.values()), unreadable


def select(
    entries: Iterable[Entry],
    *,
    words: Sequence[str] = (),
    verdict: str | None = None,
    dataset: str | None = None,
    sort: str = "name",
) -> list[Entry]:
    """The entries that hold all words (in name, description, dataset, tags or aliases) and pass the filters, sorted.

    Raises:
        UsageError: there is no such order or verdict.
    """
    if sort not in SORTS:
        raise UsageError(f"--sort {sort}: choose one of {', '.join(SORTS)}")
    if verdict not in (None, *VERDICTS):
        raise UsageError(f"--verdict {verdict}: choose one of {', '.join(VERDICTS)}")
    found = [
        entry
        for entry in entries
        if all(word.casefold() in _text(entry) for word in words)
        and verdict in (None, verdict_of(entry.manifest))
        and dataset in (None, entry.manifest.metadata.dataset)
    ]
    return sorted(found, key=lambda entry: (SORTS[sort](entry), entry.manifest.tensor_digest))


def compare(references: Sequence[str], project: Path) -> dict[str, dict[str, Any]]:
    """What differs between models: rows of figures, parameters and origins, each with the value of every model.

    Raises:
        UsageError: fewer than two models, or one that is not there.
        ArtifactError: a file that cannot be used.
    """
    if len(references) < 2:
        raise UsageError("name at least two models to compare")
    rows: dict[str, dict[str, Any]] = {}
    for reference in references:
        file = named_file(reference, project)
        manifest = read_manifest(file) if file else manifest_of(find_version(reference, project), project)
        lineage = manifest.lineage
        levels = {level: dict(health) for level, health in health_of(manifest).items()}
        for name, value in {
            **_figures(manifest),
            **flatten(levels),
            **flatten(lineage.parameters),
            "data_digest": lineage.data_digest,
            **flatten(lineage.code_versions, "code"),
            **flatten(lineage.environment.model_dump(mode="json"), "environment"),
        }.items():
            rows.setdefault(name, {})[reference] = value
    values = {name: {reference: row.get(reference) for reference in references} for name, row in rows.items()}
    return {name: row for name, row in values.items() if len({repr(value) for value in row.values()}) > 1}


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted keys.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    if not isinstance(values, dict):
        return {prefix: values}
    found: dict[str, Any] = {}
    for key, item in values.items():
        found |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return found


def export(reference: str, target: Path, project: Path, *, force: bool = False) -> Path:
    """Copy a model to a file, checked whole before, with its signature.

    Raises:
        DataError: there is no such model.
        ArtifactError: the model is damaged.
        StorageError: the target exists or cannot be written.
    """
    source = resolve(reference, project, signed=True)
    read_model(source)
    if target.is_dir():
        target = target / source.name
    require_suffix(target, EXTENSION)
    if target.exists() and not force:
        raise StorageError(f"{target} exists: choose another file, or replace it with --force")
    _copy(source, target)
    return target


def import_file(source: Path, project: Path, *, name: str | None = None, force: bool = False) -> Path:
    """Copy a model file, checked whole, to `models/` of a project, with its signature.

    Raises:
        UsageError: the name cannot be a model's.
        ArtifactError: the file cannot be used.
        StorageError: it cannot be read or written, or another file has the name.
    """
    manifest = read_intact(source)
    target = project / "models" / f"{check_name(name or manifest.metadata.name)}{EXTENSION}"
    if target.exists() and not force:
        if target.is_file() and digest_file(target) == digest_file(source):
            if (signature := read_signature(source)) is not None:
                write_signature(target, signature)
            return target
        raise StorageError(f"{target} is another model: choose a name with --name, or replace it with --force")
    _copy(source, target)
    return target


def deletable(reference: str, project: Path, *, force: bool = False) -> Path | RegisteredVersion:
    """The model file or the registered version that a reference means, if it may be deleted.

    Raises:
        UsageError: there is no such model, or it is the champion and `force` is not given.
        ArtifactError: the file is no model file.
        TrackingError: the registry cannot be used.
    """
    path = named_file(reference, project)
    if path is not None:
        read_manifest(path)
        return path
    if "/" not in reference and "@" not in reference:
        newest = find_version(reference, project)
        raise UsageError(f"{reference}: name one version, such as {newest.reference}")
    version = find_version(reference, project)
    if CHAMPION in version.aliases and not force:
        raise UsageError(f"{version.reference} is the champion: promote another first, or add --force")
    return version


def delete(reference: str, project: Path, *, force: bool = False) -> str:
    """Remove a model file, or a version from the registry; what was removed.

    Raises:
        UsageError: there is no such model, or it is the champion and `force` is not given.
        ArtifactError: the file is no model file.
        StorageError: the file cannot be removed.
        TrackingError: the registry cannot be used.
    """
    found = deletable(reference, project, force=force)
    if isinstance(found, Path):
        with storage_errors(found, "remove"):
            found.unlink()
            signature_of(found).unlink(missing_ok=True)
        return str(found)
    delete_version(found, project)
    return found.reference


def sign(reference: str, key: Path, project: Path, *, password: str | None = None) -> Path | RegisteredVersion:
    """Sign a model file or a registered version, in place of a signature that is there; what was signed.

    Raises:
        UsageError: there is no such model, or the key cannot be used.
        ArtifactError: the model is damaged.
        StorageError: the signature cannot be written.
        TrackingError: the registry cannot be used.
    """
    path = named_file(reference, project)
    if path is not None:
        write_signature(path, make_signature(path, key, password))
        return path
    version = find_version(reference, project)
    attach_signature(version, make_signature(file_of(version, project), key, password), project)
    return version


def check_signature(reference: str, project: Path, *, key: Path | None = None) -> Path:
    """Check the signature of a model; the public key that it was checked with, by default the one that is trusted.

    Raises:
        UsageError: there is no such version, no key is named, or it cannot be used.
        ArtifactError: the signature is not valid; the message says why.
        TrackingError: the registry cannot be used.
    """
    key = key or trusted_key(project)
    if key is None:
        raise UsageError("no key is trusted here: name the public key with --key")
    verify(resolve(reference, project, signed=True), key, called=reference)
    return key


def _files(project: Path, folders: Sequence[Path]) -> list[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder: name one with model files")
    places = [place for pattern in PLACES for place in sorted(project.glob(pattern))]
    # A model that is in a run and in models/ is known by the latter; the user's own folder comes after the project.
    places += [*model_places(project)[1:], *folders]
    found = [path for place in places for path in sorted(place.glob(MODEL_FILES))]
    return list({path.parent.resolve() / path.name: path for path in reversed(found)}.values())[::-1]


def _copy(source: Path, target: Path) -> None:
    signature, replaces = read_signature(source), target.exists()
    with replacing(target) as temporary:
        with storage_errors(target, "write"):
            shutil.copyfile(source, temporary)
        if digest_file(temporary) != digest_file(source):
            raise StorageError(f"{source} changed while it was copied to {target}: try again")
    # The signature of a file that was replaced is no longer valid.
    if signature is not None or replaces:
        write_signature(target, signature)


def _figures(manifest: Manifest) -> dict[str, Any]:
    metadata = manifest.metadata
    return {
        "name": metadata.name,
        "dataset": metadata.dataset,
        "sounds": metadata.file_count,
        "tags": list(metadata.tags),
        "levels": manifest.vqvae_config.num_quantizers,
        "codebook_size": manifest.vqvae_config.codebook_size,
        "held_out_distance_db": metadata.best_val_lsd_db,
        "held_out_loss": metadata.best_val_loss,
        "training_loss": metadata.best_train_loss,
        "held_out_perplexity": perplexity_of(manifest),
        "health": light_of(manifest).words,
        "verdict": verdict_of(manifest),
        "digest": manifest.tensor_digest,
        "lineage": manifest.lineage.id,
    }


def _text(entry: Entry) -> str:
    metadata = entry.manifest.metadata
    known = [version.name for version in entry.registered]
    known += [alias for version in entry.registered for alias in version.aliases]
    return " ".join([metadata.name, metadata.description, metadata.dataset, *metadata.tags, *known]).casefold()


def _last_if_none(value: float | None) -> float:
    return float("inf") if value is None else value
