"""What the weights of a model file follow from: code, data, parameters, seed and environment."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, JsonValue

from distill.artifact.part import Digest, Part
from distill.files import digest_json, finite
from distill.instructions import Arithmetic


class Environment(Part):
    """Where the model was computed, as far as it decides the bytes."""

    distill: str = Field("", description="Version of distill.")
    torch: str = Field(description="Version of torch.")
    torchaudio: str = Field("", description="Version of torchaudio.")
    vector_quantize_pytorch: str = Field(description="Version of vector-quantize-pytorch.")
    numpy: str = Field("", description="Version of numpy.")
    soxr: str = Field("", description="Version of soxr.")
    libsndfile: str = Field("", description="Version of libsndfile.")
    python: str = Field("", description="Version of Python.")
    processor: str = Field(description="Instruction set and maker of the processor, or name of the accelerator.")
    cuda: str = Field("", description="Version of CUDA, where it computes.")
    cudnn: str = Field("", description="Version of cuDNN, where CUDA computes.")
    arithmetic: Arithmetic = Field("native", description="portable or native: see `run.arithmetic`.")
    threads: int = Field(ge=1, description="Threads of the CPU.")
    precision: str = Field(description="Arithmetic of the networks: fp32 or bf16.")
    device: str = Field(description="Kind of device: cpu, cuda or mps.")


class Lineage(Part):
    """Everything that the weights follow from."""

    id: Digest = Field(description="Digest of what follows here, as `lineage_id` computes it.")
    code_versions: dict[str, int] = Field(description="Version of the code of each stage.")
    data_digest: str = Field(description="Digest of the dataset's content.")
    parameters: dict[str, JsonValue] = Field(description="All resolved parameters, by section.")
    seed: int = Field(description="Seed of the run.")
    environment: Environment

    @classmethod
    def of(
        cls,
        *,
        code_versions: dict[str, int],
        data_digest: str,
        parameters: dict[str, Any],
        seed: int,
        environment: Environment,
    ) -> "Lineage":
        """The lineage with the id that belongs to it."""
        values = {
            "code_versions": code_versions,
            "data_digest": data_digest,
            "parameters": finite(parameters),
            "seed": seed,
            "environment": environment.model_dump(mode="json"),
        }
        return cls.model_validate({**values, "id": lineage_id(values)})


def lineage_id(values: Mapping[str, Any]) -> str:
    """Digest of a lineage without its id and without the `model` section of its parameters.

    That section holds what a model is called, which decides nothing else.
    """
    parameters = {key: value for key, value in values["parameters"].items() if key != "model"}
    return digest_json({**{key: value for key, value in values.items() if key != "id"}, "parameters": parameters})
