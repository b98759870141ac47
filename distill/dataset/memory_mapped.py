"""Arrays in .npy files of which a process holds only what it reads or writes at the moment."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distill.audio.spool import Spool
from distill.files import replacing

# Pages that were read count as the process's memory until they are given back.
_RELEASE_BYTES = 32 << 20
# The system reads so much around a page that is missing.
_LEAST_BYTES = 64 << 10


class MappedRows:
    """The rows of an .npy file, mapped into memory.

    Attributes:
        shape: of the whole array.
        dtype: of its elements.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is cut, or not an .npy file of version 1 in C order.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as handle:
            version = np.lib.format.read_magic(handle)
            if version != (1, 0):
                raise ValueError(f"format version {version}")
            self.shape, fortran, self.dtype = np.lib.format.read_array_header_1_0(handle)
            if fortran:
                raise ValueError("columns come first")
            start = handle.tell()
            self._map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        count = int(np.prod(self.shape, dtype=np.int64))
        self._rows = np.frombuffer(self._map, self.dtype, count, offset=start).reshape(self.shape)
        self._touched = 0

    def __len__(self) -> int:
        return int(self.shape[0])

    def part(self, first: int, last: int) -> np.ndarray:
        """Rows from `first` up to, and without, `last`: a view that may not be written to."""
        rows = self._rows[first:last]
        self._touched += max(rows.nbytes, _LEAST_BYTES)
        if self._touched >= _RELEASE_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0
        return rows


class RowsWriter:
    """Appends rows to an .npy file whose length is not known before its end.

    Attributes:
        count: rows that have been written.
    """

    def __init__(self, handle: BufferedWriter, dtype: npt.DTypeLike, row: tuple[int, ...]) -> None:
        self.count = 0
        self._handle, self._dtype, self._row = handle, np.dtype(dtype), row
        self._write_header()
        self._header_bytes = handle.tell()

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.count, *self._row)}
        np.lib.format.write_array_header_1_0(self._handle, header)

    def append(self, spool: Spool) -> int:
        """Write the rows of a spool and close it; returns the number of rows before them."""
        before = self.count
        with spool:
            for block in spool.blocks():
                self._handle.write(block.data)
        self.count += len(spool)
        return before

    def finish(self) -> None:
        """Put the true length into the header, which has room for any number."""
        self._handle.flush()
        self._handle.seek(0)
        self._write_header()
        assert self._handle.tell() == self._header_bytes


@contextmanager
def writing_rows(path: Path, dtype: npt.DTypeLike, row: tuple[int, ...] = ()) -> Iterator[RowsWriter]:
    """Replace an .npy file by the rows that are appended, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    with replacing(path) as temporary, temporary.open("wb") as handle:
        writer = RowsWriter(handle, dtype, row)
        yield writer
        writer.finish()
