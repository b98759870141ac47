"""params.yaml: the sections of parameters as people write them, with `auto` for the adaptive settings."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, create_model, model_validator

from distill.configs import (
    Config,
    DataConfig,
    MemorizationConfig,
    ModelConfig,
    PriorConfig,
    RunConfig,
    SpectrogramConfig,
    VocoderConfig,
    VQVAEConfig,
)
from distill.errors import UsageError
from distill.files import replacing, storage_errors
from distill.validation import GONE, explain, nearest

SCHEMA = 1
# The preset `sharp` has half the usual hop: docs/explanation/settings.md.
SHARP_HOP_LENGTH = 256
# The coarsest term of the loss compares means of 4 by 4 values.
LEAST_CHUNK_FRAMES = 4
BASE_AUTO, BASE_NONE = "auto", "none"
# A range as it is typed: its two ends, which are numbers.
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
RANGE = rf"^\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*$"
_NO_RANGE = r"^(?=.*\d)[\d.eE+\-\s]*\.\.[\d.eE+\-\s]*$"
# Of the parameters that are gone. Where they had no effect, the rest means what it meant.
_WITHOUT_EFFECT = ("auto", 0)


def _overridable(config: type[Config], name: str) -> type[Config]:
    """The same parameters, each of which may also be `auto`, and is unless given."""
    fields: dict[str, Any] = {}
    for key, field in config.model_fields.items():
        kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        fields[key] = (kind | Literal["auto"], Field("auto", description=field.description))
    return create_model(name, __base__=Config, __doc__=config.__doc__, **fields)


class VQVAEParams(_overridable(VQVAEConfig, "VQVAEParams")):  # type: ignore[misc]
    __doc__ = VQVAEConfig.__doc__

    base: str = Field(
        BASE_AUTO,
        max_length=4096,
        pattern=rf"^({BASE_AUTO}|{BASE_NONE}|.+\.distill)$",
        description="Model file whose encoder, decoder and vocoder the trainings start from; auto: the one included in "
        "distill, if it fits; none: random weights.",
    )


PriorParams = _overridable(PriorConfig, "PriorParams")


class Params(Config):
    """All parameters of a run, as in params.yaml."""

    schema_number: int = Field(SCHEMA, alias="schema", ge=1, le=SCHEMA)
    data: DataConfig = DataConfig()
    spectrogram: SpectrogramConfig = SpectrogramConfig()
    run: RunConfig = RunConfig()
    vqvae: VQVAEParams = VQVAEParams()
    prior: PriorParams = PriorParams()  # type: ignore[valid-type]
    memorization: MemorizationConfig = MemorizationConfig()
    vocoder: VocoderConfig = VocoderConfig()
    model: ModelConfig = ModelConfig()

    @model_validator(mode="after")
    def _chunks_are_long_enough(self) -> "Params":
        seconds, spectrogram = self.data.chunk_seconds, self.spectrogram
        frames = spectrogram.frames_of(round(seconds * spectrogram.sample_rate))
        if frames < LEAST_CHUNK_FRAMES:
            raise ValueError(
                f"data.chunk_seconds: {seconds:g} s are {frames} frames at spectrogram.hop_length "
                f"{spectrogram.hop_length}, and a training needs {LEAST_CHUNK_FRAMES}: make chunks longer or the hop "
                "shorter"
            )
        return self


def overrides(section: BaseModel) -> dict[str, Any]:
    """The parameters of a section that are given, without those that are `auto` and the base."""
    values = section.model_dump(mode="json", exclude={"base"})
    return {key: value for key, value in values.items() if value != "auto"}


def parse_params(values: Any, *, where: str) -> Params:
    """Check nested values.

    Raises:
        UsageError: an unknown name (with the nearest known one), a value of the wrong type or out of range.
    """
    if not isinstance(values, dict):
        raise UsageError(f"{where}: expected sections of parameters, found {type(values).__name__}")
    if isinstance(values.get("schema"), int) and values["schema"] > SCHEMA:
        raise UsageError(f"{where}: schema {values['schema']} is newer than {SCHEMA}: update distill")
    sections = {name: _without_gone(section) for name, section in values.items()}
    if isinstance(sections.setdefault("spectrogram", {}), dict):
        sections["spectrogram"].setdefault("hop_length", _hop_length(sections))
    try:
        return Params.model_validate(sections)
    except ValidationError as error:
        raise UsageError(f"{where}: {explain(error, Params)}") from error


def resolve(config: type[Config], values: dict[str, Any], *, where: str) -> Any:
    """Build a config from values that together must be valid.

    Raises:
        UsageError: they are not.
    """
    try:
        return config.model_validate(_without_gone(values))
    except ValidationError as error:
        raise UsageError(f"{where}: {explain(error, config)}") from error


def read_params(path: Path) -> Params:
    """Read params.yaml.

    Raises:
        StorageError: it cannot be read.
        UsageError: it is not YAML, or a parameter in it is wrong.
    """
    return parse_params(read_yaml(path), where=str(path))


def read_yaml(path: Path) -> Any:
    """Read a YAML file with safe types only.

    Raises:
        StorageError: it cannot be read.
        UsageError: it is not YAML.
    """
    with storage_errors(path, "read"):
        data = path.read_bytes()
    try:
        return _loaded(data)
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _loaded(text: str | bytes) -> Any:
    """A text as YAML; what YAML allows and Python does not, such as 2024-02-30 or endless nesting, is a YAMLError."""
    try:
        return yaml.safe_load(text)
    except (ValueError, LookupError, AttributeError, RecursionError) as error:
        raise yaml.YAMLError(str(error)) from error


def write_params(path: Path, params: Params) -> None:
    """Replace a params.yaml by these parameters, every one of them written out.

    Raises:
        StorageError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(
            yaml.safe_dump(params.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True),
            encoding="utf-8",
        )


def with_settings(params: Params, settings: Iterable[str], *, where: str = "--set") -> Params:
    """Apply settings of the form `section.key=value` (the value as in YAML); `where` is the option that they come from.

    Raises:
        UsageError: a setting has another form, an unknown name, or a value that is wrong.
    """
    values = params.model_dump(mode="json", by_alias=True)
    if values["spectrogram"]["hop_length"] == _hop_length(values):
        # It comes from the preset, which a setting may change.
        del values["spectrogram"]["hop_length"]
    for setting in settings:
        name, equals, text = setting.partition("=")
        section, dot, key = name.strip().partition(".")
        places = [f"{each}.{section}" for each, known in values.items() if isinstance(known, dict) and section in known]
        if equals and not dot and places:
            raise UsageError(f"{where} {setting}: name the section as well, as in {' or '.join(places)}")
        if not (equals and dot and key):
            raise UsageError(f"{where} {setting}: expected section.key=value, such as vqvae.dropout=0.1")
        if not isinstance(values.get(section), dict):
            sections = [each for each, value in values.items() if isinstance(value, dict)]
            raise UsageError(f"{where} {setting}: no section {section!r}{nearest(section, sections)}")
        try:
            value = _loaded(text)
            # What is quoted is meant as a word.
            values[section][key] = value if text.lstrip()[:1] in ("'", '"') else _number(value)
        except yaml.YAMLError as error:
            raise UsageError(f"{where} {setting}: {text!r} is not a value") from error
    return parse_params(values, where=where)


def listed_settings(settings: Iterable[str]) -> dict[str, list[Any] | str]:
    """Settings of the form `section.key=value,value`, each value as in YAML, or `section.key=low..high`, by name.

    A range stays the text that it is.

    >>> listed_settings(["run.seed=0,1", "data.speed_semitones=[1.0,2.0],[3.0]", "vqvae.dropout=0..0.5"])
    {'run.seed': [0, 1], 'data.speed_semitones': [[1.0, 2.0], [3.0]], 'vqvae.dropout': '0..0.5'}

    Raises:
        UsageError: a setting has another form, or a name is given twice.
    """
    chosen: dict[str, list[Any] | str] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if name in chosen:
            raise UsageError(f"{name} is given twice: put all values into one {name}=")
        if equals and re.match(RANGE, text):
            chosen[name] = text.strip()
            continue
        if equals and re.match(_NO_RANGE, text):
            raise UsageError(f"{setting}: expected section.key=low..high, such as vqvae.learning_rate=1e-4..1e-2")
        try:
            values = _loaded(f"[{text}]")
        except yaml.YAMLError:
            values = []
        if not equals or not values or not isinstance(values, list):
            raise UsageError(f"{setting}: expected section.key=value,value, such as vqvae.num_quantizers=2,3,4")
        chosen[name] = [_number(value) for value in values]
    return chosen


def _hop_length(sections: dict[str, Any]) -> int:
    """The hop length that the preset has."""
    run = sections.get("run")
    sharp = isinstance(run, dict) and run.get("preset") == "sharp"
    return SHARP_HOP_LENGTH if sharp else SpectrogramConfig().hop_length


def _without_gone(section: Any) -> Any:
    """A section without the parameters that are gone and had no effect in it."""
    if not isinstance(section, dict):
        return section
    return {key: value for key, value in section.items() if key not in GONE or value not in _WITHOUT_EFFECT}


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 (no point) as a word; people mean the number."""
    if isinstance(value, str):
        try:
            return float(value) if any(digit.isdigit() for digit in value) else value
        except ValueError:
            return value
    return value
