"""The registry's storage, on this machine or on a server: model files, their manifests and signatures."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from distill.artifact.manifest import Manifest, parse_manifest
from distill.artifact.model_file import EXTENSION, read_manifest
from distill.errors import ArtifactError
from distill.files import digest_json, read_json, storage_errors, sync
from distill.registry.signing import SUFFIX, signature_of
from distill.tracking.address import set_up_mlflow, tracking_address, tracking_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Where MLflow puts the file.
ARTIFACTS = "artifacts"
# Beside the file, so that a list need not fetch the weights from a server.
MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1
# Where MLflow keeps a logged model, and where models lay among the artifacts of their runs before.
_OWN = re.compile(r"(/models/(?P<logged>m-[0-9a-f]{32})/artifacts|/registered/[^/]+)$")


def model_id_of(source: str) -> str | None:
    """What MLflow knows the model by that is stored at an address; None: it is no logged model."""
    match = _OWN.search(urlparse(source).path)
    return match["logged"] if match else None


def store(folder: Path, source: str, project: Path) -> None:
    """Put what a folder holds at an address of the registry's storage.

    Raises:
        TrackingError: the storage cannot be written.
    """
    with tracking_errors(project):
        _repository(source, project).log_artifacts(str(folder))


def stored_file(source: str, project: Path) -> Path:
    """The `.distill` file at an address of the registry's storage; one on a server is fetched into the project, once.

    Raises:
        ArtifactError: there is no model file.
        TrackingError: the storage cannot be reached.
    """
    folder = _folder_here(source)
    if folder is None:
        folder = _copy(source, project)
        if not folder.is_dir():
            _fetch(source, folder, project)
    found = sorted(folder.glob(f"**/{ARTIFACTS}/*{EXTENSION}"))
    if not found:
        raise ArtifactError(f"there is no model file in {folder}: register it again")
    return found[0]


def stored_manifest(source: str, project: Path) -> Manifest:
    """The manifest of a model in the registry's storage; from a server no weights are fetched.

    Raises:
        ArtifactError: there is no model file, or it is damaged.
        TrackingError: the storage cannot be reached.
    """
    if _folder_here(source) is not None or _copy(source, project).is_dir():
        return read_manifest(stored_file(source, project))
    path = _copy(source, project).with_suffix(".json")
    if not path.is_file():
        _fetch(f"{source}/{MANIFEST}", path, project)
    document = read_json(path, what="description of a registered model", schema=MANIFEST_SCHEMA)
    return parse_manifest(document["manifest"], path)


def is_lost(source: str) -> bool:
    """Whether a model should lie on this machine and does not, or is damaged."""
    folder = _folder_here(source)
    if folder is None:
        return False
    try:
        for path in folder.glob(f"{ARTIFACTS}/*{EXTENSION}"):
            read_manifest(path)
            return False
    except ArtifactError:
        pass
    return True


def is_signed(source: str, project: Path) -> bool:
    """Whether a signature lies beside a stored model; nothing is fetched.

    Raises:
        TrackingError: the storage cannot be reached.
    """
    folder = _folder_here(source)
    if folder is not None:
        return any(folder.glob(f"{ARTIFACTS}/*{EXTENSION}{SUFFIX}"))
    with tracking_errors(project):
        return any(each.path.endswith(SUFFIX) for each in _repository(source, project).list_artifacts(ARTIFACTS))


def signed_file(source: str, project: Path) -> Path:
    """The `.distill` file as `stored_file` gives it, with the signature beside it as the storage has it now.

    Raises:
        ArtifactError, TrackingError: as `stored_file`.
        StorageError: the signature cannot be fetched into the project.
    """
    path = stored_file(source, project)
    if _folder_here(source) is None:
        # It may have been signed since it was fetched.
        signature = signature_of(path)
        with storage_errors(signature, "remove"):
            signature.unlink(missing_ok=True)
        if is_signed(source, project):
            _fetch(f"{source}/{ARTIFACTS}/{signature.name}", signature, project)
    return path


def store_signature(source: str, model: Path, signature: bytes, project: Path) -> None:
    """Put a signature beside a stored model; `model` is the file that `stored_file` gives.

    Raises:
        TrackingError: the storage cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="distill-sign-") as temporary, tracking_errors(project):
        path = Path(temporary) / signature_of(model).name
        path.write_bytes(signature)
        _repository(source, project).log_artifact(str(path), ARTIFACTS)


def remove_stored(source: str, project: Path) -> None:
    """Remove a model from the registry's storage, and what was fetched of it.

    Raises:
        TrackingError: it cannot be removed.
    """
    copy = _copy(source, project)
    shutil.rmtree(copy, ignore_errors=True)
    copy.with_suffix(".json").unlink(missing_ok=True)
    # An address that was tampered with may lead anywhere.
    path = unquote(urlparse(source).path)
    if ".." in PurePosixPath(path).parts or not _OWN.search(path):
        return
    with tracking_errors(project):
        _repository(source, project).delete_artifacts()


def _repository(source: str, project: Path) -> Any:
    set_up_mlflow()
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(source, tracking_uri=tracking_address(project))


def _folder_here(source: str) -> Path | None:
    """The folder, for an address on this machine."""
    parsed = urlparse(source)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


def _copy(source: str, project: Path) -> Path:
    return project / ".distill" / "registry" / digest_json(source)[:32]


def _fetch(source: str, target: Path, project: Path) -> None:
    """Fetch a file or a folder, whole or not at all."""
    set_up_mlflow()
    with storage_errors(target, "write"):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".fetch-"))
    try:
        with tracking_errors(project):
            from mlflow.artifacts import download_artifacts

            got = download_artifacts(source, dst_path=str(temporary), tracking_uri=tracking_address(project))
        with storage_errors(target, "write"):
            for path in Path(got).rglob("*"):
                sync(path)
            if not target.exists():
                Path(got).rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def create_name(client: "MlflowClient", name: str, description: str) -> None:
    """Make sure that a name is in the registry; another machine may make it at the same time."""
    from mlflow.exceptions import MlflowException

    if any(known.name == name for known in pages(client.search_registered_models)):
        return
    try:
        client.create_registered_model(name, description=description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def delete_if_empty(client: "MlflowClient", name: str) -> None:
    """Remove a name that has no versions any more."""
    if not any(True for _ in pages(client.search_model_versions, filter_string=f"name = '{name}'")):
        client.delete_registered_model(name)


def pages(search: Any, **arguments: Any) -> Iterator[Any]:
    """Everything that one of MLflow's searches finds, which it gives in pages."""
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return
