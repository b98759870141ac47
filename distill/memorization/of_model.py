"""The check of a model: sounds that it generates, and the sounds it learned from and did not, through its codec."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.artifact.manifest import PriorMetadata
from distill.audio.nearness import LogMel
from distill.audio.power import in_floors
from distill.audio.space import BAND_MELS, channel_factors
from distill.codec.codec import Codec, Grid
from distill.configs import STRIDE
from distill.dataset.split import TRAIN
from distill.dataset.store import PreparedDataset
from distill.generation import GUIDANCE
from distill.generation.conditioning import Target, nearest_grids
from distill.generation.generator import Generator, sample_grids
from distill.generation.sampler import SamplingConfig
from distill.generation.space import with_space
from distill.memorization.compare import Findings, Tell, compare
from distill.memorization.sounds import CheckedSound, Silence, between_silence
from distill.models.grid import CONTEXT_COLUMNS, columns_of_frames

# Where the two channels of a sound differ by so much in level, in dB, the mean by power, each is compared by itself:
# what one of them holds alone is hidden in the mix.
APART_DB = 3.0
CHANNELS = ("left", "right")
# How many sounds are generated for each label, beside the unconditioned ones.
SOUNDS_OF_LABEL = 4


@dataclass(frozen=True)
class CheckSettings:
    """How many sounds a model generates for its check, of how many s at most, and how."""

    sounds: int
    seconds: float
    temperature: float
    seed: int


def findings_of(
    generator: Generator, dataset: PreparedDataset, settings: CheckSettings, *, tell: Tell = lambda _done, _count: None
) -> Findings:
    """Generate sounds and hold them against the sounds of the dataset.

    Args:
        generator: the model's codec and prior.
        dataset: the dataset that it learned from.
        settings: what to generate.
        tell: told how much of how much is done; it may raise to end the check.

    Raises:
        ArtifactError: the weights give numbers that are not finite.
    """
    codec = generator.codec
    silence, config = Silence(codec), SamplingConfig(temperature=settings.temperature)
    training = DatasetSounds(codec, dataset, dataset.segments_of(TRAIN, variants=True))
    labels = () if generator.conditions is None else generator.conditions.labels
    wanted = [None] * settings.sounds + [label for label in labels for _ in range(SOUNDS_OF_LABEL)]
    count, generated = len(wanted) + len(training.frames), list[CheckedSound]()

    def step() -> None:
        tell(len(generated), count)

    for (seed, grid), label in zip(_draw(generator, settings, labels, config, step), wanted, strict=True):
        name = f"generated sound {len(generated) + 1}" + (f" ({label})" if label is not None else "")
        space = codec.space_of(with_space(codec, grid, seed=seed, config=config))
        generated.append(_checked(codec, silence, name, grid, space))
        step()
    return compare(
        generated,
        training,
        DatasetSounds(codec, dataset, dataset.held_out),
        silence,
        spectrogram=codec.spectrogram,
        most_frames=STRIDE * codec.columns_of(codec.samples_of(settings.seconds)),
        labels=wanted,
        tell=tell,
    )


def _draw(
    generator: Generator,
    settings: CheckSettings,
    labels: Sequence[str],
    config: SamplingConfig,
    step: Callable[[], None],
) -> Iterator[tuple[int, Grid]]:
    """Seeds and grids of unconditioned sounds, then of some for each label: copies are
    likeliest where a label has few sounds.
    """
    samples = generator.codec.samples_of(settings.seconds)
    options: dict[str, Any] = {"config": config, "natural": True, "step": step}
    first = settings.seed + settings.sounds
    yield from sample_grids(generator, range(settings.seed, first), samples, **options)
    for label in labels:
        assert generator.conditions is not None
        target = Target(generator.conditions, label, {}, None, GUIDANCE, 1)
        seeds = range(first, first + SOUNDS_OF_LABEL)
        yield from ((seed, grid) for seed, grid, _ in nearest_grids(generator, seeds, samples, target, **options))
        first += SOUNDS_OF_LABEL


def _checked(
    codec: Codec, silence: Silence, name: str, grid: Grid, space: npt.NDArray[np.float32] | None
) -> CheckedSound:
    """A generated sound; where its channels differ in level, they are as the codec gives each of them back."""
    log_mel, channels = np.maximum(codec.decode_log_mel(grid), 0.0), []
    if space is not None and apart_db(log_mel, space) >= APART_DB:
        for channel in CHANNELS:
            codes = codec.encode_log_mel(in_channel(log_mel, space, channel))
            decoded = np.maximum(codec.decode_log_mel(codes), 0.0)
            channels.append(
                CheckedSound(f"{name}, {channel} channel", decoded, codes, silence.sounding(decoded, codes))
            )
    sounding = silence.sounding(log_mel, grid)
    return CheckedSound(name, log_mel, grid, sounding, channels=tuple(channels), space=space)


def figures_of(metadata: PriorMetadata) -> dict[str, Any]:
    """The perplexities of a prior's training, for the evidence."""
    document = metadata.model_dump(mode="json")
    return {
        **document["perplexity"],
        "per_level": document["perplexity_per_level"],
        "threshold": document["perplexity_threshold"],
    }


class RecordedSegments:
    """Segments of a dataset as they were recorded; see `distill.memorization.sounds.Recorded`."""

    def __init__(self, dataset: PreparedDataset, segments: list[int]) -> None:
        self.dataset, self.segments = dataset, segments
        rows = dataset.segments.iloc[segments]
        self.files: list[int] = rows["file"].tolist()
        self.frames: list[int] = rows["frames"].tolist()
        self._semitones: list[float] = rows["semitones"].tolist()

    @cached_property
    def names(self) -> list[str]:
        """Paths below the folder of sounds, and the variant."""
        each = zip(self.segments, self._semitones, strict=True)
        return [self.dataset.segment_name(row) + (f" ({by:+g} semitones)" if by else "") for row, by in each]

    def log_mel(self, index: int, first: int, last: int) -> LogMel:
        """Frames of a segment, silence outside of it."""
        return between_silence(partial(self._read, index), self.frames[index], first, last)

    def space(self, index: int, first: int, last: int) -> npt.NDArray[np.float32] | None:
        """Where frames of a segment lie between two channels, `[frames, bands, 2]`; None: all sounds are mono."""
        return self.dataset.space(self.segments[index], first, last) if self.dataset.stereo else None

    def _read(self, index: int, begin: int, end: int) -> LogMel:
        """Frames of a segment that are there."""
        return self.dataset.segment(self.segments[index], begin, end)


class DatasetSounds(RecordedSegments):
    """The same and what a codec makes of them; see `distill.memorization.sounds.KnownSounds`.

    Where the channels of a sound differ in level, each of them is a sound as well, behind all others.
    """

    def __init__(self, codec: Codec, dataset: PreparedDataset, segments: list[int]) -> None:
        apart = [index for index, row in enumerate(segments) if dataset.apart_db(row) >= APART_DB]
        super().__init__(dataset, [*segments, *(segments[index] for index in apart for _ in CHANNELS)])
        self.codec = codec
        self._channels: list[str] = [*[""] * len(segments), *(channel for _ in apart for channel in CHANNELS)]
        self.channels: list[list[int]] = [[] for _ in self._channels]
        for place, index in enumerate(apart):
            first = len(segments) + len(CHANNELS) * place
            self.channels[index] = list(range(first, first + len(CHANNELS)))
        self.names = [
            f"{name}, {channel} channel" if channel else name
            for name, channel in zip(self.names, self._channels, strict=True)
        ]

    def space(self, index: int, first: int, last: int) -> npt.NDArray[np.float32] | None:
        """The same; a channel of a sound lies nowhere."""
        return None if self._channels[index] else super().space(index, first, last)

    def grid(self, index: int) -> Grid:
        """The codes of a whole segment."""
        return self.codec.encode_parts(partial(self.log_mel, index), self.frames[index])

    def through_codec(self, index: int, first: int, columns: int) -> tuple[LogMel, Grid]:
        """So many columns from a frame on; the network sees what lies around them, where the segment goes on."""
        before = min(CONTEXT_COLUMNS, max(0, first) // STRIDE)
        last = first + STRIDE * columns
        behind = min(CONTEXT_COLUMNS, columns_of_frames(max(0, self.frames[index] - last)))
        seen = self.log_mel(index, first - STRIDE * before, last + STRIDE * behind)
        grid = self.codec.encode_log_mel(seen)[before : before + columns]
        return np.maximum(self.codec.decode_log_mel(grid), 0.0), grid

    def _read(self, index: int, begin: int, end: int) -> LogMel:
        """Frames of a segment, or of a channel of it."""
        log_mel, channel = super()._read(index, begin, end), self._channels[index]
        if not channel:
            return log_mel
        return in_channel(log_mel, self.dataset.space(self.segments[index], begin, end), channel)


def apart_db(log_mel: LogMel, space: npt.NDArray[np.float32]) -> float:
    """By how much two channels differ in level, in dB: the mean by power.

    Args:
        log_mel: of the mix, `[n_mels, frames]`.
        space: level differences and coherences, `[frames, bands, 2]`, of as many frames or more.
    """
    power = in_floors(log_mel)
    power = power.reshape(-1, BAND_MELS, power.shape[1]).sum(1).T
    level = np.abs(space[: len(power), :, 0])
    return float((level * power).sum() / max(float(power.sum()), 1e-9))


def in_channel(log_mel: LogMel, space: npt.NDArray[np.float32], channel: str) -> LogMel:
    """The log mel of a channel, of that of the mix and where the sound lies."""
    factors = channel_factors(space[: log_mel.shape[1]])[CHANNELS.index(channel)]
    power = in_floors(log_mel) * np.repeat(factors.T, BAND_MELS, axis=0)
    found: LogMel = np.log1p(power).astype(np.float32)
    return found
