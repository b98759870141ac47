"""What a run follows from, and the folder that it leads to."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from distill.configs import ModelConfig
from distill.files import digest_json
from distill.params import Params, parse_params, read_params
from distill.runs.folder import RUNS


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
        more = [*([self.changes] if self.changes else []), *([self.model] if self.model else [])]
        key = digest_json([self.source, values, *more])[:8]
        return self.project / RUNS / f"{self.sounds}-{key}"

    @property
    def sounds(self) -> str:
        """What the sounds are called; it outlives a renamed project."""
        return as_name(PurePath(self.source).stem or "sounds")


def settings_of(params: Params) -> tuple[str, ...]:
    """The parameters that are not as by default, as `section.key=value`, without sounds and the model's name."""
    default = Params().model_dump(mode="json", by_alias=True)
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
    return changed(inputs.params, "model", name=name)


def changed(params: Params, section: str, **values: Any) -> Params:
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
