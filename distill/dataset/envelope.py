"""The outline of a sound, for pictures of it."""

import numpy as np

# Of a waveform that is shown small.
THUMBNAIL_POINTS = 64


class Envelope:
    """Lowest and highest value of each of equal stretches of a sound that comes in parts.

    Attributes:
        ends: both, float32 `[2, points]`; complete once all parts were added.

    Args:
        samples: how many the sound has.
        points: number of stretches.
    """

    def __init__(self, samples: int, points: int) -> None:
        self._starts = np.minimum(np.arange(points) * samples // points, samples - 1)
        self.ends = np.stack([np.full(points, np.inf, np.float32), np.full(points, -np.inf, np.float32)])
        self._done = 0

    def add(self, part: np.ndarray) -> None:
        """Take the next samples `[n]`."""
        first, last = np.searchsorted(self._starts, (self._done, self._done + len(part))).tolist()
        if first == len(self._starts) or self._starts[first] > self._done:
            # A stretch goes on from the part before.
            first -= 1
        if len(part):
            local = np.maximum(self._starts[first:last] - self._done, 0)
            low, high = self.ends[:, first:last]
            np.minimum(low, np.minimum.reduceat(part, local), out=low)
            np.maximum(high, np.maximum.reduceat(part, local), out=high)
        self._done += len(part)
