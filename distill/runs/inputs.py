"""What a run follows from, its sounds among it, and the folder that it leads to."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from distill.configs import ModelConfig, RunConfig
from distill.errors import DataError
from distill.files import digest_json, storage_errors
from distill.params import SCHEMA, Params, parse_params, read_params
from distill.runs.folder import RUNS

# What stages and tools make in a run folder: sounds of such a name are reached without a link.
OWN = frozenset({"config", "history", "journal", "models", "plots", "prepared", "previews", "reports", "trained"})


@dataclass(frozen=True)
class Inputs:
    """What a run follows from: the same inputs lead to the same folder.

    Attributes:
        project: the project folder.
        source: the sounds, as in `Order`.
        params: the parameters; the model's name, description and tags make no other run.
        changes: the live changes that are made again, by training.
        model: digest of the VQ-VAE that is given.
    """

    project: Path
    source: str
    params: Params
    changes: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    model: str | None = None

    @property
    def root(self) -> Path:
        """The run's folder, `runs/SOUNDS-KEY` of the project."""
        values = self.params.model_dump(mode="json", by_alias=True)
        del values["model"], values["data"]["path"]
        # Who works on it changes nothing.
        values["run"].pop("dask", None)
        more = [*([self.changes] if self.changes else []), *([self.model] if self.model else [])]
        key = digest_json([self.source, values, *more])[:8]
        return self.project / RUNS / f"{self.sounds}-{key}"

    @property
    def sounds(self) -> str:
        """What the sounds are called; it outlives a renamed project."""
        return as_name(PurePath(self.source).stem or "sounds")


def settings_of(params: Params) -> tuple[str, ...]:
    """The parameters that are not as by default, as `section.key=value`, without sounds and the model's name."""
    preset = {"schema": SCHEMA, "run": {"preset": params.run.preset}}
    default = parse_params(preset, where="defaults").model_dump(mode="json", by_alias=True)
    # It decides what others are by default.
    default["run"]["preset"] = RunConfig().preset
    apart = {("data", "path"), ("model", "name")}
    return tuple(
        f"{name}.{key}={json.dumps(value, ensure_ascii=False)}"
        for name, section in params.model_dump(mode="json", by_alias=True).items()
        if isinstance(section, dict)
        for key, value in section.items()
        if (name, key) not in apart and value != default[name].get(key)
    )


def named_params(inputs: Inputs, name: str | None, *, keep: bool = True) -> Params:
    """The parameters of a run with the model's name; where none is given, the one that it has is kept.

    Raises:
        UsageError: the name cannot be a model's.
    """
    known = inputs.root / "params.yaml"
    if name is None and keep and known.is_file():
        name = read_params(known).model.name
    if name is None:
        name = f"{inputs.sounds}-{datetime.now():%Y%m%d-%H%M%S}"
    return with_section(inputs.params, "model", name=name)


def with_section(params: Params, section: str, **values: Any) -> Params:
    """The parameters with other values in a section.

    Raises:
        UsageError: a value is wrong.
    """
    known = params.model_dump(mode="json", by_alias=True)
    return parse_params({**known, section: {**known[section], **values}}, where="--model-name")


def as_name(text: str) -> str:
    """A text as a model's name: what may not stand there becomes a dash.

    >>> as_name("my kit!")
    'my-kit'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:60] or ModelConfig().name


def source_of(project: Path, sounds: Path) -> str:
    """How a run names its sounds: relative to the project where they lie in it, else absolute.

    Raises:
        DataError: they are not there.
    """
    if not sounds.exists():
        raise DataError(f"{sounds}: no such folder of sounds")
    project = project.resolve()
    # A link within the project is one of its names; it may lead elsewhere after a move.
    for place in (Path(os.path.abspath(sounds)), sounds.resolve()):  # noqa: PTH100
        if place.is_relative_to(project):
            return place.relative_to(project).as_posix()
    return str(sounds.resolve())


def bring_sounds(root: Path, project: Path, source: str) -> str:
    """Make the sounds of a run reachable from its folder; their `data.path` there.

    Sounds of the project keep their path, as a link that leads to them wherever the project is moved or copied to.
    Others, and those whose path is none of a run folder's, are named by where they are.

    Raises:
        StorageError: the link cannot be made, or something else is in its place.
    """
    path = PurePosixPath(source)
    if path.is_absolute():
        return source
    if not path.parts or path.parts[0] in {"..", *OWN} or path.parts[0].startswith("."):
        return os.path.relpath(project.resolve() / path, root.resolve())
    link = root / path
    with storage_errors(link, "link"):
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(project.resolve() / path, link.parent.resolve())
        if link.is_symlink() and os.readlink(link) != target:  # noqa: PTH115, a Path would lose nothing but its dots
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(target)
    return source


def given_source(project: Path, path: str) -> str:
    """The same for the `data.path` of a project's parameters, whose dots count from the project.

    Raises:
        DataError: there is nothing.
    """
    plain = os.path.normpath(path)
    return plain if plain.startswith("..") else source_of(project, project / plain)


def from_project(path: str) -> str:
    """The `data.path` of a run's params.yaml, seen from the project.

    >>> from_project("sounds"), from_project("../../../kit"), from_project("../../models")
    ('sounds', '../kit', 'models')
    """
    return os.path.normpath(f"runs/run/{path}") if path.startswith("..") else path
