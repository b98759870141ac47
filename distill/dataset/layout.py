"""The files of a prepared dataset: their names, columns and schema number, and the writer of the spectrograms."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distill.files import replacing

SCHEMA = 1
MELS, MANIFEST, SEGMENTS, SUMMARY, THUMBNAILS = (
    "mels.npy",
    "manifest.csv",
    "segments.csv",
    "summary.json",
    "thumbnails.json",
)
MANIFEST_COLUMNS = (
    "path",
    "content",
    "verdict",
    "reason",
    "usable",
    "split",
    "seconds",
    "sample_rate",
    "channels",
    "subtype",
    "peak",
    "loudness_db",
    "clipped_samples",
    "gain_db",
    "chunks",
    "padded_seconds",
    "guard_seconds",
    "looped",
)
THUMBNAIL_POINTS = 64
# Frames of half a minute.
_SPOOL_BYTES = 1 << 20


@dataclass(frozen=True)
class Segment:
    """A stretch of frames in the file of spectrograms.

    Attributes:
        file: row of the manifest.
        split: `train` or `validation`.
        semitones: 0 for the sound itself, else its speed and pitch variant.
        first_frame: where it starts in the file of spectrograms.
        frames: its length.
        start_seconds: where it starts in the sound (at the sound's own speed).
        at_start: it starts where the sound starts.
        at_end: it ends where the sound ends.
    """

    file: int
    split: str
    semitones: float
    first_frame: int
    frames: int
    start_seconds: float
    at_start: bool
    at_end: bool


@dataclass(frozen=True)
class Summary:
    """What a prepared dataset holds, as in summary.json; durations in s, loudness in dB below full scale."""

    source: str
    digest: str
    counts: dict[str, int]
    files: int
    usable: int
    split_by: str
    train_files: int
    validation_files: int
    train_chunks: int
    validation_chunks: int
    seconds_total: float
    seconds_used: float
    seconds_train: float
    seconds_validation: float
    seconds_guard: float
    seconds_padded: float
    variants: list[float]
    frames: int
    sample_rates: dict[str, int]
    channels: dict[str, int]
    loudness_min: float
    loudness_median: float
    loudness_max: float
    warnings: list[str]
    chunk_seconds: float
    spectrogram: dict[str, Any]
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """The same as nested dicts and lists."""
        return asdict(self)


def write_table(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """Replace a CSV file.

    Raises:
        StorageError: it cannot be written.
    """
    text = pd.DataFrame(rows, columns=list(columns)).to_csv(index=False, lineterminator="\n")
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())


class Spool:
    """Frames float16 `[n, n_mels]` of one sound on their way to the file; many of them wait on disk.

    Attributes:
        frames: how many there are.
    """

    def __init__(self, folder: Path) -> None:
        self.frames = 0
        self._file = tempfile.SpooledTemporaryFile(_SPOOL_BYTES, dir=str(folder))  # noqa: SIM115

    def __del__(self) -> None:
        # The frames of a duplicate, or of what came behind an error, are moved nowhere.
        self._file.close()

    def append(self, frames: np.ndarray) -> None:
        """Add frames."""
        self._file.write(np.ascontiguousarray(frames, dtype="<f2").tobytes())
        self.frames += len(frames)

    def move(self, target: BufferedWriter) -> None:
        """Write all frames to the end of a file, and forget them."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, target)
        self._file.close()


class MelWriter:
    """Appends float16 frames to an .npy file `[frames, n_mels]` whose length is not known before its end."""

    def __init__(self, handle: BufferedWriter, n_mels: int) -> None:
        self.frames = 0
        self._handle = handle
        self._n_mels = n_mels
        self._write_header()
        self._header_bytes = handle.tell()

    def _write_header(self) -> None:
        header = {"descr": "<f2", "fortran_order": False, "shape": (self.frames, self._n_mels)}
        np.lib.format.write_array_header_1_0(self._handle, header)

    def append(self, spool: Spool) -> int:
        """Write the frames of a sound; returns the number of frames before them."""
        before = self.frames
        spool.move(self._handle)
        self.frames += spool.frames
        return before

    def finish(self) -> None:
        """Put the true length into the header, which has room for any number."""
        self._handle.flush()
        self._handle.seek(0)
        self._write_header()
        assert self._handle.tell() == self._header_bytes


@contextmanager
def writing_mels(path: Path, n_mels: int) -> Iterator[MelWriter]:
    """Replace a file of spectrograms by what is appended, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    with replacing(path) as temporary, temporary.open("wb") as handle:
        writer = MelWriter(handle, n_mels)
        yield writer
        writer.finish()
