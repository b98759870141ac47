"""How sounds swell, band by band, and which of their partials are found again.

- `texture`: depth of the modulation of the envelope, in octaves of frequency and octaves of modulation rate, after
  McDermott and Simoncelli, "Sound texture perception via statistics of the auditory periphery" (2011): noise, a roll
  and a note that beats differ in little else. In dB, 0 where the envelope swings between nothing and twice its mean;
- `regularity`: how far the steadiest swelling between 20 and 400 Hz of what lies above 3 kHz stands above the median
  one, in dB: noise has none, a pattern of frames has;
- `column_steps`: by how much a sound changes from hop to hop, for each place within a column: where columns meet it
  should change as anywhere else;
- `partials_kept`: how many of the partials of a sound are found again within 20 cents in another.
"""

from itertools import pairwise
from typing import Any

from waves import Samples, heard, swelling

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter
from scipy.signal import find_peaks
from scipy.signal.windows import blackmanharris

# Centres of bands, and lower edges of modulation rates, an octave each, in Hz.
_CENTRES = 125.0 * 2.0 ** np.arange(8)
_RATES = 4.0 * 2.0 ** np.arange(7)
_SHALLOWEST_DB = -40.0
# Bands that are so much softer than the loudest are not heard beside it.
_HEARD_DB = -50.0
_STEADY_HZ = (20.0, 400.0)
_LEAST_HZ, _MOST_HZ = 50.0, 12000.0
_PARTIAL_WINDOW, _CENTS = 8192, 20.0
# How far a partial stands above the median line around it, in the original and where it is looked for. Of a thousand
# lines of noise one stands 10 dB above.
_STANDS_DB, _FOUND_DB, _SOFTEST_DB = 20.0, 10.0, -50.0
_AROUND_LINES = 129
_TINY = 1e-12

Values = npt.NDArray[np.floating[Any]]


def texture(samples: Samples, rate: int) -> Values:
    """Modulation depths `[bands, rates]` in dB of a sound `[n]`; NaN where a band is not heard beside the loudest."""
    # A power of two beyond the end, so that the end does not run into the beginning.
    size = 1 << (len(samples) + rate // 4).bit_length()
    spectrum = np.fft.fft(samples.astype(np.float64), size)
    frequencies = np.fft.fftfreq(size, 1 / rate)
    rates = np.fft.rfftfreq(size, 1 / rate)
    depths, levels = np.full((len(_CENTRES), len(_RATES)), np.nan), np.zeros(len(_CENTRES))
    for index, centre in enumerate(_CENTRES):
        away = np.log2(np.maximum(frequencies, 1e-3) / centre)
        envelope = np.abs(np.fft.ifft(2 * spectrum * np.where(np.abs(away) < 1, np.cos(np.pi / 2 * away), 0)))
        levels[index] = np.square(envelope).sum()
        power = np.square(np.abs(np.fft.rfft(envelope) / (envelope.sum() + _TINY)))
        summed = [power[(rates >= low) & (rates < 2 * low)].sum() for low in _RATES]
        # A spectrum of many lines holds as much depth as one line of their power.
        share = len(samples) / size
        depths[index] = 10 * np.log10(4 * np.array(summed) * share + 10 ** (_SHALLOWEST_DB / 10))
    depths[10 * np.log10((levels + _TINY) / (levels.max() + _TINY)) < _HEARD_DB] = np.nan
    return depths


def texture_error(made: Samples, original: Samples, rate: int) -> float:
    """Mean difference in dB between the modulation depths of two sounds `[n]`, in the bands that the original has."""
    ours, theirs = texture(made, rate), texture(original, rate)
    known = ~np.isnan(theirs)
    return float(np.abs(np.nan_to_num(ours, nan=_SHALLOWEST_DB) - theirs)[known].mean())


def regularity(samples: Samples, rate: int) -> float:
    """How far the steadiest swelling of what lies above 3 kHz of a sound `[n]` stands out, in dB."""
    swells, where = swelling(samples, rate)
    depth = np.abs(np.fft.rfft(np.where(where, swells, 0.0)))
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate)
    steady = depth[(frequencies >= _STEADY_HZ[0]) & (frequencies < _STEADY_HZ[1])]
    return 20 * float(np.log10((steady.max() + _TINY) / (np.median(steady) + _TINY))) if len(steady) else 0.0


def column_steps(samples: Samples, rate: int, hop: int, column_hops: int) -> Values:
    """Mean change `[column_hops]` of a sound `[n]` at each place of its columns but the first, in dB; NaN without one.

    A change is that of the level in eight bands, from the hop before a moment to the hop behind it.
    """
    count = len(samples) // hop
    power = np.square(np.abs(np.fft.rfft(samples[: count * hop].reshape(count, hop) * np.hanning(hop), axis=1)))
    edges = np.unique(np.geomspace(2, min(power.shape[1] - 1, round(16000 * hop / rate)), 9).astype(int))
    bands = np.stack([power[:, low:high].sum(1) for low, high in pairwise(edges)], axis=1)
    level = 10 * np.log10(np.maximum(bands, 1e-6 * bands.max() + _TINY))
    loud = heard(power.sum(1))
    change = np.abs(np.diff(level, axis=0)).mean(1)
    known = loud[1:] | loud[:-1]
    places = np.arange(1, count)
    known &= places >= column_hops
    return np.array(
        [
            change[known & (places % column_hops == place)].mean()
            if (known & (places % column_hops == place)).any()
            else np.nan
            for place in range(column_hops)
        ]
    )


def column_excess(steps: list[Values]) -> float:
    """How much more sounds change where their columns meet than elsewhere, in dB; NaN where no sound has two."""
    together = np.array(steps)
    known = ~np.isnan(together)
    if not len(together) or not known[:, 0].any() or not known[:, 1:].any():
        return float("nan")
    return 20 * float(np.log10(together[:, 0][known[:, 0]].mean() / together[:, 1:][known[:, 1:]].mean()))


def partials_kept(made: Samples, original: Samples, rate: int) -> tuple[int, int]:
    """How many partials of an original sound `[n]` are found in another, and how many there are."""
    begin = int(np.argmax(np.abs(original)))
    wanted = _partials(original[begin:], rate, _STANDS_DB)
    found = _partials(made[begin:], rate, _FOUND_DB)
    # Between two lines of the spectrum one can no longer tell.
    reach = np.maximum(wanted * (2 ** (_CENTS / 1200) - 1), rate / _PARTIAL_WINDOW / 4)
    near = np.abs(wanted[:, None] - found[None]) <= reach[:, None]
    return int(near.any(1).sum()), len(wanted)


def _partials(samples: Samples, rate: int, stands_db: float) -> Values:
    """Frequencies in Hz of what stands out of the spectrum of the beginning of some samples."""
    part = samples[:_PARTIAL_WINDOW].astype(np.float64)
    if len(part) < _PARTIAL_WINDOW // 4:
        return np.zeros(0)
    power = np.square(np.abs(np.fft.rfft(part * blackmanharris(len(part)), 2 * _PARTIAL_WINDOW)))
    level = 10 * np.log10(power / (power.max() + _TINY) + 1e-9)
    peaks, _ = find_peaks(level, height=np.maximum(median_filter(level, _AROUND_LINES) + stands_db, _SOFTEST_DB))
    below, at, above = (level[np.clip(peaks + step, 0, len(level) - 1)] for step in (-1, 0, 1))
    beside = 0.5 * (below - above) / np.minimum(below - 2 * at + above, -_TINY)
    frequencies: Values = (peaks + np.clip(beside, -0.5, 0.5)) * rate / (2 * _PARTIAL_WINDOW)
    return frequencies[(frequencies >= _LEAST_HZ) & (frequencies <= _MOST_HZ)]
