"""The codes that a prior learns from: made once, in batches and pieces, and kept in one memory-mapped file.

Every training sound is encoded as it is and in changed copies, and each of them from several first frames, so that the
borders of the columns lie elsewhere (its cuts); every held-out sound is encoded as it is. The first cut begins where
something is heard, so that a beginning always lies in the same place of its column. What was made lies row after
row in `codes.npy`, `[columns, bands, levels]`, and `codes.json` says how much of it is sure to be on disk: after an
interruption it goes on behind that.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from distill.audio.knobs import KNOBS, knobs_of
from distill.audio.mel import MelTransform
from distill.audio.timbre import Timbre, timbre_of
from distill.configs import STRIDE, PriorConfig
from distill.dataset.labels import learned
from distill.dataset.memory_mapped import MappedRows
from distill.dataset.split import TRAIN, VALIDATION
from distill.dataset.store import PreparedDataset
from distill.errors import ArtifactError, StorageError
from distill.files import digest_json, read_json, storage_errors, write_json
from distill.locks import try_lock
from distill.models.conditions import Conditions
from distill.models.edges import HEARD_DB
from distill.models.grid import PIECE_COLUMNS
from distill.models.prior import IGNORED
from distill.models.sequences import Grid, Window, window_at, windows
from distill.models.vqvae import ConvVQVAE
from distill.training.encoding import Changes, Cut, Encoder, Group, codes_of, dtype_of
from distill.training.runtime import Runtime
from distill.training.task import spread
from distill.workers.choice import place_for
from distill.workers.place import Here, Place, mapped, usable_cores

CODES, INDEX = "codes.npy", "codes.json"
SCHEMA = 1
# Columns that go through the encoder at once: it has memory for so much of short sounds together as of one long one.
BATCH_COLUMNS = 4 * PIECE_COLUMNS
SAVED_SECONDS = 5.0
# What one core needs for a column.
SECONDS_A_COLUMN = 6e-4
# The conditions follow from the knobs of at most so many sounds.
MEASURED = 2048

Knobs = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float32]
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Stretch:
    """Codes of a stretch of a sound `[columns, bands, levels]`, and whether it begins and ends where the sound does.

    `condition` is the vector of its sound, `[conditions]`; None: the prior has no conditions.
    """

    grid: Grid
    at_start: bool
    at_end: bool
    changed: bool
    condition: Vector | None = None

    def windows(self, columns: int) -> list[Window]:
        """Windows of at most so many columns in which each code of the stretch counts once."""
        return [self._within(window) for window in windows(self._shown, columns)]

    def window(self, first: int, columns: int) -> Window:
        """The window of at most so many columns that begins with a column."""
        return self._within(window_at(self._shown, first, columns))

    @property
    def _shown(self) -> Grid:
        """Where the sound goes on behind the stretch, its last column is only there to be predicted."""
        return self.grid if self.at_end or len(self.grid) == 1 else self.grid[:-1]

    def _within(self, window: Window) -> Window:
        if not self.at_start and window.starts_file:
            window = replace(window, starts_file=False, scored_from=max(1, window.scored_from))
        if not self.at_end and window.following is None:
            # Of a single column it is not known what follows.
            after = int(self.grid[-1, 0, 0]) if len(self.grid) > 1 else IGNORED
            window = replace(window, following=after)
        return replace(window, changed=self.changed, condition=self.condition)


class Sounds:
    """The sounds of a split, in all their cuts and copies, by their rows in the codes file.

    Args:
        dataset: where the sounds come from.
        split: `train` or `validation`.
        variants: also those at other speeds.
        cuts: ways to cut a sound into columns.
        copies: changed copies of each.
        seed: decides how they are changed.
    """

    def __init__(
        self, dataset: PreparedDataset, split: str, *, variants: bool, cuts: int, copies: int, seed: int
    ) -> None:
        self.dataset, self.cuts, self.copies = dataset, cuts, copies
        self.changes = Changes(dataset.spectrogram, seed, copies)
        self.rows = np.array(dataset.segments_of(split, variants=variants), dtype=np.int64)
        facts = dataset.segments.iloc[self.rows]
        self.frames = facts["frames"].to_numpy(np.int64)
        self.at_start, self.at_end = (facts[name].to_numpy(bool) for name in ("at_start", "at_end"))
        self.original = facts["semitones"].to_numpy() == 0
        labels = dataset.labels
        self.labels = [labels[row] for row in self.rows.tolist()]
        transform = MelTransform(dataset.spectrogram)
        each_sound = zip(self.rows.tolist(), self.frames.tolist(), strict=True)
        self.silence = np.array([_silent_frames(dataset, transform, *each) for each in each_sound])
        self.silence *= self.at_start
        cut_frames = np.arange(0, STRIDE, STRIDE // cuts)[:, None] + self.silence
        # What is shorter than a cut is taken whole.
        self.skipped = np.where(self.frames > cut_frames, cut_frames, self.silence)
        self.columns = -(-(self.frames - self.skipped) // STRIDE)
        # As many as a stretch shows.
        self.shown = np.where(self.at_end, self.columns, np.maximum(1, self.columns - 1))
        # In the file those of equal length lie together, as they are encoded together.
        order = np.lexsort((np.tile(self.rows, cuts), self.columns.ravel()))
        sizes = self.columns.ravel()[order] * (1 + copies)
        self._order, self._ends = order, np.cumsum(sizes)
        first = np.empty(len(order), np.int64)
        first[order] = self._ends - sizes
        self.first = first.reshape(self.columns.shape)
        self._knobs: dict[tuple[int, int], Knobs] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def total(self) -> int:
        """Rows of the codes file that they take."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def groups(self, done: int) -> Iterator[Group]:
        """What is encoded together, in the order of the file, from the first that does not end in its first rows."""
        columns = self.columns.ravel()[self._order]
        begin = 0
        while begin < len(columns):
            most = max(1, BATCH_COLUMNS // (min(int(columns[begin]), PIECE_COLUMNS) * (1 + self.copies)))
            alike = np.searchsorted(columns, columns[begin], side="right")
            end = min(begin + most, int(alike))
            if int(self._ends[end - 1]) > done:
                cuts = [self._cut(*divmod(int(item), len(self.rows))) for item in self._order[begin:end]]
                yield Group(self.dataset, cuts, int(columns[begin]))
            begin = end

    def knobs(self, position: int, cut: int) -> Knobs:
        """The knobs of a sound in a cut and of its copies, `[1 + copies, 6]`, measured when they are first needed.

        A knob says little of what is longer than a piece, which has none.
        """
        if (position, cut) not in self._knobs:
            frames = STRIDE * int(self.columns[cut, position])
            found = np.full((1 + self.copies, len(KNOBS)), np.nan, np.float32)
            if frames <= STRIDE * PIECE_COLUMNS:
                alone = Group(self.dataset, [self._cut(cut, position)], frames // STRIDE)
                found[:] = [knobs_of(each, self.dataset.spectrogram) for each in alone.part(self.changes, 0, frames)]
            self._knobs[position, cut] = found
        return self._knobs[position, cut]

    def timbre(self, position: int) -> Timbre:
        """What a sound is like, as far as a piece of it tells."""
        row, first = int(self.rows[position]), int(self.skipped[0, position])
        log_mel = self.dataset.segment(row, first, first + STRIDE * PIECE_COLUMNS)
        return timbre_of(log_mel, self.dataset.spectrogram)

    def _cut(self, cut: int, position: int) -> Cut:
        """A sound in one of its cuts."""
        skipped = int(self.skipped[cut, position])
        return Cut(int(self.rows[position]), skipped, cut * (STRIDE // self.cuts))


def _silent_frames(dataset: PreparedDataset, transform: MelTransform, row: int, frames: int) -> int:
    """How many frames at the beginning of a sound nothing is heard in, but for the last of them; all in silence: 0."""
    for first in range(0, frames, STRIDE):
        power = transform.to_power(torch.from_numpy(dataset.segment(row, first, min(first + STRIDE, frames))))
        heard = torch.nonzero(power.amax(0) > 10.0 ** (HEARD_DB / 10.0))
        if len(heard):
            return max(0, first + int(heard[0]) - 1)
    return 0


class PriorCodes:
    """The codes of a dataset's training and held-out sounds, read from their file.

    Attributes:
        train: the training sounds.
        held_out: the held-out sounds.
        bands: rows of a code grid.
        conditions: those of a prior of them; None: none.
    """

    def __init__(self, train: Sounds, held_out: Sounds, rows: MappedRows, *, conditions: bool = False) -> None:
        self.train, self.held_out, self._rows = train, held_out, rows
        self.bands = int(rows.shape[1])
        self.conditions = self._conditions() if conditions else None

    def _conditions(self) -> Conditions | None:
        sounds = self.train
        clean = np.flatnonzero(sounds.original)
        known = learned([sounds.labels[position] for position in clean.tolist()])
        measured = clean[spread(len(clean), MEASURED)].tolist()
        values = np.stack([sounds.knobs(position, 0)[0] for position in measured])
        timbres = np.stack([sounds.timbre(position) for position in measured])
        labels = [sounds.labels[position] for position in measured]
        here = [label for label in known if label in labels]
        found = Conditions.of(here, labels, dict(zip(KNOBS, values.T, strict=True)), timbres)
        return found if found.width else None

    def training(self, position: int, cut: int = 0, copy: int = 0) -> Stretch:
        """A training sound, by its place in `train`, in one of its cuts; copy 0 is the sound as it is."""
        return self._stretch(self.train, 0, position, cut, copy)

    def validation(self, position: int) -> Stretch:
        """A held-out sound, by its place in `held_out`."""
        return self._stretch(self.held_out, self.train.total, position, 0, 0)

    def grid(self, sounds: Sounds, position: int, cut: int = 0) -> Grid:
        """The codes `[columns, bands, levels]` of a sound of `train` or `held_out`, as it is, in one of its cuts."""
        before = 0 if sounds is self.train else self.train.total
        first = before + int(sounds.first[cut, position])
        return self._rows.part(first, first + int(sounds.columns[cut, position]))

    def _stretch(self, sounds: Sounds, before: int, position: int, cut: int, copy: int) -> Stretch:
        columns = int(sounds.columns[cut, position])
        first = before + int(sounds.first[cut, position]) + copy * columns
        begins = bool(sounds.at_start[position]) and sounds.skipped[cut, position] == sounds.silence[position]
        grid = self._rows.part(first, first + columns)
        condition = self._condition(position, cut, copy) if sounds is self.train else None
        return Stretch(grid, begins, bool(sounds.at_end[position]), bool(copy), condition)

    def _condition(self, position: int, cut: int, copy: int) -> Vector | None:
        """The vector of a training sound with its label and all its knobs."""
        if (conditions := self.conditions) is None:
            return None
        values = dict(zip(KNOBS, self.train.knobs(position, cut)[copy].tolist(), strict=True))
        label = self.train.labels[position]
        ranks = {name: conditions.rank(name, values[name]) for name in conditions.knobs}
        return conditions.vector(label if label in conditions.labels else None, ranks)


def prior_codes(
    dataset: PreparedDataset,
    vqvae: ConvVQVAE,
    config: PriorConfig,
    runtime: Runtime,
    folder: Path,
    *,
    digest: str,
    dask: str | None = None,
    tell: Tell = lambda _done, _total: None,
    made: bool = False,
) -> PriorCodes:
    """The codes of a dataset for a prior, made as far as `folder` does not have them yet.

    Args:
        dataset: the sounds.
        vqvae: whose codes; it is put into evaluation mode on the runtime's device.
        config: which variants, cuts and copies.
        runtime: where to compute; its seed decides how copies are changed.
        folder: where they are kept.
        digest: names the VQ-VAE.
        dask: address of a Dask scheduler whose workers make them.
        tell: told how many of how many columns have been made; it may raise to interrupt.
        made: whether another process has made them, and they are only read.

    Raises:
        StorageError: they cannot be written, or another process makes them.
        UsageError: the Dask cluster cannot be used.
        DataError: one process after the other dies over the same sounds.
    """
    train = Sounds(
        dataset,
        TRAIN,
        variants=config.augmented_variants,
        cuts=config.column_cuts,
        copies=config.augmented_copies,
        seed=runtime.seed,
    )
    held_out = Sounds(dataset, VALIDATION, variants=False, cuts=1, copies=0, seed=runtime.seed)
    vqvae = vqvae.to(runtime.device).eval()
    dtype = dtype_of(vqvae)
    shape = (train.total + held_out.total, dataset.spectrogram.n_mels // STRIDE, vqvae.num_quantizers)
    settings = config.model_dump(include={"augmented_variants", "column_cuts", "augmented_copies"})
    key = digest_json([dataset.digest, digest, settings, runtime.values(), list(shape), dtype.str])
    path = folder / CODES
    if made:
        return PriorCodes(train, held_out, MappedRows(path), conditions=config.conditions)
    with _lock(folder), storage_errors(path, "write"):
        with _Writer(folder, key, shape, dtype) as writer:
            for sounds, before in ((train, 0), (held_out, train.total)):
                _write(sounds, vqvae, runtime, writer, before, dask, lambda: tell(writer.done, shape[0]))
        tell(shape[0], shape[0])
        return PriorCodes(train, held_out, MappedRows(path), conditions=config.conditions)


def _write(
    sounds: Sounds,
    vqvae: ConvVQVAE,
    runtime: Runtime,
    writer: "_Writer",
    before: int,
    dask: str | None,
    step: Callable[[], None],
) -> None:
    """Append the codes of sounds that are not in the file yet; `before` rows of it are those of others."""
    left = sounds.total - max(0, writer.done - before)
    if left <= 0:
        return
    if runtime.device != "cpu":
        place: Place = Here(1)
    else:
        place = place_for(SECONDS_A_COLUMN * left, usable_cores() // runtime.threads, dask)
    encoder = Encoder(vqvae, sounds.changes, runtime, step if isinstance(place, Here) else None)
    with place:
        for codes in mapped(place, codes_of, encoder, sounds.groups(writer.done - before), lambda group: group.size):
            writer.append(codes)
            step()


class _Writer:
    """Appends rows to the codes file, behind those that are sure to be in it; a context manager.

    Attributes:
        done: rows that are in the file.
    """

    def __init__(self, folder: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._index, self._key = folder / INDEX, key
        header = BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": dtype.str, "fortran_order": False, "shape": shape})
        row_bytes = dtype.itemsize * math.prod(shape[1:])
        self.done = self._sure(folder / CODES, len(header.getvalue()), row_bytes)
        self._handle = (folder / CODES).open("r+b" if self.done else "wb")
        self._handle.write(header.getvalue())
        self._handle.seek(self.done * row_bytes, os.SEEK_CUR)
        self._saved, self._saved_at = self.done, time.monotonic()

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        with self._handle:
            if self.done > self._saved:
                self._save()

    def append(self, grids: np.ndarray) -> None:
        """Write grids `[batch, columns, bands, levels]`, one behind the other."""
        self._handle.write(grids.tobytes())
        self.done += grids.shape[0] * grids.shape[1]
        if time.monotonic() - self._saved_at >= SAVED_SECONDS:
            self._save()

    def _save(self) -> None:
        """Say how many rows are there, when they are."""
        self._handle.flush()
        os.fsync(self._handle.fileno())
        write_json(self._index, {"schema": SCHEMA, "key": self._key, "done": self.done})
        self._saved, self._saved_at = self.done, time.monotonic()

    def _sure(self, path: Path, header_bytes: int, row_bytes: int) -> int:
        try:
            index = read_json(self._index, what="index of codes", schema=SCHEMA)
            done = int(index["done"]) if index["key"] == self._key else 0
            return done if path.stat().st_size >= header_bytes + done * row_bytes else 0
        except (ArtifactError, StorageError, OSError, KeyError, TypeError, ValueError):
            return 0


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    path = folder / "codes.lock"
    with storage_errors(path, "write"):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not try_lock(descriptor):
            raise StorageError(f"another process is encoding in {folder}: wait for it, or stop it")
        yield
    finally:
        os.close(descriptor)
