"""The parameters of a flow: the sections of params.yaml, of which only what is given takes its place."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from distill.configs import DataConfig, MemorizationConfig, ModelConfig, RunConfig, SpectrogramConfig
from distill.params import PriorParams, VQVAEParams

SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataConfig,
    "spectrogram": SpectrogramConfig,
    "run": RunConfig,
    "vqvae": VQVAEParams,
    "prior": PriorParams,
    "memorization": MemorizationConfig,
    "model": ModelConfig,
}


def given(sections: Mapping[str, BaseModel | None]) -> dict[str, dict[str, Any]]:
    """What was given of each section, by name; sections that were not given are left out."""
    return {
        name: section.model_dump(mode="json", include=section.model_fields_set)
        for name, section in sections.items()
        if section is not None and section.model_fields_set
    }


def title_of(overrides: dict[str, dict[str, Any]]) -> str:
    """The given parameters in a few words.

    >>> title_of({"vqvae": {"num_quantizers": 2}, "run": {"seed": 1}})
    'num_quantizers=2 seed=1'
    """
    return " ".join(f"{key}={value}" for section in overrides.values() for key, value in section.items())
