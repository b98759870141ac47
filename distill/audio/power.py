"""From log mels back to power, for whoever needs no torch."""

import numpy as np
import numpy.typing as npt

# 170 dB above the floor: louder than any sound, and its power is still an fp32 number whose square is one.
MOST_LOG_MEL = 40.0


def in_floors(log_mel: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Mel power of a log mel, any shape, in units of the spectrogram's floor, in the precision that it has.

    >>> in_floors(np.log1p(np.array([0.0, 1.0, 3.0]))).round(6).tolist()
    [0.0, 1.0, 3.0]
    """
    found: npt.NDArray[np.floating] = np.expm1(np.clip(log_mel, 0.0, MOST_LOG_MEL))
    return found
