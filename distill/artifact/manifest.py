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
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from distill.configs import Config, Inverse, PriorConfig, SpectrogramConfig, VocoderConfig, VQVAEConfig
from distill.errors import ArtifactError
from distill.files import digest_json, finite
from distill.instructions import Arithmetic
from distill.models.conditions import Conditions
from distill.models.levels import SPACE_LABEL, level_labels

FORMAT: Final = "distill_model"
VERSION: Final = 2
MINOR: Final = 3
# The minor version of a file is the least one that has its keys.
_FIRST_MINOR, _MINOR_WITH_VOCODER, _MINOR_WITH_CONDITIONS = 0, 1, 2

# Mel bins in a band of the code grid: the encoder halves the mel axis four times.
_BAND = 16

# These keys are left out of the document while they hold nothing.
_OPTIONAL = (
    "prior_config",
    "prior_metadata",
    "memorization",
    "journal",
    "inverse",
    "vocoder_config",
    "vocoder_metadata",
    "space_config",
    "space_metadata",
)

Number = Annotated[float | None, Field(description="null: it was not finite, or is not known.")]
Curve = tuple[float | None, ...]
LevelName = Annotated[str, Field(pattern=r"^level_[0-9]+$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Part(BaseModel):
    """A frozen part of the document; keys that a later minor version adds are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def _same_range(config: type[Config], name: str) -> Any:
    """A required field with the range and the description of a parameter."""
    field = config.model_fields[name]
    limits = {
        limit: getattr(constraint, limit)
        for constraint in field.metadata
        for limit in ("ge", "gt", "le", "lt", "multiple_of")
        if hasattr(constraint, limit)
    }
    return Field(description=field.description, **limits)


def _known_spectrogram(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if key in SpectrogramConfig.model_fields}
    return value


class VQVAEArchitecture(Part):
    """What ConvVQVAE is constructed with, and the height of its spectrograms."""

    codebook_dim: int = _same_range(VQVAEConfig, "codebook_dim")
    codebook_size: int = _same_range(VQVAEConfig, "codebook_size")
    num_quantizers: int = _same_range(VQVAEConfig, "num_quantizers")
    decay: float = _same_range(VQVAEConfig, "decay")
    commitment_weight: float = _same_range(VQVAEConfig, "commitment_weight")
    threshold_ema_dead_code: float = _same_range(VQVAEConfig, "threshold_ema_dead_code")
    dropout: float = _same_range(VQVAEConfig, "dropout")
    n_mels: int = _same_range(SpectrogramConfig, "n_mels")

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return self.model_dump(exclude={"n_mels"})


class PriorArchitecture(Part):
    """What CodePrior is constructed with."""

    hidden: int = _same_range(PriorConfig, "hidden")
    layers: int = _same_range(PriorConfig, "layers")
    heads: int = _same_range(PriorConfig, "heads")
    dropout: float = _same_range(PriorConfig, "dropout")
    codebook_size: int = _same_range(VQVAEConfig, "codebook_size")
    num_quantizers: int = _same_range(VQVAEConfig, "num_quantizers")
    bands: int = Field(ge=1, le=256, description="Rows of the code grid: 16 mel bins each.")
    context: int = _same_range(PriorConfig, "context")
    conditions: Conditions | None = Field(None, description="What new sounds can be asked for; absent: nothing.")

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(handler(self), "conditions")

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        values = self.model_dump(exclude={"conditions"})
        return values if self.conditions is None else {**values, "conditions": self.conditions.width}


class VocoderArchitecture(Part):
    """What Vocoder is constructed with, beside the spectrogram."""

    hidden: int = _same_range(VocoderConfig, "hidden")
    blocks: int = _same_range(VocoderConfig, "blocks")

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
            "bands": vqvae.n_mels // _BAND,
            "codebook_dim": vqvae.codebook_dim,
            "hidden": self.hidden,
        }


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
    following: Following | None = Field(None, description="Absent where nothing can be asked for.")

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(handler(self), "following")


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
        if prior.bands * _BAND != vqvae.n_mels:
            raise ValueError(f"prior_config.bands must be {vqvae.n_mels // _BAND}, a sixteenth of n_mels")
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
        return {key: value for key, value in values.items() if value is not None or key not in _OPTIONAL}


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The same, without a key that holds nothing."""
    return {key: value for key, value in values.items() if key != name or value is not None}


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
