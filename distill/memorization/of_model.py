"""The check of a model: sounds that it generates, and the sounds it learned from and did not, through its codec."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from distill.artifact.manifest import PriorMetadata
from distill.audio.nearness import LogMel
from distill.codec.codec import Codec, Grid
from distill.configs import STRIDE
from distill.dataset.split import TRAIN, VALIDATION
from distill.dataset.store import PreparedDataset
from distill.generation.asking import Ask, nearest_grids
from distill.generation.choice import SamplingConfig
from distill.generation.render import Generator, sample_grids
from distill.memorization.compare import Findings, Tell, compare
from distill.memorization.sounds import CheckedSound, Silence
from distill.models.grid import CONTEXT_COLUMNS, columns_of
from distill.training.prior import encode_segment

# What is asked for by each label beside the sounds of which nothing is asked, as strongly as it is by default.
SOUNDS_OF_LABEL, GUIDANCE = 4, 1.0


@dataclass(frozen=True)
class Asked:
    """Which sounds a model generates for its check: how many, of at most so many s, and how."""

    sounds: int
    seconds: float
    temperature: float
    seed: int


def findings_of(
    generator: Generator, dataset: PreparedDataset, asked: Asked, *, tell: Tell = lambda _done, _count: None
) -> Findings:
    """Generate sounds and hold them against the sounds of the dataset.

    Args:
        generator: the model's codec and prior.
        dataset: the dataset that it learned from.
        asked: what to generate.
        tell: told how much of how much is done; it may raise to end the check.

    Raises:
        ArtifactError: the weights give numbers that are not finite.
    """
    codec = generator.codec
    silence, samples = Silence(codec), codec.samples_of(asked.seconds)
    training = DatasetSounds(codec, dataset, dataset.segments_of(TRAIN, variants=True))
    generated: list[CheckedSound] = []
    labels = () if generator.conditions is None else generator.conditions.labels
    count = asked.sounds + SOUNDS_OF_LABEL * len(labels) + len(training.frames)
    settings: dict[str, Any] = {"config": SamplingConfig(temperature=asked.temperature), "natural": True}

    def add(grid: Grid, kind: str = "") -> None:
        log_mel = np.maximum(codec.decode_log_mel(grid), 0.0)
        sounding = silence.sounding(log_mel, grid)
        generated.append(CheckedSound(f"generated sound {len(generated) + 1}{kind}", log_mel, grid, sounding))
        tell(len(generated), count)

    settings["step"] = lambda: tell(len(generated), count)
    for _, grid in sample_grids(generator, range(asked.seed, asked.seed + asked.sounds), samples, **settings):
        add(grid)
    # A label of few sounds is where copies would come from.
    for number, label in enumerate(labels):
        assert generator.conditions is not None
        first = asked.seed + asked.sounds + SOUNDS_OF_LABEL * number
        ask = Ask(generator.conditions, label, {}, None, GUIDANCE, 1)
        for _, grid, _ in nearest_grids(generator, range(first, first + SOUNDS_OF_LABEL), samples, ask, **settings):
            add(grid, f" ({label})")
    return compare(
        generated,
        training,
        DatasetSounds(codec, dataset, dataset.segments_of(VALIDATION)),
        silence,
        spectrogram=codec.spectrogram,
        most_frames=STRIDE * codec.columns_of(samples),
        labels=[None] * asked.sounds + [label for label in labels for _ in range(SOUNDS_OF_LABEL)],
        tell=tell,
    )


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
        out = np.zeros((self.dataset.spectrogram.n_mels, last - first), np.float32)
        begin, end = max(0, first), min(last, self.frames[index])
        if end > begin:
            out[:, begin - first : end - first] = self.dataset.segment(self.segments[index], begin, end)
        return out


class DatasetSounds(RecordedSegments):
    """The same and what a codec makes of them; see `distill.memorization.sounds.KnownSounds`."""

    def __init__(self, codec: Codec, dataset: PreparedDataset, segments: list[int]) -> None:
        super().__init__(dataset, segments)
        self.codec = codec

    def grid(self, index: int) -> Grid:
        """The codes of a whole segment."""
        return encode_segment(self.dataset, self.codec.vqvae, self.segments[index], str(self.codec.device))

    def through_codec(self, index: int, first: int, columns: int) -> tuple[LogMel, Grid]:
        """So many columns from a frame on; the network sees what lies around them, where the segment goes on."""
        before = min(CONTEXT_COLUMNS, max(0, first) // STRIDE)
        last = first + STRIDE * columns
        behind = min(CONTEXT_COLUMNS, columns_of(max(0, self.frames[index] - last)))
        seen = self.log_mel(index, first - STRIDE * before, last + STRIDE * behind)
        grid = self.codec.encode_log_mel(seen)[before : before + columns]
        return np.maximum(self.codec.decode_log_mel(grid), 0.0), grid
