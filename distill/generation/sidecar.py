"""The JSON file beside a sound, which says everything that it takes to make the same samples again."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill.artifact.part import Digest
from distill.errors import ArtifactError, UsageError
from distill.files import read_json, write_json
from distill.generation.export import ExportSettings
from distill.generation.sound_request import Request
from distill.instructions import Arithmetic, in_force
from distill.validation import explain

SCHEMA = 1
# The networks are used as they were trained, without autocast.
PRECISION = "fp32"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NamedFile(_Part):
    """A file by its path from the sidecar's folder, and by its digest."""

    path: str
    digest: Digest

    def found(self, sidecar: Path) -> Path:
        """Where the file should be."""
        return sidecar.parent / self.path


class WrittenSound(_Part):
    """The sound beside the sidecar: see `Exported`; `index` is its place among those that were made together."""

    file: str = Field(pattern=r"^[^/\\]+\.[a-z0-9]+$")
    seed: int
    index: int = Field(ge=0)
    sample_rate: int
    channels: int
    frames: int
    bits: str
    gain_db: float
    peak_db: float | None
    samples_digest: Digest


class Export(_Part):
    """What was asked of the file: see `ExportSettings`."""

    format: str
    sample_rate: int | None
    bits: str | None


class Properties(_Part):
    """What a sound has.

    Attributes:
        label: as far as its model knows labels.
        knobs: values in the knobs' units, None for none, as far as its model knows knobs.
        distance: of a variation from the sound that was varied, from 0 to 1.41.
    """

    label: str | None = None
    knobs: dict[str, float | None] = {}
    distance: float | None = Field(None, exclude_if=lambda value: value is None)


class Environment(_Part):
    """What besides model, settings and seed decides the samples."""

    distill: str
    torch: str
    torchaudio: str = ""
    vector_quantize_pytorch: str
    numpy: str
    soxr: str
    libsndfile: str
    processor: str
    cuda: str = ""
    cudnn: str = ""
    arithmetic: Arithmetic = "native"
    threads: int = Field(ge=1, le=1024)
    precision: Literal["fp32"]
    device: str
    batch_rows: int

    @classmethod
    def here(cls, device: str) -> "Environment":
        """That of this process."""
        import torch

        from distill.models.kernels import MOST_ROWS
        from distill.training.runtime import Runtime, environment

        runtime = Runtime(
            device=device, precision=PRECISION, threads=torch.get_num_threads(), seed=0, arithmetic=in_force()
        )
        return cls(batch_rows=MOST_ROWS, **environment(runtime))

    def differences(self, other: "Environment") -> list[str]:
        """What differs, as `name: this and not that`."""
        mine, theirs = self.model_dump(), other.model_dump()
        return [f"{name}: {mine[name]}, not {theirs[name]}" for name in mine if theirs[name] not in ("", mine[name])]


class Sidecar(_Part):
    """The whole content; `schema` stands beside it in the file."""

    sound: WrittenSound
    request: Request
    export: Export
    model_name: str
    model_file: NamedFile
    given_file: NamedFile | None = None
    other_file: NamedFile | None = Field(None, exclude_if=lambda value: value is None)
    environment: Environment
    got: Properties | None = Field(None, exclude_if=lambda value: value is None)

    @property
    def settings(self) -> ExportSettings:
        """How the sound was written."""
        return ExportSettings(**self.export.model_dump())


def export_part(settings: ExportSettings) -> Export:
    """What a sidecar says of export settings."""
    return Export(**asdict(settings))


def sidecar_of(sound: Path) -> Path:
    """Where a sound's sidecar lies."""
    return sound.with_name(f"{sound.name}.json")


def named_file(path: Path, digest: str, sidecar: Path) -> NamedFile:
    """A file as the sidecar names it."""
    # The system follows links before it goes up by "..", so the way begins and ends in true folders.
    path = Path(os.path.realpath(path.parent)) / path.name
    try:
        relative = os.path.relpath(path, os.path.realpath(sidecar.parent))
    except ValueError:
        # On Windows there is no way from one drive to another.
        relative = str(path)
    return NamedFile(path=Path(relative).as_posix(), digest=digest)


def write_sidecar(path: Path, sidecar: Sidecar) -> None:
    """Write a sidecar, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    write_json(path, {"schema": SCHEMA, **sidecar.model_dump(mode="json")})


def read_sidecar(path: Path) -> Sidecar:
    """Read a sidecar and check everything that can be checked without the model.

    Raises:
        ArtifactError: it is no sidecar, of a newer schema, or says something that cannot be.
        StorageError: it cannot be read.
    """
    values: dict[str, Any] = read_json(path, what="sidecar of a sound", schema=SCHEMA)
    values.pop("schema")
    try:
        sidecar = Sidecar.model_validate(values)
        sidecar.request.check(count=1, seed=sidecar.sound.seed)
        settings = sidecar.settings
    except ValidationError as error:
        raise ArtifactError(f"{path} is not a usable sidecar: {explain(error, Sidecar)}") from error
    except UsageError as error:
        raise ArtifactError(f"{path} is not a usable sidecar: {error}") from error
    if not sidecar.sound.file.endswith(f".{settings.format}"):
        raise ArtifactError(
            f"{path} is not a usable sidecar: {sidecar.sound.file} is not the name of a {settings.format}"
        )
    if (sidecar.given_file is None) != (sidecar.request.action == "generate"):
        raise ArtifactError(f"{path} is not a usable sidecar: given_file and request.action do not belong together")
    if (sidecar.other_file is not None) != (sidecar.request.action == "morph"):
        raise ArtifactError(f"{path} is not a usable sidecar: other_file and request.action do not belong together")
    return sidecar
