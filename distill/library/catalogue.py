"""One list of models over the files of a project and its registry, and what can be done with either."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.artifact.manifest import Manifest
from distill.artifact.model_file import EXTENSION, read_manifest, read_model
from distill.errors import DistillError, StorageError, UsageError
from distill.files import replacing, storage_errors
from distill.library.registry import (
    CHAMPION,
    RegisteredVersion,
    delete_version,
    file_of,
    find_version,
    manifest_of,
    resolve,
    versions,
)
from distill.models.health import Health, judge

PLACES = ("models/*", "runs/*/models/*")
SORTS: dict[str, Callable[["Entry"], Any]] = {
    "name": lambda entry: entry.manifest.metadata.name,
    "distance": lambda entry: _last_if_none(entry.manifest.metadata.best_val_lsd_db),
    "loss": lambda entry: _last_if_none(entry.manifest.metadata.best_val_loss),
    "dataset": lambda entry: entry.manifest.metadata.dataset,
    "sounds": lambda entry: -entry.manifest.metadata.file_count,
}


@dataclass
class Entry:
    """A model with the places where it is: files, and versions in the registry."""

    manifest: Manifest
    files: list[Path] = field(default_factory=list)
    registered: list[RegisteredVersion] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Memorization verdict, or that there is none."""
        return self.manifest.memorization.verdict if self.manifest.memorization else "not checked"

    @property
    def health(self) -> Health:
        """Codebook health by level."""
        return self.manifest.document()["codebook_health_snapshot"]

    def summary(self) -> dict[str, Any]:
        """What a list shows of the model."""
        metadata, prior = self.manifest.metadata, self.manifest.prior_metadata
        light = judge(self.health)
        return {
            "name": metadata.name,
            "description": metadata.description,
            "dataset": metadata.dataset,
            "sounds": metadata.file_count,
            "tags": list(metadata.tags),
            "levels": self.manifest.vqvae_config.num_quantizers,
            "codebook_size": self.manifest.vqvae_config.codebook_size,
            "held_out_distance_db": metadata.best_val_lsd_db,
            "held_out_loss": metadata.best_val_loss,
            "held_out_perplexity": prior.perplexity.validation if prior else None,
            "light": light.light,
            "health": light.words,
            "verdict": self.verdict,
            "digest": self.manifest.tensor_digest,
            "lineage": self.manifest.lineage.id,
            "files": [str(path) for path in self.files],
            "registered": [version.reference for version in self.registered],
            "aliases": sorted({alias for version in self.registered for alias in version.aliases}),
        }


@dataclass(frozen=True)
class Unreadable:
    """A file or a registered version that cannot be read, and why."""

    place: str
    reason: str


def catalogue(project: Path, *, registry: bool = True) -> tuple[list[Entry], list[Unreadable]]:
    """Every model of a project, the same weights listed once, and what cannot be read.

    Raises:
        TrackingError: the registry cannot be used.
    """
    entries: dict[str, Entry] = {}
    unreadable = []
    for pattern in PLACES:
        for path in sorted(project.glob(f"{pattern}{EXTENSION}")):
            try:
                manifest = read_manifest(path)
            except DistillError as error:
                unreadable.append(Unreadable(str(path), str(error)))
                continue
            entries.setdefault(manifest.tensor_digest, Entry(manifest)).files.append(path)
    for version in versions(project) if registry else []:
        try:
            manifest = manifest_of(version, project)
        except DistillError as error:
            unreadable.append(Unreadable(version.reference, str(error)))
            continue
        entries.setdefault(manifest.tensor_digest, Entry(manifest)).registered.append(version)
    return list(entries.values()), unreadable


def chosen(
    entries: Iterable[Entry],
    *,
    words: Sequence[str] = (),
    verdict: str | None = None,
    dataset: str | None = None,
    sort: str = "name",
) -> list[Entry]:
    """The entries that hold all words (in name, description, dataset, tags or aliases) and pass the filters, sorted.

    Raises:
        UsageError: there is no such order.
    """
    if sort not in SORTS:
        raise UsageError(f"--sort {sort}: choose one of {', '.join(SORTS)}")
    found = [
        entry
        for entry in entries
        if all(word.lower() in _text(entry) for word in words)
        and verdict in (None, entry.verdict)
        and dataset in (None, entry.manifest.metadata.dataset)
    ]
    return sorted(found, key=lambda entry: (SORTS[sort](entry), entry.manifest.tensor_digest))


def compare(references: Sequence[str], project: Path) -> dict[str, dict[str, Any]]:
    """What differs between models: rows of figures and of parameters, each with the value of every model.

    Raises:
        UsageError: fewer than two models, or one that is not there.
        ArtifactError: a file that cannot be used.
    """
    if len(references) < 2:
        raise UsageError("name at least two models to compare")
    entries = {reference: Entry(read_manifest(resolve(reference, project))) for reference in references}
    rows: dict[str, dict[str, Any]] = {}
    for reference, entry in entries.items():
        shown = entry.summary()
        figures = {key: shown[key] for key in shown if key not in ("files", "registered", "aliases", "description")}
        for level, health in entry.health.items():
            figures |= {f"{level}.{name}": value for name, value in health.items()}
        environment = entry.manifest.lineage.environment.model_dump(mode="json")
        for name, value in {
            **figures,
            **_flat(entry.manifest.lineage.parameters),
            **{f"environment.{key}": item for key, item in environment.items()},
        }.items():
            rows.setdefault(name, {})[reference] = value
    values = {name: {reference: row.get(reference) for reference in references} for name, row in rows.items()}
    return {name: row for name, row in values.items() if len({repr(value) for value in row.values()}) > 1}


def export(reference: str, target: Path, project: Path, *, force: bool = False) -> Path:
    """Copy a model to a file, checked whole before.

    Raises:
        UsageError: there is no such model, or the target exists.
        ArtifactError: the model is damaged.
        StorageError: the target cannot be written.
    """
    source = resolve(reference, project)
    read_model(source)
    if target.is_dir():
        target = target / source.name
    if target.exists() and not force:
        raise UsageError(f"{target} is there already: choose another file, or add --force")
    with replacing(target) as temporary, storage_errors(source, "read"):
        shutil.copyfile(source, temporary)
    return target


def import_file(source: Path, project: Path, *, name: str | None = None, force: bool = False) -> Path:
    """Copy a model file, checked whole, to `models/` of a project.

    Raises:
        UsageError: the name cannot be a file's, or another model has it.
        ArtifactError: the file cannot be used.
        StorageError: it cannot be read or written.
    """
    model = read_model(source)
    name = name or model.manifest.metadata.name
    if Path(name).name != name or name.startswith("."):
        raise UsageError(f"{name!r} cannot be a model's name: letters, digits, dots and dashes")
    target = project / "models" / f"{name}{EXTENSION}"
    if target.exists() and not force:
        if read_manifest(target).tensor_digest == model.manifest.tensor_digest:
            return target
        raise UsageError(f"{target} is another model: choose a name with --name, or add --force")
    with replacing(target) as temporary, storage_errors(source, "read"):
        shutil.copyfile(source, temporary)
    return target


def delete(reference: str, project: Path, *, force: bool = False) -> str:
    """Remove a model file, or a version from the registry; what was removed.

    Raises:
        UsageError: there is no such model, or it is the champion and `force` is not given.
        StorageError: the file cannot be removed.
        TrackingError: the registry cannot be used.
    """
    path = Path(reference)
    if path.suffix == EXTENSION:
        if not path.is_file():
            raise UsageError(f"{path}: no such model file")
        read_manifest(path)
        with storage_errors(path, "remove"):
            path.unlink()
        return str(path)
    if "/" not in reference and "@" not in reference:
        raise UsageError(f"{reference}: name one version, such as {reference}/1")
    version = find_version(reference, project)
    if CHAMPION in version.aliases and not force:
        raise UsageError(f"{version.reference} is the champion: promote another first, or add --force")
    file = file_of(version, project)
    delete_version(version, project)
    folder = next((parent for parent in file.parents if parent.name == "artifacts"), None)
    if folder is not None and project.resolve() in folder.resolve().parents:
        try:
            shutil.rmtree(folder.parent)
        except OSError as error:
            raise StorageError(
                f"{version.reference} is out of the registry, but {folder.parent} stays: {error}"
            ) from error
    return version.reference


def _text(entry: Entry) -> str:
    metadata = entry.manifest.metadata
    aliases = [alias for version in entry.registered for alias in version.aliases]
    return " ".join([metadata.name, metadata.description, metadata.dataset, *metadata.tags, *aliases]).lower()


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    found: dict[str, Any] = {}
    for key, item in values.items():
        found |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return found


def _last_if_none(value: float | None) -> float:
    return float("inf") if value is None else value
