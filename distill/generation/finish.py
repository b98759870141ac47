"""How a new sound is finished: without silence around it, begun without a click, and as loud as others."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.audio.loudness import loudest_lufs
from distill.audio.spool import Spool
from distill.dataset.scan import SILENCE_PEAK
from distill.generation.limits import peak_gain

# The loudest 400 ms of finished sounds. Brought to a peak of -1 dB, 20 drums, 20 hits of a kit and 58 tabla strokes lie
# between -27 and -8, the half of them above -18: most can be as loud as this, and the rest has its peak there.
TARGET_LUFS = -20.0
# What lies so far below the peak is silence before or behind the sound.
_BEFORE_DB, _BEHIND_DB = -50.0, -60.0
# How much of what is silent stays, and how long the sound rises and sinks there.
_LEAD_SECONDS, _TAIL_SECONDS = 0.002, 0.02
# Of a sound that rises, or is cut, at once.
_RISE_SECONDS = 0.002

# Samples `[n, channels]`.
Frames = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Finish:
    """What becomes of a sound's frames: those from `first` to `last` stay, with edges of so many frames, scaled."""

    first: int
    last: int
    rise: int
    fall: int
    gain: float

    def blocks(self, spool: Spool) -> Iterator[Frames]:
        """The frames that stay, not yet scaled."""
        at = 0
        for block in spool.blocks():
            begin, end = max(self.first - at, 0), min(self.last - at, len(block))
            if begin < end:
                yield self._edged(block[begin:end], at + begin)
            at += len(block)

    def _edged(self, block: Frames, at: int) -> Frames:
        """A block that begins at frame `at`, with what lies in it of the rise and the fall."""
        if at >= self.first + self.rise and at + len(block) <= self.last - self.fall:
            return block
        places = np.arange(at, at + len(block), dtype=np.float32)
        shares = np.minimum((places - self.first) / max(1, self.rise), (self.last - places) / max(1, self.fall))
        edged: Frames = block * np.square(np.sin(np.clip(shares, 0, 1) * np.float32(np.pi / 2)))[:, None]
        return edged


def form_of(spool: Spool, sample_rate: int, *, level_given: bool, finish: bool, trim: bool, goes_round: bool) -> Finish:
    """What becomes of a whole sound.

    Args:
        spool: the sound.
        sample_rate: in Hz.
        level_given: whether it has a level that is to be kept.
        finish: whether a new sound is finished; else it has a peak of -1 dB, with 24 dB of gain at most.
        trim: whether that includes that silence is cut off.
        goes_round: whether its end leads into its beginning.
    """
    most = 1.0 if level_given else peak_gain(spool.peak())
    if not finish:
        return form_as_made(spool, most)
    return finish_of(spool, sample_rate, trim=trim, most_gain=most, goes_round=goes_round)


def form_as_made(spool: Spool, gain: float) -> Finish:
    """All frames as they are."""
    return Finish(0, len(spool), 0, 0, gain)


def finish_of(spool: Spool, sample_rate: int, *, trim: bool, most_gain: float, goes_round: bool = False) -> Finish:
    """How the sound in a spool is finished.

    It rises within 2 ms and, where silence is cut off behind it, sinks within 20 ms. Its loudest 400 ms come to
    TARGET_LUFS, unless that takes more gain than there may be.

    Args:
        spool: the whole sound.
        sample_rate: in Hz.
        trim: whether silence before and behind the sound is cut off.
        most_gain: the greatest gain, as a factor.
        goes_round: whether the end leads into the beginning, so that neither has an edge.
    """
    peak = spool.peak()
    if peak < SILENCE_PEAK:
        return form_as_made(spool, most_gain)
    first, last = _sounding(spool, peak, sample_rate) if trim else (0, len(spool))
    rise = 0 if goes_round else min(round(_RISE_SECONDS * sample_rate), last - first)
    fall = min(round(_TAIL_SECONDS * sample_rate), last - first) if last < len(spool) else 0
    loudness = loudest_lufs(Finish(first, last, rise, fall, 1.0).blocks(spool), sample_rate)
    return Finish(first, last, rise, fall, min(most_gain, 10 ** ((TARGET_LUFS - loudness) / 20)))


def _sounding(spool: Spool, peak: float, sample_rate: int) -> tuple[int, int]:
    """The frames from a little before the first that sounds to a little behind the last."""
    before, behind = (peak * 10 ** (level / 20) for level in (_BEFORE_DB, _BEHIND_DB))
    first, last, at = len(spool), 0, 0
    for block in spool.blocks():
        level = np.abs(block).max(axis=1)
        if first == len(spool) and (above := np.flatnonzero(level > before)).size:
            first = at + int(above[0])
        if (above := np.flatnonzero(level > behind)).size:
            last = at + int(above[-1]) + 1
        at += len(block)
    first = max(0, first - round(_LEAD_SECONDS * sample_rate))
    return first, min(len(spool), last + round(_TAIL_SECONDS * sample_rate))
