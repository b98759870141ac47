"""The way to mono that loses no sound."""

import numpy as np

# Channels cancel where their mean has this share of the power that it would have if they had nothing to do with each
# other: 20 dB less.
_CANCELLED = 0.01


class Downmix:
    """Finds the mean of the channels of a sound that comes block by block, and whether they cancel each other in it."""

    def __init__(self, channels: int) -> None:
        self._powers = np.zeros(channels)
        self._mean_power = 0.0

    def add(self, block: np.ndarray) -> np.ndarray:
        """The mean, float32 `[frames]`, of the next samples, float32 `[frames, channels]`."""
        mono = block[:, 0].astype(np.float32)
        channels = block.shape[1]
        if channels > 1:
            for channel in range(1, channels):
                mono += block[:, channel]
            mono /= np.float32(channels)
            self._powers += np.einsum("ij,ij->j", block, block)
            self._mean_power += float(np.einsum("i,i->", mono, mono))
        return mono

    @property
    def loudest_of_cancelling(self) -> int | None:
        """The channel to take in place of the mean; None where the mean is good."""
        apart = float(self._powers.sum()) / len(self._powers) ** 2
        return int(self._powers.argmax()) if self._mean_power < _CANCELLED * apart else None
