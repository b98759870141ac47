"""The registry of models: each a name with versions, a version the `.distill` file and what MLflow needs to run it."""

import difflib
import logging
import re
import shlex
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distill.artifact.manifest import Manifest
from distill.artifact.model_file import EXTENSION, read_manifest, read_model
from distill.configs import ModelConfig
from distill.errors import ArtifactError, DataError, UsageError
from distill.locks import lock
from distill.projects.models import named_file
from distill.registry.signing import SignatureState, signature_state_of, trusted_key
from distill.registry.stored import (
    delete_if_empty,
    is_signed,
    model_id_of,
    pages,
    remove_stored,
    signed_file,
    store_signature,
    stored_file,
    stored_manifest,
)
from distill.tracking.address import SQLITE, client_of, registry_address, tracking_errors
from distill.tracking.lookup import LINEAGE

CANDIDATE, CHAMPION = "candidate", "champion"
DIGEST = "distill.digest"
# MLflow's own form may stand before it.
_REFERENCE = re.compile(r"(?:models:/)?(?P<name>[^/@:]+)(?:/(?P<version>[0-9]+)|@(?P<alias>[A-Za-z][A-Za-z0-9_-]*))?")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the registry; `source` is where it lies, `created` says whether this call made it."""

    name: str
    version: int
    digest: str
    lineage: str
    run_id: str | None
    aliases: tuple[str, ...]
    source: str
    created: bool = False

    @property
    def reference(self) -> str:
        """NAME/VERSION."""
        return f"{self.name}/{self.version}"

    @property
    def with_aliases(self) -> str:
        """NAME/VERSION and, behind it, each @ALIAS."""
        return " ".join([self.reference, *(f"@{alias}" for alias in self.aliases)])

    def is_of(self, manifest: Manifest) -> bool:
        """Whether it is the model of a manifest: the same weights, made in the same way."""
        return (self.digest, self.lineage) == (manifest.tensor_digest, manifest.lineage.id)


def versions(project: Path, name: str | None = None) -> list[RegisteredVersion]:
    """All versions in the registry, or those of one name, the newest of each name first.

    Raises:
        TrackingError: the registry cannot be used.
    """
    address = registry_address(project)
    if address.startswith(SQLITE) and not Path(address.removeprefix(SQLITE)).exists():
        # Looking makes no database.
        return []
    client = client_of(project)
    with tracking_errors(project):
        wanted = None if name is None else f"name = '{check_name(name)}'"
        aliases: dict[tuple[str, str], list[str]] = {}
        # Versions that are searched for come without their aliases.
        for model in pages(client.search_registered_models, filter_string=wanted):
            for alias, version in model.aliases.items():
                aliases.setdefault((model.name, str(version)), []).append(alias)
        found = [
            RegisteredVersion(
                name=each.name,
                version=int(each.version),
                digest=each.tags[DIGEST],
                lineage=each.tags.get(LINEAGE, ""),
                run_id=each.run_id,
                aliases=tuple(sorted(aliases.get((each.name, str(each.version)), ()))),
                source=each.source,
            )
            for each in pages(client.search_model_versions, filter_string=wanted)
            # A team's server may hold models of other kinds.
            if DIGEST in each.tags
        ]
    return sorted(found, key=lambda version: (version.name, -version.version))


def find_version(reference: str, project: Path) -> RegisteredVersion:
    """The version that NAME/VERSION, NAME@ALIAS or NAME (its newest) means.

    Raises:
        DataError: there is no such version.
        UsageError: it is no such reference.
        TrackingError: the registry cannot be used.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise UsageError(
            f"{reference!r} is neither a model file nor a NAME, NAME/VERSION or NAME@ALIAS in the registry"
        )
    known = versions(project)
    name, number, alias = match["name"], match["version"], match["alias"]
    of_name = [version for version in known if version.name == name]
    if not of_name:
        names = sorted({version.name for version in known})
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; registered: {', '.join(names) or 'nothing yet'}"
        for path in (Path(f"{name}{EXTENSION}"), project / "models" / f"{name}{EXTENSION}"):
            if path.is_file():
                hint = f"; {path} is a file: distill model register {shlex.quote(str(path))} registers it"
        raise DataError(f"{reference}: no model file and no registered model has this name{hint}")
    chosen = [
        version
        for version in of_name
        if (number is None or version.version == int(number)) and (alias is None or alias in version.aliases)
    ]
    if not chosen:
        there = ", ".join(f"{v.version}{''.join(f' @{a}' for a in v.aliases)}" for v in of_name)
        raise DataError(f"{reference}: {name} has no such version; there are {there}")
    return chosen[0]


def is_file_reference(reference: str) -> bool:
    """Whether a reference means a file, there or not, rather than something in the registry."""
    path = Path(reference)
    with suppress(OSError, ValueError):
        return path.is_file() or path.suffix == EXTENSION
    return False


def resolve(reference: str, project: Path, *, signed: bool = False) -> Path:
    """The `.distill` file that a path, a name or a reference to the registry means; one on a server is fetched first.

    A name means the file `models/NAME.distill` of the project or of the user's own folder before the newest version
    that is registered under it.

    Args:
        reference: a path, NAME/VERSION, NAME@ALIAS or NAME.
        project: the project whose registry is asked.
        signed: whether the signature beside a fetched file must be the newest.

    Raises:
        DataError: there is no such file or version.
        ArtifactError: the registered version holds no model file.
        TrackingError: the registry cannot be used.
    """
    return named_file(reference, project) or file_of(find_version(reference, project), project, signed=signed)


def file_of(version: RegisteredVersion, project: Path, *, signed: bool = False) -> Path:
    """The `.distill` file of a registered version; one on a server is fetched into the project first.

    With `signed`, the signature beside a fetched file is the newest.

    Raises:
        ArtifactError: the version holds no model file, is damaged, or is not the one that was registered.
        TrackingError: the registry cannot be used.
    """
    path = signed_file(version.source, project) if signed else stored_file(version.source, project)
    _check_same(version, read_manifest(path))
    return path


def signature_state_of_version(version: RegisteredVersion, project: Path) -> SignatureState:
    """The state of a registered version's signature; to check it, a file on a server is fetched.

    Raises:
        ArtifactError, TrackingError: as `file_of`.
        StorageError: a file cannot be read.
    """
    if trusted_key(project) is None and not is_signed(version.source, project):
        return SignatureState("none")
    return signature_state_of(file_of(version, project, signed=True), project, called=version.reference)


def attach_signature(version: RegisteredVersion, signature: bytes, project: Path) -> None:
    """Put a signature beside a registered version, in place of the one that is there.

    Raises:
        ArtifactError, TrackingError: as `file_of`, or the storage cannot be written.
    """
    with registry_lock(project):
        store_signature(version.source, file_of(version, project), signature, project)


def manifest_of(version: RegisteredVersion, project: Path) -> Manifest:
    """The manifest of a registered model.

    Raises:
        ArtifactError: the file is lost, damaged, or is not the one that was registered.
        TrackingError: the registry cannot be used.
    """
    manifest = stored_manifest(version.source, project)
    _check_same(version, manifest)
    return manifest


def read_intact(path: Path, *, generates: bool = False) -> Manifest:
    """The manifest of a model file, after a check that its weights match their digest and fit the networks.

    Args:
        path: the file.
        generates: whether it must have a prior.

    Raises:
        ArtifactError: the file is missing, damaged, foreign or of another version, or has no prior.
        StorageError: the file is there and cannot be read.
    """
    from distill.codec.load import build_networks

    model = read_model(path)
    networks = build_networks(model, path)
    if generates:
        # Asking for it raises where there is none.
        _ = networks.prior
    return model.manifest


def set_alias(version: RegisteredVersion, alias: str, project: Path) -> None:
    """Give a version an alias, which any other version of the name loses.

    Raises:
        TrackingError: the registry cannot be used.
    """
    client = client_of(project)
    with tracking_errors(project):
        client.set_registered_model_alias(version.name, alias, str(version.version))


def delete_version(version: RegisteredVersion, project: Path) -> None:
    """Remove a version and its files from the registry, and its name with the last of them.

    Raises:
        TrackingError: the registry cannot be used; or its storage: the version is out of the registry then.
    """
    client = client_of(project)
    with registry_lock(project), tracking_errors(project):
        client.delete_model_version(version.name, str(version.version))
        delete_if_empty(client, version.name)
        remove_stored(version.source, project)
        if model_id := model_id_of(version.source):
            client.delete_logged_model(model_id)


def registry_lock(project: Path) -> AbstractContextManager[Any]:
    """One writer at a time among the processes of this machine."""
    path = project / ".distill" / "registry.lock"
    return lock(path, lambda: _logger.info("waiting for another program that is changing the registry"))


def check_name(name: str) -> str:
    """The name, if it can be a model's.

    Raises:
        UsageError: it cannot.
    """
    try:
        return ModelConfig(name=name).name
    except ValidationError:
        raise UsageError(
            f"{name!r} cannot be a model's name (letters, digits, . _ - and at most 100 of them): give one with --name"
        ) from None


def _check_same(version: RegisteredVersion, manifest: Manifest) -> None:
    if not version.is_of(manifest):
        raise ArtifactError(
            f"the file at {version.source} is not the model that was registered as {version.reference}: "
            "delete the version and register the model again"
        )
