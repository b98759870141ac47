"""The file of the codes that a prior learns from: made once, in batches and pieces, and mapped into memory.

What was made lies row after row in `codes.npy`, `[columns, bands, levels]`, and `codes.json` says how much of it is
sure to be on disk: after an interruption it goes on behind that.
"""

import math
import os
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from distill.configs import STRIDE, PriorConfig
from distill.dataset.memory_mapped import MappedRows
from distill.dataset.split import TRAIN, VALIDATION
from distill.dataset.store import PreparedDataset
from distill.errors import ArtifactError, StorageError
from distill.files import digest_json, read_json, storage_errors, write_json
from distill.locks import tried
from distill.models.vqvae import ConvVQVAE
from distill.training.codes import PriorCodes, Sounds
from distill.training.encoding import Encoder, codes_of, dtype_of
from distill.training.runtime import Runtime
from distill.workers.choice import place_for
from distill.workers.place import Here, Place, mapped, usable_cores

CODES, INDEX = "codes.npy", "codes.json"
SCHEMA = 1
SAVED_SECONDS = 5.0
# What one core needs for a column.
SECONDS_A_COLUMN = 6e-4

Tell = Callable[[int, int], None]


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
    with tried(folder / "codes.lock") as alone, storage_errors(path, "write"):
        if not alone:
            raise StorageError(f"another process is encoding in {folder}: wait for it, or stop it")
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
    encoder = Encoder(vqvae, sounds.copier, runtime, step if isinstance(place, Here) else None)
    with place:
        for codes in mapped(place, codes_of, encoder, sounds.batches(writer.done - before), lambda batch: batch.size):
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
