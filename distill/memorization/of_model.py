"""The check of a model: sounds that it generates, and the sounds it learned from and did not, through its codec."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from distill.artifact.manifest import PriorMetadata
from distill.codec.codec import Codec, Grid
from distill.configs import STRIDE
from distill.dataset.split import TRAIN, VALIDATION
from distill.dataset.store import PreparedDataset
from distill.generation.choice import SamplingConfig
from distill.generation.render import Generator, sample_grids
from distill.memorization.compare import CheckedSound, Findings, compare
from distill.memorization.nearness import LogMel
from distill.models.grid import encode_grid
from distill.training.prior import encode_segments

Tell = Callable[[int, int], None]


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

    Every sound is compared as the codec gives it back: a generated one has been through the decoder, and a copy of
    codes then equals what it was copied from exactly.

    Args:
        generator: the model's codec and prior.
        dataset: the dataset that it learned from.
        asked: what to generate.
        tell: told how many of how many sounds have been made ready; it may raise to end the check.

    Raises:
        ArtifactError: the weights give numbers that are not finite.
    """
    codec = generator.codec
    segments = [*dataset.segments_of(TRAIN, variants=True), *dataset.segments_of(VALIDATION)]
    known, count = [], asked.sounds + len(segments)
    generated = []
    grids = sample_grids(
        generator,
        range(asked.seed, asked.seed + asked.sounds),
        codec.samples_of(asked.seconds),
        config=SamplingConfig(temperature=asked.temperature),
        natural=True,
    )
    for index, (_, grid) in enumerate(grids):
        generated.append(CheckedSound(f"generated sound {index}", np.maximum(codec.decode_log_mel(grid), 0.0), grid))
        tell(len(generated), count)
    for segment in segments:
        known.append(_sound(codec, dataset, segment))
        tell(asked.sounds + len(known), count)
    held_out = len(dataset.segments_of(VALIDATION))
    training = known[: len(known) - held_out]
    return compare(
        generated, training, known[len(training) :], spectrogram=codec.spectrogram, silence=silence_of(codec)
    )


def figures_of(metadata: PriorMetadata) -> dict[str, Any]:
    """The perplexities of a prior's training, for the evidence."""
    document = metadata.model_dump(mode="json")
    return {
        **document["perplexity"],
        "per_level": document["perplexity_per_level"],
        "threshold": document["perplexity_threshold"],
    }


def originals_of(dataset: PreparedDataset) -> Callable[[int], LogMel]:
    """Gives the training sounds of `findings_of` as they were before the codec, by their number in the findings."""
    segments = dataset.segments_of(TRAIN, variants=True)
    return lambda index: dataset.segment(segments[index])


def silence_of(codec: Codec) -> Grid:
    """The code of silence at each place of a column, `[bands, levels]`."""
    silent = torch.zeros(1, codec.spectrogram.n_mels, STRIDE, device=codec.device)
    return encode_grid(codec.vqvae, silent)[0, 0].cpu().numpy()


def _sound(codec: Codec, dataset: PreparedDataset, segment: int) -> CheckedSound:
    """A segment of a dataset as the codec gives it back."""
    row = dataset.segments.iloc[segment]
    (grid,) = encode_segments(dataset, codec.vqvae, [segment], str(codec.device))
    name, semitones = dataset.segment_name(segment), float(row["semitones"])
    if semitones:
        name += f" ({semitones:+g} semitones)"
    log_mel = codec.decode_log_mel(grid)[:, : int(row["frames"])]
    return CheckedSound(name, np.maximum(log_mel, 0.0), grid, int(row["file"]))
