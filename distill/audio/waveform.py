"""Waveforms to be looked at."""

from itertools import pairwise

import numpy as np


def waveform_path(samples: np.ndarray, points: int) -> str:
    """The outline of samples `[n]` as data of an SVG path: a stroke a point, full scale from 0 to 100 downwards.

    >>> waveform_path(np.array([1.0, -1.0, 0.5, 0.0]), 2)
    'M0.5 0.0V100.0M1.5 25.0V50.0'
    """
    edges = np.linspace(0, len(samples), points + 1).astype(int)
    strokes = []
    for point, (first, last) in enumerate(pairwise(edges)):
        part = samples[first : max(last, first + 1)]
        high, low = (float(part.max()), float(part.min())) if len(part) else (0.0, 0.0)
        strokes.append(f"M{point + 0.5} {50 - 50 * min(high, 1.0):.1f}V{50 - 50 * max(low, -1.0):.1f}")
    return "".join(strokes)
