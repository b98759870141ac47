"""What a model file says of itself: the JSON document beside the weights.

Only what follows from the data, the parameters, the code and the environment settings stands here. Dates, the host and
the id of a run do not, so that the same training gives the same file.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from distill.artifact.architecture import (
    PriorArchitecture,
    SpaceArchitecture,
    VocoderArchitecture,
    VQVAEArchitecture,
)
from distill.artifact.lineage import Lineage
from distill.artifact.part import Part
from distill.configs import STRIDE, Inverse, SpectrogramConfig
from distill.errors import ArtifactError
from distill.files import finite
from distill.models.levels import SPACE_LABEL, level_labels

FORMAT: Final = "distill_model"
VERSION: Final = 2
MINOR: Final = 3
# The minor version of a file is the least one that has its keys.
_FIRST_MINOR, _MINOR_WITH_VOCODER, _MINOR_WITH_CONDITIONS = 0, 1, 2

Number = Annotated[float | None, Field(description="null: it was not finite, or is not known.")]
Curve = tuple[float | None, ...]
LevelName = Annotated[str, Field(pattern=r"^level_[0-9]+$")]


def _known_spectrogram(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if key in SpectrogramConfig.model_fields}
    return value


class LevelHealth(Part):
    """How one level's codebook is used by the whole held-out set."""

    utilization: Number = Field(description="Share of the codes in use, 0 to 1.")
    perplexity: Number = Field(description="Exponential of the entropy of the codes' use: as many equally used codes.")
    dead_codes: int = Field(ge=0, description="Codes that are never used.")


class LossCurves(Part):
    """One number an epoch; recon and commit are parts of the training loss."""

    train_losses: Curve = ()
    val_losses: Curve = ()
    recon_losses: Curve = ()
    commit_losses: Curve = ()


class Metadata(Part):
    """What people want to know of a model before they use it."""

    name: str = Field(description="Name of the model.")
    description: str = Field("", description="A sentence for people.")
    dataset: str = Field("", description="Name of the dataset.")
    file_count: int = Field(0, ge=0, description="Sound files that were used.")
    train_files: int = Field(0, ge=0, description="Files that the models learned from.")
    validation_files: int = Field(0, ge=0, description="Files that were held out.")
    train_chunks: int = Field(0, ge=0, description="Chunks of the training files, without variants.")
    validation_chunks: int = Field(0, ge=0, description="Chunks of the held-out files.")
    seconds: Number = Field(None, description="Duration of all used sounds, in s.")
    epochs: int = Field(0, ge=0, description="Epochs that the VQ-VAE was trained.")
    best_epoch: int = Field(0, ge=0, description="Epoch whose weights these are, the first being 1; 0: none.")
    final_train_loss: Number = Field(None, description="Training loss of the last epoch.")
    final_val_loss: Number = Field(None, description="Held-out loss of the last epoch.")
    best_train_loss: Number = Field(None, description="Training loss of the best epoch.")
    best_val_loss: Number = Field(None, description="Held-out loss of the best epoch.")
    best_val_lsd_db: Number = Field(
        None, description="Held-out log-spectral distance of the best epoch, in dB; comparable between parameters."
    )
    tags: tuple[str, ...] = Field((), description="Words to find the model by.")
    preset: str = Field("", description="Preset that the parameters come from.")
    warnings: tuple[str, ...] = Field((), description="What went less than well, a line each.")


class TrainAndHeldOut(Part):
    """The same figure for the training files and the held-out files."""

    train: Number = None
    validation: Number = None


class PriorHistory(Part):
    """One number an epoch."""

    train_losses: Curve = ()
    val_losses: Curve = ()
    train_perplexities: Curve = ()
    val_perplexities: Curve = ()


class Following(Part):
    """How well what is asked for is followed, told from sounds that were generated when the prior was trained.

    A sound has the label whose training sounds it is nearest to. The same is said of held-out sounds, to know how far
    that can be trusted.
    """

    labels: dict[str, Number] = Field({}, description="Share of the sounds of each label that have it, 0 to 1.")
    judged: Number = Field(None, description="Share of the held-out sounds whose own label is found.")
    knobs: dict[str, Number] = Field({}, description="Rank correlation of what was asked and what came, -1 to 1.")


class PriorMetadata(Part):
    """How the training of the prior went."""

    epochs: int = Field(0, ge=0, description="Epochs that the prior was trained.")
    best_epoch: int = Field(0, ge=0, description="Epoch whose weights these are, the first being 1; 0: none.")
    perplexity: TrainAndHeldOut = Field(TrainAndHeldOut(), description="At the best epoch, over all levels.")
    perplexity_per_level: dict[LevelName, TrainAndHeldOut] = Field({}, description="At the best epoch.")
    perplexity_threshold: Number = Field(None, description="Training perplexity below which it may have memorized.")
    history: PriorHistory = PriorHistory()
    memorization_warnings: tuple[str, ...] = Field((), description="Each names both perplexities and the threshold.")
    following: Following | None = Field(
        None, exclude_if=lambda value: value is None, description="Absent where nothing can be asked for."
    )


class InverseQuality(Part):
    """How near sounds made from log mels are to the true held-out ones; means over sounds, lower is better."""

    spectral_convergence: Number = Field(None, description="Of magnitudes with windows of 2048, 1024 and 512.")
    lsd_db: Number = Field(None, description="Log-spectral distance of the mel power, in dB.")


class InverseFigures(Part):
    """An inverse's quality from true log mels, its ceiling, and from those that have passed through the VQ-VAE."""

    true_mel: InverseQuality = InverseQuality()
    after_model: InverseQuality = InverseQuality()


class VocoderMetadata(Part):
    """How the training of the vocoder went, and how the ways from log mel to sound compare on held-out sounds."""

    epochs: int = Field(0, ge=0, description="Epochs that the vocoder was trained.")
    best_epoch: int = Field(0, ge=0, description="Epoch whose weights these are, the first being 1; 0: none.")
    inverses: dict[str, InverseFigures] = Field({}, description="Figures of each inverse by its name.")
    base: str | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Digest of the weights that its training started from; absent: random weights.",
    )


class SpaceMetadata(Part):
    """What is known of the level that places sounds between two channels."""

    stereo_sounds: int = Field(0, ge=0, description="Sounds whose two channels differ.")
    perplexity: TrainAndHeldOut = Field(TrainAndHeldOut(), description="Of the codes of space, given all others.")
    utilization: Number = Field(None, description="Share of the codes that held-out sounds use, 0 to 1.")
    code_perplexity: Number = Field(None, description="Exponential of the entropy of that use.")
    level_db: Number = Field(
        None, description="Median distance of held-out level differences from what their codes stand for, in dB."
    )
    coherence: Number = Field(None, description="The same of coherences, which lie between -1 and 1.")


class Memorization(Part):
    """Result of the check for copies of training sounds."""

    verdict: Literal["pass", "warn", "fail"]
    reasons: tuple[str, ...] = Field((), description="Why, a line each.")
    evidence: dict[str, JsonValue] = Field({}, description="The figures behind the verdict.")


class Manifest(Part):
    """The document of a `.distill` file; the keys about a prior are there when a prior is."""

    format: Literal["distill_model"] = FORMAT
    version: Literal[2] = VERSION
    minor: int = Field(
        0,
        ge=0,
        description="Later minor versions only add keys; 1: with a vocoder, 2: with conditions, 3: with a space.",
    )
    model_type: Literal["vqvae"] = "vqvae"
    tensor_digest: str = Field(
        "", pattern=r"^([0-9a-f]{64})?$", description="Digest of the weights; writing fills it in."
    )
    vqvae_config: VQVAEArchitecture
    spectrogram_config: Annotated[SpectrogramConfig, BeforeValidator(_known_spectrogram)]
    training_config: dict[str, JsonValue] = Field(description="All parameters of the VQ-VAE's training.")
    codebook_health_snapshot: dict[LevelName, LevelHealth] = Field(description="Health by level, at the best epoch.")
    loss_curve_history: LossCurves
    metadata: Metadata
    lineage: Lineage
    prior_config: PriorArchitecture | None = None
    prior_metadata: PriorMetadata | None = None
    memorization: Memorization | None = None
    journal: tuple[dict[str, JsonValue], ...] | None = Field(None, description="Live changes, in order of sequence.")
    inverse: Inverse | None = Field(None, description="How log mels become sounds; null or absent: griffin-lim.")
    vocoder_config: VocoderArchitecture | None = None
    vocoder_metadata: VocoderMetadata | None = None
    space_config: SpaceArchitecture | None = Field(None, description="Absent: the model makes mono sounds.")
    space_metadata: SpaceMetadata | None = None

    @model_validator(mode="before")
    @classmethod
    def _replace_not_finite(cls, value: Any) -> Any:
        return _without_not_finite(value) if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _check(self) -> "Manifest":
        vqvae, prior = self.vqvae_config, self.prior_config
        if self.spectrogram_config.n_mels != vqvae.n_mels:
            raise ValueError(f"spectrogram_config.n_mels and vqvae_config.n_mels ({vqvae.n_mels}) must be equal")
        if (prior is None) != (self.prior_metadata is None):
            raise ValueError("prior_config and prior_metadata belong together")
        if (self.vocoder_config is None) != (self.vocoder_metadata is None):
            raise ValueError("vocoder_config and vocoder_metadata belong together")
        if (self.space_config is None) != (self.space_metadata is None):
            raise ValueError("space_config and space_metadata belong together")
        if self.vocoder_config is None and self.inverse not in (None, "griffin-lim"):
            raise ValueError(f"inverse is {self.inverse}, and there is no vocoder_config")
        if prior is None:
            return self
        if (prior.codebook_size, prior.num_quantizers) != (vqvae.codebook_size, vqvae.num_quantizers):
            raise ValueError("codebook_size and num_quantizers of prior_config and vqvae_config must be equal")
        if prior.bands * STRIDE != vqvae.n_mels:
            raise ValueError(f"prior_config.bands must be {vqvae.n_mels // STRIDE}, a sixteenth of n_mels")
        if prior.hidden % prior.heads:
            raise ValueError("prior_config.heads must divide prior_config.hidden")
        return self

    @property
    def level_labels(self) -> tuple[str, ...]:
        """What the levels of the model's grids are called; the last is the space's where it has one."""
        labels = level_labels(self.vqvae_config.num_quantizers)
        return labels if self.space_config is None else (*labels, SPACE_LABEL)

    def document(self) -> dict[str, Any]:
        """The JSON values that are written; optional keys without a value are left out."""
        values = self.model_dump(mode="json")
        values["minor"] = _FIRST_MINOR if self.vocoder_config is None else _MINOR_WITH_VOCODER
        if self.prior_config is not None and self.prior_config.conditions is not None:
            values["minor"] = _MINOR_WITH_CONDITIONS
        if self.space_config is not None:
            values["minor"] = MINOR
        return {key: value for key, value in values.items() if value is not None}


def parse_manifest(document: Mapping[str, Any], path: Path) -> Manifest:
    """Check a document that was read from `path`.

    Raises:
        ArtifactError: a key is missing, or a value has the wrong type or is out of range.
    """
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        complaints = [
            ": ".join(
                filter(None, [".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, ")]),
            )
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise ArtifactError(f"{path} has a manifest that cannot be used: {'; '.join(complaints[:5])}") from error


def _without_not_finite(value: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values in which null stands for numbers that are not finite, each such place named among the warnings."""
    plain = {key: _plain(item) for key, item in value.items()}
    places = dict.fromkeys(_not_finite_places(plain))
    metadata = plain.get("metadata")
    if places and isinstance(metadata, dict):
        known = list(metadata.get("warnings", ()))
        lines = [f"{place} was not finite and is null" for place in places]
        plain["metadata"] = {**metadata, "warnings": [*known, *(line for line in lines if line not in known)]}
    return {key: finite(item) for key, item in plain.items()}


def _plain(value: Any) -> Any:
    """Models as dicts, at any depth."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _not_finite_places(value: Any, place: str = "") -> Iterator[str]:
    """Dotted names of the values that are not finite; all of one list share the list's name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_finite_places(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _not_finite_places(item, place)
    elif isinstance(value, float) and not math.isfinite(value):
        yield place
