"""Sounds made again from their sidecars."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from distill.artifact.model_file import read_manifest
from distill.errors import ArtifactError, DataError, UsageError
from distill.files import digest_file
from distill.generation.sidecar import NamedFile, Sidecar, read_sidecar, sidecar_of
from distill.generation.writing import Destination, Producer, Written, require_free

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remade:
    """A sound made again, and whether its samples are those that the sidecar was written for."""

    written: Written
    identical: bool


def remake(
    sidecar: Path,
    *,
    folder: Path,
    model: Path | None = None,
    source: Path | None = None,
    other: Path | None = None,
    sidecars: bool = True,
    force: bool = False,
    device: str | None = None,
) -> Remade:
    """Make the sound of a sidecar again, under its name and with its number of threads.

    Args:
        sidecar: the JSON file.
        folder: where the sound goes.
        model: the model's file; by default where the sidecar says.
        source: the given sound's file; by default where the sidecar says.
        other: the file of the other given sound; by default where the sidecar says.
        sidecars: whether it gets a sidecar.
        force: whether files that exist are replaced.
        device: by default the one that the sound was made on.

    Raises:
        ArtifactError: the sidecar or the model cannot be used, or they do not belong together.
        StorageError, DataError, UsageError: as `produce`.
    """
    said = read_sidecar(sidecar)
    destination = Destination(folder, said.settings, sidecars, force)
    path = folder / said.sound.file
    require_free([path], destination)
    beside = sidecar_of(path)
    if not sidecars and beside.exists() and beside.samefile(sidecar):
        raise UsageError(f"{sidecar} would be removed without a new one: choose another folder, or let it be written")
    model = _found_model(sidecar, said, model)
    given = [
        found
        for file, named, option in ((said.given_file, source, "--file"), (said.other_file, other, "--other"))
        if (found := _found_given(sidecar, file, named, option)) is not None
    ]
    if any(path.exists() and path.samefile(each) for each in given):
        raise UsageError(f"{path} is the given sound: choose another folder")
    try:
        with _threads(said.environment.threads):
            producer = Producer.load(model, said.request, given, destination, device or said.environment.device)
            for difference in producer.environment.differences(said.environment):
                logger.warning("The samples may differ from those of %s: %s", sidecar.name, difference)
            [written] = producer.run([said.sound.seed], [path], index=said.sound.index)
    except UsageError as error:
        raise UsageError(f"{sidecar}: {error}") from error
    identical = written.exported.samples_digest == said.sound.samples_digest
    if not identical:
        logger.warning("%s does not have the samples that %s was written for", path, sidecar.name)
    return Remade(written, identical)


def _found_model(sidecar: Path, said: Sidecar, model: Path | None) -> Path:
    found = model or said.model_file.found(sidecar)
    if model is None and not found.is_file():
        raise ArtifactError(f"{found}, with which {sidecar} was made, is missing: name the model file")
    digest = read_manifest(found).tensor_digest
    if digest != said.model_file.digest:
        raise ArtifactError(
            f"{sidecar} belongs to another model: it was made with {said.model_name} {said.model_file.digest}, "
            f"and {found} is {digest}"
        )
    return found


def _found_given(sidecar: Path, file: NamedFile | None, named: Path | None, option: str) -> Path | None:
    """The path of a sidecar's given sound: the one that the user names, or the one in the sidecar."""
    if file is None:
        if named is not None:
            raise UsageError(f"{sidecar} was made without such a sound: omit {option} {named}")
        return None
    found = named or file.found(sidecar)
    if named is None and not found.is_file():
        raise DataError(f"{found}, which {sidecar} was made from, is missing: name the file with {option}")
    digest = digest_file(found)
    if digest != file.digest:
        raise DataError(
            f"{found} is not the sound that {sidecar} was made from: its digest is {digest}, not {file.digest}"
        )
    return found


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads while the block runs: another number gives other last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
