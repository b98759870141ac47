"""The mel scale after HTK, on which the bins of a spectrogram are evenly spread."""

import math
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Mels = TypeVar("Mels", float, "npt.NDArray[np.float64]")


def hertz_to_mel(hertz: float) -> float:
    """The place of a frequency in Hz on the scale, in mel.

    >>> round(hertz_to_mel(1000.0))
    1000
    """
    return 2595.0 * math.log10(1.0 + hertz / 700.0)


def mel_to_hertz(mels: Mels) -> Mels:
    """The frequency in Hz of a place, or of an array of places."""
    return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
