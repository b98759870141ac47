"""What the networks of a model file are constructed with, as its document holds it."""

from typing import Any

from pydantic import Field

from distill.artifact.part import Part
from distill.configs import STRIDE, Config, PriorConfig, SpectrogramConfig, VocoderConfig, VQVAEConfig
from distill.models.conditions import Conditions


def _field_of(config: type[Config], name: str) -> Any:
    """A required field with the range and the description of a parameter."""
    field = config.model_fields[name]
    limits = {
        limit: getattr(constraint, limit)
        for constraint in field.metadata
        for limit in ("ge", "gt", "le", "lt", "multiple_of")
        if hasattr(constraint, limit)
    }
    return Field(description=field.description, **limits)


class VQVAEArchitecture(Part):
    """What ConvVQVAE is constructed with, and the height of its spectrograms."""

    codebook_dim: int = _field_of(VQVAEConfig, "codebook_dim")
    codebook_size: int = _field_of(VQVAEConfig, "codebook_size")
    num_quantizers: int = _field_of(VQVAEConfig, "num_quantizers")
    decay: float = _field_of(VQVAEConfig, "decay")
    commitment_weight: float = _field_of(VQVAEConfig, "commitment_weight")
    threshold_ema_dead_code: float = _field_of(VQVAEConfig, "threshold_ema_dead_code")
    dropout: float = _field_of(VQVAEConfig, "dropout")
    n_mels: int = _field_of(SpectrogramConfig, "n_mels")

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return self.model_dump(exclude={"n_mels"})


class PriorArchitecture(Part):
    """What CodePrior is constructed with."""

    hidden: int = _field_of(PriorConfig, "hidden")
    layers: int = _field_of(PriorConfig, "layers")
    heads: int = _field_of(PriorConfig, "heads")
    dropout: float = _field_of(PriorConfig, "dropout")
    codebook_size: int = _field_of(VQVAEConfig, "codebook_size")
    num_quantizers: int = _field_of(VQVAEConfig, "num_quantizers")
    bands: int = Field(ge=1, le=256, description="Rows of the code grid: 16 mel bins each.")
    context: int = _field_of(PriorConfig, "context")
    conditions: Conditions | None = Field(
        None, exclude_if=lambda value: value is None, description="What new sounds can be asked for; absent: nothing."
    )

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        values = self.model_dump(exclude={"conditions"})
        return values if self.conditions is None else {**values, "conditions": self.conditions.width}


class VocoderArchitecture(Part):
    """What Vocoder is constructed with, beside the spectrogram."""

    hidden: int = _field_of(VocoderConfig, "hidden")
    blocks: int = _field_of(VocoderConfig, "blocks")

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return self.model_dump()


class SpaceArchitecture(Part):
    """What SpaceModel is constructed with, beside the VQ-VAE's codes."""

    hidden: int = Field(ge=1, le=4096, description="Width of the network.")

    def arguments(self, vqvae: VQVAEArchitecture) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {
            "codebook_size": vqvae.codebook_size,
            "bands": vqvae.n_mels // STRIDE,
            "codebook_dim": vqvae.codebook_dim,
            "hidden": self.hidden,
        }
