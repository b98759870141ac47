"""Peaks held below a limit."""

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

# The gain sinks and rises within so much of a peak, in s.
_REACH_SECONDS = 0.0015


def limited(samples: Samples, limit: float, sample_rate: int) -> Samples:
    """Samples `[n]` or `[channels, n]` of which none is beyond a limit; what is 1.5 ms from one that was stays.

    The gain is the least that any sample around needs, averaged over as long: never more than a sample needs itself.
    All channels have the same.
    """
    highest = np.abs(samples) if samples.ndim == 1 else np.abs(samples).max(0)
    needed = np.float32(limit) / np.maximum(highest, np.float32(limit))
    if needed.min(initial=1.0) == 1.0:
        return samples
    reach = max(1, round(_REACH_SECONDS / 2 * sample_rate))
    least = np.lib.stride_tricks.sliding_window_view(np.pad(needed, 2 * reach, mode="edge"), 2 * reach + 1).min(1)
    window = np.hanning(2 * reach + 3)[1:-1]
    gain = np.convolve(least, window / window.sum(), "valid")
    held: Samples = np.clip(samples * gain.astype(np.float32), -limit, limit)
    return held
