"""Rows of an array that wait until all of them are known; many of them lie on disk."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from distill.files import storage_errors

# A spool beyond this size lies on disk.
_BYTES = 4 << 20
# Memory that reading takes.
_BLOCK_BYTES = 1 << 18


class Spool:
    """Rows in the order in which they were added; a context manager, and closed when it is forgotten.

    Attributes:
        row: the shape of a row; of single numbers it is empty.

    Args:
        dtype: of the elements.
        folder: where many rows wait; the system's folder for temporary files without it.
    """

    def __init__(self, dtype: npt.DTypeLike = np.float32, folder: Path | None = None) -> None:
        self.row: tuple[int, ...] = ()
        self._dtype, self._count, self._row_bytes = np.dtype(dtype), 0, 0
        self._folder = folder or Path(tempfile.gettempdir())
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_BYTES, dir=str(self._folder))  # noqa: SIM115

    def __len__(self) -> int:
        return self._count

    def __reduce__(self) -> "tuple[Any, ...]":
        self._file.seek(0)
        data = self._file.read(self._count * self._row_bytes)
        return _received, (self._dtype.str, self.row, self._count, data)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __del__(self) -> None:
        self._file.close()

    def add(self, rows: np.ndarray) -> None:
        """Append `[n, *row]`; the first that come decide the shape of a row.

        Raises:
            StorageError: the disk is full.
        """
        self.row = rows.shape[1:]
        self._row_bytes = self._dtype.itemsize * int(np.prod(self.row))
        with storage_errors(self._folder, "write"):
            self._file.seek(self._count * self._row_bytes)
            self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self._count += len(rows)

    def clear(self) -> None:
        """Forget all rows."""
        self._file.seek(0)
        self._file.truncate()
        self._count = 0

    def blocks(self, first: int = 0, last: int | None = None, rows: int | None = None) -> Iterator[np.ndarray]:
        """The rows from `first` up to, and without, `last`, in blocks `[n, *row]` of at most so many."""
        end = self._count if last is None else min(last, self._count)
        size = rows or max(1, _BLOCK_BYTES // max(1, self._row_bytes))
        for begin in range(first, end, size):
            self._file.seek(begin * self._row_bytes)
            data = self._file.read((min(begin + size, end) - begin) * self._row_bytes)
            yield np.frombuffer(data, self._dtype).reshape(-1, *self.row)

    def peak(self) -> float:
        """The largest absolute value; 0 without rows."""
        return max((float(np.abs(block).max(initial=0.0)) for block in self.blocks()), default=0.0)


def _received(dtype: str, row: tuple[int, ...], count: int, data: bytes) -> Spool:
    """A spool as another process had it, in memory."""
    spool = Spool.__new__(Spool)
    spool.row, spool._dtype, spool._count = row, np.dtype(dtype), count
    spool._row_bytes = spool._dtype.itemsize * int(np.prod(row))
    spool._folder, spool._file = Path(tempfile.gettempdir()), io.BytesIO(data)
    return spool
