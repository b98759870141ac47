"""Arrays in .npy files of which a process holds only what it reads at the moment."""

import mmap
from pathlib import Path

import numpy as np

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
