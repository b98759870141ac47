"""Training batches that follow from seed, epoch and step alone, whoever computes them and in whatever order."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from distill.audio.augment import augment
from distill.dataset.store import PreparedDataset

# How often a chunk is shown at its own speed where there are variants.
ORIGINAL_SHARE = 0.4
LEAD_SECONDS = 0.15
CUT_SECONDS = 0.05
_ORDER_STREAM, _ITEM_STREAM = 0x0DE4, 0x17E4


class TrainingBatches:
    """Augmented training chunks: an epoch shows each of them `expansion` times, in a shuffled order, each differently.

    Every showing picks a variant (the sound itself or one at another speed), moves the start in time, and passes the
    chunk through `augment`. Strength 0 leaves the moves and `augment` out; the variants stay.

    Args:
        dataset: where the chunks come from.
        batch_size: items in a step; the last of an epoch may have fewer.
        expansion: showings of a chunk in an epoch.
        strength: of the augmentation, 0 to 2.
        seed: decides everything random here, with the epoch and the item.
    """

    def __init__(
        self, dataset: PreparedDataset, *, batch_size: int, expansion: int, strength: float, seed: int
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.strength = strength
        self.seed = seed
        table = dataset.chunks("train")
        self._segment, self._start, self._expansion = table.segment, table.start, expansion
        self._variants = _variants_of(dataset)
        config = dataset.spectrogram
        frame_rate = config.sample_rate / config.hop_length
        self._lead, self._cut = round(LEAD_SECONDS * frame_rate), round(CUT_SECONDS * frame_rate)
        self._frames = dataset.segments["frames"].to_numpy()
        self._at_start = dataset.segments["at_start"].to_numpy()
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def items_per_epoch(self) -> int:
        """Showings in an epoch: chunks x expansion."""
        return len(self._segment) * self._expansion

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, the last of which may be smaller."""
        return -(-self.items_per_epoch // self.batch_size)

    def batch(self, epoch: int, step: int) -> np.ndarray:
        """Log mel float32 `[batch, n_mels, chunk_frames]` of a step (from 0) of an epoch."""
        if not 0 <= step < self.steps_per_epoch:
            raise IndexError(f"step {step} of {self.steps_per_epoch}")
        items = self._epoch_order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        generators = [self._generator(_ITEM_STREAM, epoch, int(item)) for item in items]
        chosen = [self._choose(int(item), generator) for item, generator in zip(items, generators, strict=True)]
        clean = self.dataset.gather([segment for segment, _ in chosen], [start for _, start in chosen])
        return augment(clean, generators, self.strength, self.dataset.spectrogram)

    def iter_batches(self, epoch: int, start_step: int = 0, num_workers: int = 0) -> Iterator[np.ndarray]:
        """The batches of an epoch from a step on, the same for any number of worker processes.

        Neither the caller's nor torch's, numpy's or Python's own random states are used.
        """
        steps = range(start_step, self.steps_per_epoch)
        if num_workers == 0:
            yield from (self.batch(epoch, step) for step in steps)
            return
        yield from DataLoader(
            _EpochBatches(self, epoch),
            sampler=steps,
            batch_size=None,
            num_workers=num_workers,
            collate_fn=_as_it_is,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._generator(_ORDER_STREAM, epoch, 0).permutation(self.items_per_epoch))
        return self._order[1]

    def _generator(self, stream: int, epoch: int, item: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, stream, epoch, item])))

    def _choose(self, item: int, generator: np.random.Generator) -> tuple[int, int]:
        """Segment and start (in frames, may be before the segment) of one showing."""
        chunk = item % len(self._segment)
        original, start = int(self._segment[chunk]), int(self._start[chunk])
        picked = original
        variants = self._variants[original]
        if variants and generator.random() >= ORIGINAL_SHARE:
            picked = variants[int(generator.integers(len(variants)))]
        length, frames = int(self._frames[picked]), self.dataset.chunk_frames
        start = round(start * length / int(self._frames[original]))
        # A sound may begin later than the chunk, never earlier than it truly begins.
        latest = max(length - frames, 0)
        if self.strength > 0:
            earliest = -self._lead if self._at_start[picked] else 0
            if length > frames:
                reach = frames // 2
                start += int(generator.integers(-reach, reach + 1))
            else:
                latest = min(self._cut, length // 8)
                start = int(generator.integers(earliest, latest + 1))
            return picked, min(max(start, earliest), latest)
        return picked, min(start, latest)


class _EpochBatches(Dataset[np.ndarray]):
    """An epoch whose item is a whole batch."""

    def __init__(self, batches: TrainingBatches, epoch: int) -> None:
        self._batches, self._epoch = batches, epoch

    def __len__(self) -> int:
        return self._batches.steps_per_epoch

    def __getitem__(self, step: int) -> np.ndarray:
        return self._batches.batch(self._epoch, step)


def _as_it_is(batch: Any) -> Any:
    return batch


def _variants_of(dataset: PreparedDataset) -> dict[int, list[int]]:
    """Rows of the speed variants of each training segment."""
    table = dataset.segments
    training = table[table["split"] == "train"]
    originals = training[training["semitones"] == 0]
    others = training[training["semitones"] != 0]
    # A file has one training segment, so its number finds its variants.
    by_file: dict[int, list[int]] = {}
    for row, file in zip(others.index, others["file"], strict=True):
        by_file.setdefault(int(file), []).append(int(row))
    return {int(row): by_file.get(int(file), []) for row, file in zip(originals.index, originals["file"], strict=True)}
