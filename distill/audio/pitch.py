"""The fundamental frequency of a sound."""

import numpy as np
import numpy.typing as npt
import soxr

LOWEST_HZ, HIGHEST_HZ = 30.0, 2000.0
# A frame has a pitch where what a period changes is below this share of what it would be by chance.
APERIODIC = 0.15
# Frames that are softer than the loudest by more count as silent, in dB; of fewer frames with a pitch there is none.
SOFT_DB, LEAST_FRAMES = 20.0, 2
# How often a sound is tuned, and when its pitch counts as the note that is asked for, or as another one.
TURNS, NEAR_CENTS, ASTRAY_CENTS = 4, 1.0, 100.0


def pitch_of(samples: npt.NDArray[np.float32], sample_rate: int) -> float | None:
    """Median fundamental frequency of mono samples `[n]`, in Hz; None where a sound has no clear one.

    After de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator for speech and music", 2002.
    """
    longest = int(sample_rate / LOWEST_HZ)
    size, step = 2 * longest, longest
    padded = np.pad(samples.astype(np.float64), (0, size))
    frames = [padded[first : first + size] for first in range(0, max(1, len(samples) - step), step)]
    energies = np.array([float(frame @ frame) for frame in frames])
    if not energies.max(initial=0.0):
        return None
    loud = energies >= energies.max() * 10 ** (-SOFT_DB / 10)
    found = [_of_frame(frame, sample_rate) for frame, counts in zip(frames, loud, strict=True) if counts]
    known = [value for value in found if value is not None]
    if len(known) < min(LEAST_FRAMES, int(loud.sum())) or 2 * len(known) < len(found):
        return None
    return float(np.median(known))


def tuned(samples: npt.NDArray[np.float32], sample_rate: int, hertz: float) -> npt.NDArray[np.float32] | None:
    """A sound `[n]` or `[n, channels]` at the speed that gives it a pitch in Hz; None where it has no clear one.

    A gliding sound at another speed falls into other frames, which may have another median: what is left of the
    difference is taken away again, at most TURNS times, and the sound that came nearest is the result.
    """
    found = pitch_of(_mono(samples), sample_rate)
    best, least, speed = None, np.inf, 1.0
    for _ in range(TURNS):
        if found is None:
            break
        speed *= hertz / found
        faster: npt.NDArray[np.float32] = soxr.resample(samples, sample_rate * speed, sample_rate).astype(np.float32)
        found = pitch_of(_mono(faster), sample_rate)
        away = abs(1200 * np.log2(found / hertz)) if found else np.inf
        if best is None or away < least:
            best, least = faster, away
        # It is the note; or another octave or partial is found now, and to follow it would leave the note.
        if not NEAR_CENTS <= away <= ASTRAY_CENTS:
            break
    return best


def _mono(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return samples if samples.ndim == 1 else samples.mean(1)


def _of_frame(frame: npt.NDArray[np.float64], sample_rate: int) -> float | None:
    """The frequency of a frame of two of the longest periods."""
    half = len(frame) // 2
    first = frame[:half]
    size = 2 * len(frame)
    product = np.fft.irfft(np.fft.rfft(frame, size) * np.conj(np.fft.rfft(first, size)), size)[:half]
    squares = np.concatenate([[0.0], np.cumsum(frame**2)])
    difference = squares[half] + (squares[half : 2 * half] - squares[:half]) - 2.0 * product
    difference[0] = 0.0
    mean = np.cumsum(difference)[1:] / np.arange(1, half)
    normalized = np.ones(half)
    normalized[1:] = difference[1:] / np.maximum(mean, 1e-12)
    below = np.flatnonzero(normalized[2 : half - 1] < APERIODIC)
    if not len(below):
        return None
    at = 2 + int(below[0])
    while at + 1 < half - 1 and normalized[at + 1] < normalized[at]:
        at += 1
    # Several periods of a higher sound are no period.
    if at < int(sample_rate / HIGHEST_HZ):
        return None
    before, here, after = normalized[at - 1 : at + 2]
    bend = before - 2 * here + after
    return float(sample_rate / (at + (0.5 * (before - after) / bend if bend else 0.0)))
