"""The parameters of a flow: the sections of params.yaml, of which only given values override it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from distill.configs import DataConfig, MemorizationConfig, ModelConfig, RunConfig, SpectrogramConfig, VocoderConfig
from distill.params import PriorParams, VQVAEParams


class DataParams(DataConfig):
    """Which sounds, and how they are divided."""

    # A server knows a schema only, not the checks of the model, and is to refuse a wrong value before there is a run.
    validation_fraction: Annotated[float, Field(ge=0.0, le=0.9)] | Literal["auto"] = Field(
        "auto", description=DataConfig.model_fields["validation_fraction"].description
    )
    speed_semitones: tuple[Annotated[float, Field(ge=-24.0, le=24.0)], ...] = Field(
        DataConfig().speed_semitones,
        max_length=16,
        description=DataConfig.model_fields["speed_semitones"].description,
    )


class RunParams(RunConfig):
    """How the run as a whole is done."""

    threads: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        "auto", description=RunConfig.model_fields["threads"].description
    )


SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataParams,
    "spectrogram": SpectrogramConfig,
    "run": RunParams,
    "vqvae": VQVAEParams,
    "prior": PriorParams,
    "memorization": MemorizationConfig,
    "vocoder": VocoderConfig,
    "model": ModelConfig,
}


def overrides_from(sections: Mapping[str, BaseModel | None]) -> dict[str, dict[str, Any]]:
    """What was given of each section, by name; sections that were not given are left out."""
    return {
        name: section.model_dump(mode="json", include=section.model_fields_set)
        for name, section in sections.items()
        if section is not None and section.model_fields_set
    }


def title_of(overrides: dict[str, dict[str, Any]]) -> str:
    """The given parameters in a few words.

    >>> title_of({"vqvae": {"num_quantizers": 2}, "run": {"seed": 1}})
    'vqvae.num_quantizers=2 run.seed=1'
    """
    return " ".join(f"{name}.{key}={value}" for name, section in overrides.items() for key, value in section.items())
