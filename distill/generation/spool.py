"""Frames that wait until all of a sound is known; long sounds lie on disk."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from distill.audio.sound import BLOCK_FRAMES
from distill.files import storage_errors

# A spool beyond this size lies on disk.
_BYTES = 16 << 20
_FLOAT_BYTES = 4

Frames = npt.NDArray[np.float32]


class Spool:
    """Frames `[n, channels]` in order, with their number and their peak; a context manager."""

    def __init__(self) -> None:
        self.frames = 0
        self.channels = 1
        self.peak = 0.0
        self._place = Path(tempfile.gettempdir())
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_BYTES)  # noqa: SIM115

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, block: Frames) -> None:
        """Append `[n, channels]`.

        Raises:
            StorageError: the disk is full.
        """
        self.channels = block.shape[1]
        self.frames += len(block)
        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
        with storage_errors(self._place, "write"):
            self._file.write(np.ascontiguousarray(block, np.float32).tobytes())

    def blocks(self) -> Iterator[Frames]:
        """All frames from the first on, in blocks."""
        self._file.seek(0)
        size = BLOCK_FRAMES // 4 * self.channels * _FLOAT_BYTES
        while data := self._file.read(size):
            yield np.frombuffer(data, np.float32).reshape(-1, self.channels)
