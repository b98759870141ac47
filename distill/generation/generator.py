"""New sounds: codes drawn from the prior, decoded, and made audible."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from distill.artifact.model_file import ModelFile, read_model
from distill.codec.codec import Codec, Grid, Samples
from distill.codec.load import build_networks, codec_of
from distill.configs import STRIDE
from distill.errors import ArtifactError
from distill.generation.autoregressive import UNCONDITIONED, Conditioning
from distill.generation.limits import check_request, peak_gain
from distill.generation.sampler import SamplingConfig
from distill.generation.sampling import sample_codes
from distill.generation.space import width_of, with_space
from distill.models.conditions import Conditions
from distill.models.edges import ColumnLevels, column_levels
from distill.models.grid import CONTEXT_COLUMNS
from distill.models.kernels import MOST_ROWS
from distill.models.prior import CodePrior
from distill.training.runtime import resolve_device

# A sound is inaudible that does not begin within so many seconds, or stays below this mel power.
HEARD_SECONDS, AUDIBLE_DB = 2.0, 0.0
# A sound that is cut off while it is loud would end with a click.
FADE_SECONDS = 0.01


@dataclass(frozen=True)
class GeneratedSound:
    """A new sound, or a given one with something new in it.

    Attributes:
        samples: float32. A new sound is mono, `[n]`, or of a model that knows space stereo, `[2, n]`, with a peak of
            -1 dB, or lower where that would take more than 24 dB of gain. A sound that was given has the channels and
            the level that it had: `[channels, n]`.
        sample_rate: in Hz.
        grid: the codes that it, or what is new in it, was made from, `[columns, bands, levels]`, with those of space.
        seed: the seed that gives it again.
    """

    samples: Samples
    sample_rate: int
    grid: Grid
    seed: int

    @property
    def seconds(self) -> float:
        """Duration in s."""
        return self.samples.shape[-1] / self.sample_rate


@dataclass(frozen=True)
class Generator:
    """What it takes to make sounds: a codec and a prior on the same device; the model's name and digest of weights.

    `conditions` are those of the prior; None: it has none.
    """

    codec: Codec
    prior: CodePrior
    name: str = "model"
    digest: str = ""
    conditions: Conditions | None = None

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Generator":
        """The generator of a `.distill` file.

        Raises:
            ArtifactError: the file cannot be used, has no prior, or holds weights that are not finite.
            StorageError: the file is there and cannot be read.
            UsageError: the device is not present.
        """
        device = resolve_device(device)
        model = read_model(path)
        networks = build_networks(model, path)
        prior = networks.prior.to(device)
        _require_finite(model, path)
        config = model.manifest.prior_config
        conditions = None if config is None else config.conditions
        return cls(codec_of(model, networks, device), prior, model.manifest.metadata.name, model.digest, conditions)


def generate(
    model: Path | Generator,
    *,
    count: int = 1,
    seconds: float,
    seed: int = 0,
    config: SamplingConfig | None = None,
    natural: bool = False,
    channels: int | None = None,
    width: float = 1.0,
    device: str = "cpu",
) -> list[GeneratedSound]:
    """Make new sounds.

    Args:
        model: a `.distill` file with a prior, or what was loaded from one.
        count: number of sounds.
        seconds: exact duration of each; with `natural` the greatest duration.
        seed: seed of the first sound; each further sound has the next.
        config: how codes are chosen; by default as `SamplingConfig` says.
        natural: end a sound where the prior ends it.
        channels: 1 or 2; None: 2 of a model that knows space.
        width: by how much what tells the channels apart is scaled.
        device: where to compute: auto, cpu, cuda, cuda:N or mps; of no effect on what is loaded already.

    Raises:
        UsageError: a number is out of its range, or the device is not present.
        ArtifactError: the file cannot be used, has no prior, or its weights are damaged.
        StorageError: the file cannot be read.
    """
    check_request(count=count, seconds=seconds, seed=seed)
    generator = model if isinstance(model, Generator) else Generator.load(model, device)
    wanted = max(1, generator.codec.samples_of(seconds))
    grids = sample_grids(generator, range(seed, seed + count), wanted, config=config, natural=natural)
    how = width_of(generator.codec, channels, width)
    return [sound_of(generator, grid, wanted, each, config, how) for each, grid in grids]


def sound_of(
    generator: Generator,
    grid: Grid,
    samples: int,
    seed: int,
    config: SamplingConfig | None = None,
    width: float | None = None,
) -> GeneratedSound:
    """The new sound of a grid that a seed gave, of at most so many samples; without a width it is mono.

    Raises:
        ArtifactError: the decoder's weights are damaged.
    """
    codec = generator.codec
    grid = with_space(codec, grid, seed=seed, config=config)
    blocks = waveform_blocks(generator, grid, samples)
    waveform = np.concatenate(list(codec.in_two_channels(blocks, grid, width))).T
    waveform = waveform * np.float32(peak_gain(float(np.max(np.abs(waveform)))))
    return GeneratedSound(waveform, codec.spectrogram.sample_rate, grid, seed)


def sample_grids(
    generator: Generator,
    seeds: Sequence[int],
    samples: int,
    *,
    config: SamplingConfig | None,
    natural: bool,
    step: Callable[[], None] = lambda: None,
    conditioning: Conditioning = UNCONDITIONED,
) -> Iterator[tuple[int, Grid]]:
    """Each seed with its code grid, from which `samples` can be made; a few are drawn at once, when the first is due.

    A natural sound without a conditioning draws some knobs by its seed, as `Conditions.drawn` says. `step` is called
    before each column is drawn; it may raise to end the work.

    Raises:
        UsageError: the settings are for another number of levels.
        ArtifactError: the prior's weights are damaged.
    """
    columns = generator.codec.columns_of(samples)
    for first in range(0, len(seeds), MOST_ROWS):
        chosen, of_chosen = seeds[first : first + MOST_ROWS], conditioning
        if natural and not conditioning.vector.size:
            of_chosen = default_conditioning(generator.conditions, chosen)
        grids = sample_codes(
            generator.prior,
            columns=columns,
            seeds=chosen,
            config=config,
            natural=natural,
            is_audible=partial(is_audible, generator.codec),
            levels=partial(levels_of, generator.codec),
            step=step,
            conditioning=of_chosen,
        )
        yield from zip(chosen, grids, strict=True)


def default_conditioning(conditions: Conditions | None, seeds: Sequence[int]) -> Conditioning:
    """The conditioning of natural sounds for which none is given, by their seeds."""
    if conditions is None or not conditions.drawn:
        return UNCONDITIONED
    return Conditioning(np.stack([conditions.drawn_vector(seed) for seed in seeds]))


def is_audible(codec: Codec, grid: Grid) -> bool:
    """Whether anything in the first 2 s is more than a breath."""
    first = grid[: codec.columns_of(codec.samples_of(HEARD_SECONDS))]
    return float(levels_of(codec, first).parts.max()) > AUDIBLE_DB


def levels_of(codec: Codec, grid: Grid) -> ColumnLevels:
    """The levels of a grid's columns."""
    return column_levels(torch.from_numpy(codec.decode_log_mel(grid)), codec.mel)


def waveform_blocks(generator: Generator, grid: Grid, samples: int) -> Iterator[Samples]:
    """The first `samples` of a grid's waveform, or all of them where it has fewer, in blocks `[n]`.

    The last 10 ms fade out. They have the level of the codes: the peak may lie above 1. A long sound is nowhere as a
    whole.

    Raises:
        ArtifactError: the decoder's weights are damaged.
    """
    codec = generator.codec

    def log_mel(first: int, last: int) -> torch.Tensor:
        begin = max(0, first // STRIDE - CONTEXT_COLUMNS)
        end = min(len(grid), -(-last // STRIDE) + CONTEXT_COLUMNS)
        frames = codec.decode_log_mel(grid[begin:end])[:, first - STRIDE * begin : last - STRIDE * begin]
        return torch.from_numpy(np.ascontiguousarray(frames)).to(codec.device)

    frames = STRIDE * len(grid)
    left = min(samples, (frames - 1) * codec.spectrogram.hop_length)
    fade = min(left, codec.samples_of(FADE_SECONDS))
    for block in codec.waveform_blocks(log_mel, frames):
        kept = block[:left]
        yield _faded(kept, left, fade)
        left -= len(kept)
        if not left:
            return


def _faded(block: Samples, left: int, fade: int) -> Samples:
    """A block that begins when `left` samples are left of a sound, the last `fade` of which sink to 0."""
    if left - len(block) >= fade:
        return block
    share = np.arange(left, left - len(block), -1, dtype=np.float32) / np.float32(fade + 1)
    faded: Samples = block * np.square(np.sin(np.minimum(share, 1) * np.float32(np.pi / 2)))
    return faded


def _require_finite(model: ModelFile, path: Path) -> None:
    states = {"vqvae": model.vqvae_state, "prior": model.prior_state or {}}
    states |= {"vocoder": model.vocoder_state or {}, "space": model.space_state or {}}
    for part, state in states.items():
        for name, tensor in state.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise ArtifactError(f"{path} is damaged: {part}.{name} is not finite in places; train it again")
