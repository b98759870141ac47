"""Every parameter of the pipeline: name, type, range, unit, default and what it does.

Files, flags, forms and the documentation are made from these models; nothing else lists parameters.
"""

import math
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from distill.instructions import Arithmetic
from distill.mel_scale import hertz_to_mel, mel_to_hertz

DEVICES = r"^(auto|cpu|mps|cuda(:\d{1,3})?)$"


def device_name(value: str) -> str:
    """The same text, where it is the name of a device.

    >>> device_name("cuda:1")
    'cuda:1'

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(DEVICES, value):
        raise ValueError(f"{value} is no device: use auto, cpu, cuda, cuda:N (the GPU of that number, from 0) or mps")
    return value


MOST_PROCESSES = 256

Device = Annotated[str, AfterValidator(device_name), WithJsonSchema({"type": "string", "pattern": DEVICES})]
Precision = Literal["auto", "fp32", "bf16"]

# Mel bins and frames that one position of the code grid covers.
STRIDE = 16

SPECTRAL_TERMS = ("full", "half", "quarter", "l1")
VOCODER_TERMS = ("convergence", "log_magnitude", "mel", "head")

# How a log mel becomes a sound: cheap magnitudes and phases by Griffin-Lim; the vocoder's spectrum as it is; the
# vocoder's magnitudes and phases by Griffin-Lim.
Inverse = Literal["griffin-lim", "vocoder", "vocoder+griffin-lim"]


class Config(BaseModel):
    """A frozen set of parameters that refuses unknown names and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Config):
    """Which sounds to use, and how to split them."""

    path: str = Field("sounds", min_length=1, description="Folder of sounds (or one file), relative to the project.")
    chunk_seconds: float = Field(1.0, ge=0.1, le=30.0, description="Length of a training chunk, in s.")
    validation_fraction: float | Literal["auto"] = Field(
        "auto", description="Share of the files that are held out, 0 to 0.9; auto: depends on the number of files."
    )
    speed_semitones: tuple[float, ...] = Field(
        (-2.0, -1.0, 1.0, 2.0),
        max_length=16,
        description="Speed (and pitch) variants of each training file, in semitones, each between -24 and 24.",
    )

    @model_validator(mode="after")
    def _check(self) -> "DataConfig":
        if self.validation_fraction != "auto" and not 0.0 <= self.validation_fraction <= 0.9:
            raise ValueError("validation_fraction must lie between 0 and 0.9")
        if any(not -24.0 <= value <= 24.0 or value == 0.0 for value in self.speed_semitones):
            raise ValueError("each of speed_semitones must lie between -24 and 24 and not be 0")
        return self


class SpectrogramConfig(Config):
    """The spectrogram that the models see: the logarithm of mel power above a floor."""

    sample_rate: int = Field(
        48_000, ge=8_000, le=192_000, description="Sample rate to which sounds are resampled, in Hz."
    )
    n_fft: int = Field(
        2048, ge=256, le=8192, multiple_of=2, description="Window length of the Fourier transform, in samples."
    )
    hop_length: int = Field(
        512,
        ge=64,
        le=4096,
        description="Hop length between two frames, in samples; at most half of n_fft; 256 with the preset sharp.",
    )
    n_mels: int = Field(128, ge=16, le=256, multiple_of=STRIDE, description="Number of mel bins; n_fft limits it.")
    floor_db: float = Field(
        -20.0,
        ge=-60.0,
        le=20.0,
        description="Mel power, in dB, below which the logarithm levels off: log1p(power / floor).",
    )

    @model_validator(mode="after")
    def _check(self) -> "SpectrogramConfig":
        if 2 * self.hop_length > self.n_fft:
            raise ValueError(
                f"hop_length ({self.hop_length}) must not be above half of n_fft ({self.n_fft}): "
                "frames that overlap less cannot be made sound again"
            )
        if empty := self._empty_filters(self.n_mels):
            most = max((n for n in range(STRIDE, self.n_mels, STRIDE) if not self._empty_filters(n)), default=0)
            lower = f"lower it to {most}, or " if most else ""
            raise ValueError(
                f"n_mels ({self.n_mels}) is too much for n_fft ({self.n_fft}) at {self.sample_rate} Hz, as {empty} "
                f"mel bins lie between its frequencies: {lower}raise n_fft"
            )
        return self

    def frames_of(self, samples: int) -> int:
        """Frames of a sound of so many samples.

        >>> SpectrogramConfig().frames_of(48_000)
        94
        """
        return 1 + samples // self.hop_length

    def _empty_filters(self, n_mels: int) -> int:
        """Triangular filters, evenly spaced in mel after HTK, within which no frequency of the transform lies."""
        top = hertz_to_mel(self.sample_rate / 2)
        edges = [mel_to_hertz(top * index / (n_mels + 1)) for index in range(n_mels + 2)]
        step = self.sample_rate / self.n_fft
        first_inside = ((math.floor(low / step) + 1) * step for low in edges)
        return sum(inside >= high for inside, high in zip(first_inside, edges[2:], strict=False))


class RunConfig(Config):
    """The run as a whole."""

    preset: Literal["tuned", "sketch", "sharp", "reference"] = Field(
        "tuned",
        description="reference: the plain table by number of files; tuned: with changes that measurements support; "
        "sketch: tuned with few steps; sharp: tuned with half the hop and 4 levels, nearly three times the work.",
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="Seed of the split, the weights, the augmentation and the sampling."
    )
    device: Device = Field(
        "auto",
        description="Device to train on: cpu, cuda, cuda:N (the GPU of that number, from 0) or mps; auto: CUDA, else "
        "MPS, else the CPU.",
    )
    processes: int = Field(
        1,
        ge=1,
        le=MOST_PROCESSES,
        # A run of one is what it was.
        exclude_if=lambda processes: processes == 1,
        description="Processes that share each batch of a training; they divide the threads among themselves, and on "
        "CUDA each takes a GPU. Another number gives other bytes.",
    )
    precision: Precision = Field(
        "auto",
        description="Number format of the networks; auto: bf16 if the processor multiplies it natively, else fp32.",
    )
    threads: int | Literal["auto"] = Field(
        "auto", description="CPU threads, 1 to 256; auto: one per core. Another number gives other bytes."
    )
    arithmetic: Arithmetic = Field(
        "native",
        description="portable: the same bytes on every x86-64 processor with AVX2; native: all that it can do.",
    )
    dask: str = Field(
        "",
        pattern=r"^(\w+://\S+)?$",
        max_length=1000,
        # A run that does not use it is what it was.
        exclude_if=lambda address: not address,
        description="Address of a Dask scheduler, such as tcp://host:8786, whose workers prepare the sounds and make "
        "the prior's codes; empty: the one in DASK_SCHEDULER_ADDRESS, else this machine. The bytes stay the same.",
    )

    @model_validator(mode="after")
    def _check(self) -> "RunConfig":
        if self.threads != "auto" and not 1 <= self.threads <= 256:
            raise ValueError("threads must lie between 1 and 256")
        return self


class TrainingConfig(Config):
    """What the one training loop needs to know, whichever model it trains."""

    epochs: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Passes over the training set, or epochs of steps_per_epoch steps if that is not 0.",
    )
    steps_per_epoch: int = Field(
        0, ge=0, le=100_000, description="Steps in an epoch; the next epoch continues the pass. 0: a full pass."
    )
    learning_rate: float = Field(1e-3, ge=1e-5, le=1e-2, description="Peak learning rate, after the warm-up.")
    min_learning_rate: float = Field(1e-6, ge=1e-8, le=1e-3, description="Final learning rate of the cosine schedule.")
    warmup_fraction: float = Field(
        0.0, ge=0.0, le=0.5, description="Share of the steps during which the learning rate rises from 0."
    )
    weight_decay: float = Field(0.01, ge=0.0, le=1.0, description="Decoupled weight decay of AdamW.")
    gradient_clip: float = Field(1.0, ge=0.1, le=10.0, description="Maximum norm of the gradient.")
    batch_size: int = Field(32, ge=1, le=1024, description="Items per step.")
    early_stop_patience: int = Field(
        0, ge=0, le=10_000, description="Epochs without a better one after which the training ends; 0: never."
    )
    checkpoint_interval: int = Field(10, ge=1, le=10_000, description="Epochs between two checkpoints.")
    max_checkpoints: int = Field(
        3, ge=1, le=1000, description="Number of newest checkpoints to keep, besides the best model."
    )

    @model_validator(mode="after")
    def _check_rates(self) -> "TrainingConfig":
        if self.min_learning_rate > self.learning_rate:
            raise ValueError("min_learning_rate must not be above learning_rate")
        return self


class VQVAEConfig(TrainingConfig):
    """The residual VQ-VAE and its training."""

    codebook_dim: int = Field(128, ge=4, le=1024, description="Dimension of a code vector.")
    codebook_size: int = Field(256, ge=2, le=4096, description="Codes in each level's codebook.")
    num_quantizers: int = Field(3, ge=2, le=4, description="Residual levels: fewer are faster, more give finer detail.")
    decay: float = Field(0.95, ge=0.0, lt=1.0, description="Decay of the moving averages of the codebooks.")
    commitment_weight: float = Field(0.25, ge=0.01, le=1.0, description="Weight of the commitment loss.")
    threshold_ema_dead_code: float = Field(
        2.0,
        ge=0.0,
        le=1000.0,
        description="A code with a lower usage (moving average of vectors per step) is replaced.",
    )
    kmeans_iters: int = Field(10, ge=1, le=1000, description="Iterations of the k-means that initializes the codes.")
    kmeans_chunks: int = Field(0, ge=0, le=100_000, description="Training chunks for k-means; 0: the first batch.")
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="Share of channels dropped in each block.")
    weight_full: float = Field(0.5, ge=0.0, le=0.9, description="Loss weight: squared error at full resolution.")
    weight_half: float = Field(0.3, ge=0.0, le=0.9, description="Loss weight: squared error at half resolution.")
    weight_quarter: float = Field(0.2, ge=0.0, le=0.9, description="Loss weight: squared error at quarter resolution.")
    weight_l1: float = Field(0.0, ge=0.0, le=0.9, description="Loss weight: absolute error at full resolution.")
    augmentation_expansion: int = Field(
        10, ge=1, le=1000, description="How often an epoch shows each training chunk, each time augmented differently."
    )
    augmentation_strength: float = Field(
        1.0, ge=0.0, le=2.0, description="Strength of noise, gain, time shift, tilt and decay; 0 switches them off."
    )
    preview_interval: int = Field(
        20, ge=1, le=10_000, description="Epochs between two sets of previews; there are at least five sets."
    )
    preview_count: int = Field(2, ge=0, le=16, description="Held-out sounds in a set of previews.")
    num_workers: int = Field(
        0, ge=0, le=64, description="Processes that prepare batches; 0: the training process itself."
    )

    @model_validator(mode="after")
    def _check_weights(self) -> "VQVAEConfig":
        total = sum(self.spectral_weights.values())
        if not 0.95 <= total <= 1.05:
            given = ", ".join(f"weight_{name} {value:g}" for name, value in self.spectral_weights.items())
            raise ValueError(f"the spectral weights must sum to 0.95 to 1.05, not {total:g} ({given})")
        return self

    @property
    def spectral_weights(self) -> dict[str, float]:
        """Weight of each spectral loss term by its name; they sum to about 1."""
        return {name: getattr(self, f"weight_{name}") for name in SPECTRAL_TERMS}


class PriorConfig(TrainingConfig):
    """The autoregressive prior over the codes, and its training."""

    hidden: int = Field(256, ge=16, le=4096, multiple_of=8, description="Width of the transformer.")
    layers: int = Field(4, ge=1, le=48, description="Transformer blocks.")
    heads: int = Field(4, ge=1, le=64, description="Attention heads; must divide the width.")
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="Dropout in the transformer.")
    context: int = Field(2048, ge=64, le=65_536, description="Longest window of codes, in tokens.")
    perplexity_threshold: float = Field(
        3.0, ge=1.0, le=1000.0, description="Training perplexity below which the prior may have memorized."
    )
    memorization_patience: int = Field(
        5,
        ge=1,
        le=1000,
        description="Epochs without a better held-out perplexity after which it counts as no longer falling.",
    )
    augmented_variants: bool = Field(True, description="Also learn from the speed variants of the training files.")
    column_cuts: Literal[1, 2, 4, 8, 16] = Field(
        1,
        description="Ways to cut a training sound into columns, each a fraction of a column later; mostly the first.",
    )
    augmented_copies: int = Field(
        0,
        ge=0,
        le=100,
        description="Copies of each training sound with changed gain, tilt and decay, marked as such.",
    )
    conditions: bool = Field(
        False,
        description="Learn to make sounds by label and knob: length, attack, bright, noisy, low, pitch. The preset "
        "tuned switches it on for 20 sounds or more.",
    )

    @model_validator(mode="after")
    def _check_heads(self) -> "PriorConfig":
        if self.hidden % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide hidden ({self.hidden})")
        return self


class LiveConfig(Config):
    """What a running training heeds besides its own parameters; every training starts with these defaults."""

    log_interval: int = Field(
        20, ge=1, le=10_000, description="Steps between two measurements of codebook health and layer activity."
    )
    validate_interval: int = Field(1, ge=1, le=10_000, description="Epochs between two evaluations.")
    keep_interval: int = Field(
        0, ge=0, le=10_000, description="Epochs between two checkpoints that are kept permanently; 0: none."
    )
    controller: bool = Field(False, description="Whether the controller reacts to a plateau, or only shows it.")
    plateau_patience: int = Field(
        8, ge=1, le=1000, description="Evaluations without sufficient improvement that make a plateau."
    )
    plateau_safety_threshold: int = Field(
        40, ge=2, le=10_000, description="Evaluations without sufficient improvement after which counting restarts."
    )
    cooldown_duration: int = Field(
        6, ge=1, le=1000, description="Evaluations after an intervention during which there is no other one."
    )

    @model_validator(mode="after")
    def _check_plateau(self) -> "LiveConfig":
        if self.plateau_safety_threshold <= self.plateau_patience:
            raise ValueError("plateau_safety_threshold must be above plateau_patience")
        return self


class MemorizationConfig(Config):
    """The check for copies of training sounds."""

    sounds: int = Field(32, ge=1, le=1000, description="Sounds generated for the check.")
    seconds: float = Field(3.0, ge=0.5, le=60.0, description="Longest duration of a generated sound, in s.")
    temperature: float = Field(1.0, gt=0.0, le=10.0, description="Sampling temperature for the check.")


class VocoderConfig(TrainingConfig):
    """The optional network that turns log mels into sound, and its training."""

    enabled: bool = Field(False, description="Train a vocoder and put it into the model file; takes minutes.")
    inverse: Inverse | Literal["auto"] = Field(
        "auto", description="How the model's log mels become sounds; auto: whatever does best on held-out sounds."
    )
    hidden: int = Field(192, ge=16, le=1024, multiple_of=8, description="Width of the network.")
    blocks: int = Field(6, ge=1, le=24, description="ConvNeXt blocks.")
    epochs: int = Field(20, ge=1, le=100_000, description="Epochs, each of steps_per_epoch steps.")
    steps_per_epoch: int = Field(50, ge=1, le=100_000, description="Steps between two evaluations.")
    batch_size: int = Field(8, ge=1, le=1024, description="Segments of sound per step.")
    segment_frames: int = Field(
        64, ge=STRIDE, le=1024, multiple_of=STRIDE, description="Length of a segment, in frames."
    )
    learning_rate: float = Field(2e-3, ge=1e-5, le=1e-2, description="Peak learning rate, after the warm-up.")
    warmup_fraction: float = Field(
        0.05, ge=0.0, le=0.5, description="Share of the steps during which the learning rate rises from 0."
    )
    reconstructed_share: float = Field(
        0.5, ge=0.0, le=1.0, description="Share of the segments whose log mel has passed through the VQ-VAE."
    )
    weight_convergence: float = Field(
        1.0, ge=0.0, le=10.0, description="Loss weight: spectral convergence of the sound, at three resolutions."
    )
    weight_log_magnitude: float = Field(
        1.0, ge=0.0, le=10.0, description="Loss weight: log magnitudes of the sound, at three resolutions."
    )
    weight_mel: float = Field(0.5, ge=0.0, le=10.0, description="Loss weight: log mel of the sound.")
    weight_head: float = Field(
        1.0, ge=0.0, le=10.0, description="Loss weight: magnitudes before they become a sound; independent of phases."
    )

    @model_validator(mode="after")
    def _check_any_weight(self) -> "VocoderConfig":
        if not any(self.loss_weights.values()):
            raise ValueError("one of the vocoder's loss weights must be above 0")
        return self

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each loss term by its name."""
        return {name: getattr(self, f"weight_{name}") for name in VOCODER_TERMS}


class ModelConfig(Config):
    """Name and description of the finished model; they do not affect its weights."""

    name: str = Field(
        "model", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="Name of the model and of its file."
    )
    description: str = Field("", max_length=2000, description="A sentence about the model, for people.")
    tags: tuple[str, ...] = Field((), max_length=50, description="Words by which to find the model.")
