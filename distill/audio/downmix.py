"""The way to mono that loses no sound."""

import math

import numpy as np

# More than two channels cancel where their mean has this share of the power that it would have if they had nothing to
# do with each other: 20 dB less. Two channels do where the side is louder than the mid by so much, in dB.
_CANCELLED, _OPPOSED_DB = 0.01, 10.0
# Below this, relative to the mid, a side is what rounding leaves of two equal channels.
LEAST_SIDE_DB = -45.0
_TINY = 1e-20


class Downmix:
    """Finds the mean of the channels of a sound that comes block by block, and whether they cancel each other in it.

    A constant offset of a channel is no sound, and does not count.
    """

    def __init__(self, channels: int) -> None:
        self._squares, self._sums = np.zeros(channels), np.zeros(channels)
        self._mean_squares = self._side_squares = 0.0
        self._frames = 0

    def add(self, block: np.ndarray) -> np.ndarray:
        """The mean, float32 `[frames]`, of the next samples, float32 `[frames, channels]`."""
        mono = mean_of(block)
        channels = block.shape[1]
        self._frames += len(block)
        if channels > 1:
            # What float32 adds up of an offset is not exact enough to take it away again.
            self._squares += np.einsum("ij,ij->j", block, block, dtype=np.float64)
            self._sums += [block[:, channel].sum(dtype=np.float64) for channel in range(channels)]
            self._mean_squares += _squared(mono)
        if channels == 2:
            # From the sums of the others rounding would leave a side to what has none.
            self._side_squares += _squared((block[:, 0] - block[:, 1]) / np.float32(2))
        return mono

    @property
    def turned(self) -> int | None:
        """Of two channels that cancel each other the softer, which is to be turned over before they are mixed."""
        if self._channels != 2 or self._side_db <= _OPPOSED_DB:
            return None
        powers = self._powers
        return int(powers[1] <= powers[0])

    @property
    def loudest_of_cancelling(self) -> int | None:
        """Of more than two channels the one to take in place of the mean; None where the mean is good."""
        if self._channels <= 2:
            return None
        powers = self._powers
        apart = float(powers.sum()) / self._channels**2
        return int(powers.argmax()) if self._mean_power < _CANCELLED * apart else None

    @property
    def side_db(self) -> float | None:
        """How loud the side of two channels is, in dB relative to their mix; None where both are the same."""
        if self._channels != 2:
            return None
        found = self._side_db if self.turned is None else -self._side_db
        return found if found > LEAST_SIDE_DB else None

    @property
    def _channels(self) -> int:
        return len(self._sums)

    @property
    def _powers(self) -> np.ndarray:
        return np.maximum(self._squares - self._sums**2 / max(1, self._frames), 0.0)

    @property
    def _mean_power(self) -> float:
        return self._without(self._mean_squares, self._sums.mean())

    @property
    def _side_db(self) -> float:
        side = self._without(self._side_squares, (self._sums[0] - self._sums[1]) / 2)
        return 10.0 * math.log10((side + _TINY) / (self._mean_power + _TINY))

    def _without(self, squares: float, total: float) -> float:
        """The power of samples of which the sum of squares and the sum are known, without their offset."""
        return max(0.0, squares - float(total) ** 2 / max(1, self._frames))


def _squared(samples: np.ndarray) -> float:
    return float(np.einsum("i,i->", samples, samples, dtype=np.float64))


def mean_of(block: np.ndarray) -> np.ndarray:
    """The mean, float32 `[frames]`, of samples `[frames, channels]`."""
    mono = block[:, 0].astype(np.float32)
    for channel in range(1, block.shape[1]):
        mono += block[:, channel]
    if block.shape[1] > 1:
        mono /= np.float32(block.shape[1])
    return mono


def turned_over(block: np.ndarray, channel: int | None) -> np.ndarray:
    """Samples `[frames, 2]` with one of the channels turned over; None: with none."""
    if channel is None:
        return block
    signs = np.ones(2, np.float32)
    signs[channel] = -1.0
    return block * signs


def place_of(channels: np.ndarray) -> tuple[float, float] | None:
    """Where a sound `[2, n]` lies, from -1, left, to 1, right, and how wide it is, from 0 to 1; None: both are alike.

    Its place is that of a single source with the powers of the channels, its width twice the power share that would be
    left to a second one.
    """
    left, right = channels[0].astype(np.float64), channels[1].astype(np.float64)
    powers, both = np.array([left @ left, right @ right]), float(left @ right)
    apart, total = powers[0] + powers[1] - 2.0 * both, float(powers.sum())
    if apart <= 10 ** (LEAST_SIDE_DB / 10) * (total + 2.0 * both):
        return None
    sources = np.linalg.eigvalsh(np.array([[powers[0], both], [both, powers[1]]]))
    at = 4.0 / np.pi * float(np.arctan2(np.sqrt(powers[1]), np.sqrt(powers[0]))) - 1.0
    return round(at, 3), round(min(1.0, 2.0 * max(float(sources[0]), 0.0) / total), 3)
