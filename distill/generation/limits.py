"""How many new sounds may be asked for, how long ones, and how loud they become."""

import numpy as np
import numpy.typing as npt

from distill.audio.limit import limited
from distill.audio.loudness import peak_db
from distill.dataset.scan import SILENCE_PEAK
from distill.errors import UsageError

PEAK_DB = -1.0
# What may not be scaled further, or moves in lossy coding, stays below this.
LOUDEST_DB = -0.1
# Three of 192 new tabla strokes had peaks 30 to 35 dB below full scale, and were strokes like the others. What is much
# softer is nearly silence, a few codes above the spectrogram's floor.
MAX_GAIN_DB = 24.0
# Peaks may be held by so much, so that the rest of a sound has its level: of 20 sounds of a kit four came out 2 to 4 dB
# softer than they were without it, for 2 to 60 samples in 10,000.
MOST_HELD_DB = 6.0
MAX_SECONDS = 3600.0
MAX_COUNT = 10_000
MAX_SEED = 2**63 - 1


def check_request(*, count: int, seconds: float, seed: int) -> None:
    """Make sure that so many sounds of such a duration, with seeds from `seed` on, can be asked for.

    Raises:
        UsageError: a number is out of its range.
    """
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(f"the number of sounds must lie between 1 and {MAX_COUNT}, not {count}")
    if not 0 < seconds <= MAX_SECONDS:
        raise UsageError(f"the duration must be above 0 and at most {MAX_SECONDS:g} s, not {seconds:g}")
    if not 0 <= seed <= MAX_SEED - count:
        raise UsageError(f"the seed must lie between 0 and {MAX_SEED - count}, not {seed}")


def peak_gain(peak: float) -> float:
    """The gain of a new sound with this peak: to -1 dB, but 24 dB at most, and none for silence."""
    if peak < SILENCE_PEAK:
        return 1.0
    return min(10 ** (PEAK_DB / 20) / peak, 10 ** (MAX_GAIN_DB / 20))


def below_clipping(samples: npt.NDArray[np.float32], gain_db: float, sample_rate: int) -> npt.NDArray[np.float32]:
    """Samples `[n]` or `[channels, n]` with a gain in dB; single peaks that would clip are held.

    By 6 dB at most: where that is not enough the gain is less.
    """
    gain = 10 ** (min(gain_db, LOUDEST_DB + MOST_HELD_DB - peak_db(samples)) / 20)
    return limited((samples * np.float32(gain)).astype(np.float32), 10 ** (LOUDEST_DB / 20), sample_rate)
