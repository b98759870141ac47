"""The best of many new sounds: near to the request, and unlike the training's sounds and each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.artifact.model_file import read_manifest
from distill.audio.nearness import LogMel, active_windows, distances, nearest_share, window_frames
from distill.configs import SpectrogramConfig
from distill.dataset.split import TRAIN
from distill.errors import DataError, UsageError
from distill.generation.conditioning import distance_to_target, draw_grids, target_of
from distill.generation.generator import Generator
from distill.generation.loops import samples_to_draw
from distill.generation.sound_request import Request
from distill.library.model_check import Tell, find_dataset
from distill.memorization.nearest import nearest
from distill.memorization.of_model import RecordedSegments

MOST_DRAWN = 512
# Sounds that are farther apart than this are unlike each other: farther is no better.
UNLIKE = 0.3


@dataclass(frozen=True)
class Best:
    """Which of the seeds were chosen, in their order, and whether the training's sounds were there to compare with."""

    seeds: tuple[int, ...]
    compared: bool


def best_seeds(
    model: Path,
    request: Request,
    *,
    keep: int,
    of: int,
    seed: int,
    project: Path,
    device: str = "cpu",
    tell: Tell = lambda _done, _count: None,
) -> Best:
    """Draw new sounds and choose some of them, one after the other: each time the one that is worth most.

    A sound's worth is the sum of three shares from 0 to 1: how well it meets what was asked for, how unlike the
    nearest training sound it is, and how unlike the nearest sound that was chosen before.

    Args:
        model: a model file.
        request: of new sounds.
        keep: so many are chosen.
        of: so many are drawn.
        seed: of the first that is drawn; each further one has the next.
        project: where the prepared sounds are looked for.
        device: auto, cpu, cuda, cuda:N or mps.
        tell: called with the number drawn and the total; it may raise to end the work.

    Raises:
        UsageError: a number is out of its range, or the model cannot be asked for that.
        ArtifactError, StorageError: the model cannot be used.
    """
    if not 1 <= keep < of <= MOST_DRAWN:
        raise UsageError(
            f"--keep-best {keep} --of {of}: keep fewer sounds than you draw, and draw at most {MOST_DRAWN}"
        )
    request.check(count=of, seed=seed)
    generator = Generator.load(model, device)
    codec = generator.codec
    target = target_of(request, generator.conditions)
    drawn, seeds = samples_to_draw(codec, request), range(seed, seed + of)
    met, log_mels = [], list[LogMel]()
    for _, grid, got in draw_grids(generator, seeds, drawn, target, config=request.config, natural=request.natural):
        met.append(
            1.0 if target is None or got is None else 1.0 / (1.0 + distance_to_target(got.knobs, got.label, target))
        )
        log_mels.append(codec.decode_log_mel(grid)[:, : 1 + drawn // codec.spectrogram.hop_length])
        tell(len(log_mels), of)
    try:
        dataset = find_dataset(read_manifest(model), model, project)
    except DataError:
        unlike = np.ones(of)
        compared = False
    else:
        near = nearest(log_mels, RecordedSegments(dataset, dataset.segments_of(TRAIN)), codec.spectrogram)
        unlike = np.array([_unlike(each[0].distance) if each else 1.0 for each in near])
        compared = True
    chosen = chosen_of(np.array(met) + unlike, log_mels, codec.spectrogram, keep)
    return Best(tuple(seeds[index] for index in sorted(chosen)), compared)


def chosen_of(worth: np.ndarray, log_mels: Sequence[LogMel], config: SpectrogramConfig, keep: int) -> list[int]:
    """Indices of so many sounds, by their own worth and by how unlike those chosen before them they are."""
    size, left = window_frames(config), np.ones(len(worth))
    chosen: list[int] = []
    for _ in range(keep):
        total = worth + left
        total[chosen] = -np.inf
        index = int(total.argmax())
        chosen.append(index)
        left = np.minimum(left, [_unlike(_between(each, log_mels[index], size)) for each in log_mels])
    return chosen


def _unlike(distance: float) -> float:
    return min(1.0, distance / UNLIKE)


def _between(log_mel: LogMel, other: LogMel, size: int) -> float:
    """The distance of two sounds that begin together."""
    frames = min(log_mel.shape[1], other.shape[1])
    return nearest_share(distances(active_windows(log_mel[:, :frames], size), other[:, :frames], size))
