"""Training batches that follow from seed, epoch and step alone, in any process and any order."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from multiprocessing.forkserver import ensure_running
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from distill.audio.augment import augment
from distill.dataset.split import TRAIN
from distill.dataset.store import PreparedDataset

# How often a chunk is shown at its own speed where there are variants.
ORIGINAL_SHARE = 0.4
LEAD_SECONDS = 0.15
CUT_SECONDS = 0.05
_ORDER_STREAM, _ITEM_STREAM = 0x0DE4, 0x17E4

# Which items of a batch of so many are wanted.
Part = Callable[[int], slice]


def _whole(count: int) -> slice:
    return slice(0, count)


@dataclass(frozen=True)
class EpochSteps:
    """How the steps of the epochs lie in passes over the data.

    An epoch has the steps that are wanted, part of a pass or more than one; where 0 are wanted, it is a pass.

    >>> [EpochSteps(in_pass=5, wanted=2).place(epoch, 1) for epoch in range(3)]
    [(0, 1), (0, 3), (1, 0)]
    """

    in_pass: int
    wanted: int

    @property
    def in_epoch(self) -> int:
        """Steps of an epoch."""
        return self.wanted or self.in_pass

    def place(self, epoch: int, step: int) -> tuple[int, int]:
        """The pass and the step in it of a step of an epoch, all from 0.

        Raises:
            IndexError: the epoch has no such step.
        """
        if not 0 <= step < self.in_epoch:
            raise IndexError(f"step {step} of {self.in_epoch}")
        return divmod(epoch * self.in_epoch + step, self.in_pass)


class TrainingBatches:
    """Augmented training chunks: a pass shows each of them `expansion` times, in a shuffled order, each differently.

    An epoch is a pass, or `steps_per_epoch` steps: the next epoch goes on behind them.
    Every showing picks a variant (the sound itself or one at another speed), moves the start in time, and passes the
    chunk through `augment`. Strength 0 leaves the moves and `augment` out; the variants stay.

    Args:
        dataset: where the chunks come from.
        batch_size: items in a step; the last of a pass may have fewer.
        expansion: showings of a chunk in a pass.
        strength: of the augmentation, 0 to 2.
        seed: decides everything random here, with the pass and the item.
        steps_per_epoch: batches in an epoch; 0: those of a pass.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        *,
        batch_size: int,
        expansion: int,
        strength: float,
        seed: int,
        steps_per_epoch: int = 0,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.strength = strength
        self.seed = seed
        table = dataset.chunks(TRAIN)
        self._segment, self._start = table.segment, table.start
        self._items = len(table) * expansion
        self.steps = EpochSteps(-(-self._items // batch_size), steps_per_epoch)
        self._variants = _variants_of(dataset)
        config = dataset.spectrogram
        frame_rate = config.sample_rate / config.hop_length
        self._lead, self._cut = round(LEAD_SECONDS * frame_rate), round(CUT_SECONDS * frame_rate)
        self._frames = dataset.segments["frames"].to_numpy()
        self._at_start = dataset.segments["at_start"].to_numpy()
        self._known: tuple[int, np.ndarray] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; the last of a pass may be smaller."""
        return self.steps.in_epoch

    def batch(self, epoch: int, step: int, part: Part = _whole) -> np.ndarray:
        """Log mel float32 `[batch, n_mels, chunk_frames]` of a step (from 0) of an epoch (from 0), or of a part of it.

        An item is the same in every part that contains it.
        """
        return self._batch(*self.steps.place(epoch, step), part)

    def items(self, epoch: int, step: int) -> int:
        """How many items the batch of a step has."""
        _, place = self.steps.place(epoch, step)
        return min(self.batch_size, self._items - place * self.batch_size)

    def first_pass(self) -> Iterator[np.ndarray]:
        """The batches of the first pass, whatever of it is the first epoch."""
        return (self._batch(0, step) for step in range(self.steps.in_pass))

    def _batch(self, number: int, step: int, part: Part = _whole) -> np.ndarray:
        items = self._order(number)[step * self.batch_size : (step + 1) * self.batch_size]
        items = items[part(len(items))]
        generators = [self._generator(_ITEM_STREAM, number, int(item)) for item in items]
        chosen = [self._choose(int(item), generator) for item, generator in zip(items, generators, strict=True)]
        clean = self.dataset.gather([segment for segment, _ in chosen], [start for _, start in chosen])
        return augment(clean, generators, self.strength, self.dataset.spectrogram)

    def iter_batches(
        self, epoch: int, start_step: int = 0, num_workers: int = 0, part: Part = _whole
    ) -> Iterator[np.ndarray]:
        """The batches of an epoch from a step on, or a part of each, the same for any number of worker processes.

        Neither the caller's nor torch's, numpy's or Python's own random states are used.
        """
        steps = range(start_step, self.steps_per_epoch)
        if num_workers == 0:
            yield from (self.batch(epoch, step, part) for step in steps)
            return
        yield from DataLoader(
            _EpochBatches(self, epoch, part),
            sampler=steps,
            batch_size=None,
            num_workers=num_workers,
            collate_fn=_as_it_is,
            # A copy of this process would have its threads' locks without the threads, and run what other libraries
            # do at the end of it.
            multiprocessing_context=_clean_processes(),
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _order(self, number: int) -> np.ndarray:
        """The items of a pass in their order."""
        if self._known is None or self._known[0] != number:
            self._known = (number, self._generator(_ORDER_STREAM, number, 0).permutation(self._items))
        return self._known[1]

    def _generator(self, stream: int, number: int, item: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream, number, item])

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
    """An epoch whose item is a batch, or a part of it."""

    def __init__(self, batches: TrainingBatches, epoch: int, part: Part) -> None:
        self._batches, self._epoch, self._part = batches, epoch, part

    def __len__(self) -> int:
        return self._batches.steps_per_epoch

    def __getitem__(self, step: int) -> np.ndarray:
        return self._batches.batch(self._epoch, step, self._part)


def _clean_processes() -> BaseContext:
    """Processes that are no copies of this one, which start fast where the system can copy an empty one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    # The end of a terminal reaches all its processes: who asked for the batches decides. Children inherit a mask.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _as_it_is(batch: Any) -> Any:
    return batch


def _variants_of(dataset: PreparedDataset) -> dict[int, list[int]]:
    """Rows of the speed variants of each training segment."""
    table = dataset.segments
    training = table[table["split"] == TRAIN]
    originals = training[training["semitones"] == 0]
    others = training[training["semitones"] != 0]
    # A file has one training segment, so its number finds its variants.
    by_file: dict[int, list[int]] = {}
    for row, file in zip(others.index, others["file"], strict=True):
        by_file.setdefault(int(file), []).append(int(row))
    return {int(row): by_file.get(int(file), []) for row, file in zip(originals.index, originals["file"], strict=True)}
