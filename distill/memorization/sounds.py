"""Sounds as the check sees them: those in question with all that is compared, and known ones, read when needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from distill.audio.nearness import ACTIVE_DB, LogMel
from distill.audio.power import in_floors
from distill.codec.codec import Codec, Grid
from distill.configs import STRIDE

Cells = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CheckedSound:
    """A sound in question.

    Attributes:
        name: what people call it.
        log_mel: `[n_mels, frames]`, as the codec gives it back.
        grid: its codes, `[columns, bands, levels]`.
        sounding: the cells whose codes count, `[columns, bands]`.
        channels: its two channels, where they are compared by themselves.
        space: level differences and coherences of the mix, `[frames, bands, 2]`; None: it is mono.
    """

    name: str
    log_mel: LogMel
    grid: Grid
    sounding: Cells
    channels: "tuple[CheckedSound, ...]" = ()
    space: LogMel | None = None


def between_silence(read: Callable[[int, int], LogMel], frames: int, first: int, last: int) -> LogMel:
    """Frames `first` to `last` of a sound that has so many, `[n_mels, last - first]`; silence stands outside of it.

    `read` gives frames of the sound from one to another, maybe none.
    """
    begin, end = (min(max(0, frame), frames) for frame in (first, last))
    before = min(max(0, -first), last - first)
    return np.pad(read(begin, end), ((0, 0), (before, last - first - before - (end - begin))))


class Recorded(Protocol):
    """Sounds by number: only what is asked for is read."""

    @property
    def names(self) -> Sequence[str]:
        """What people call each."""

    @property
    def files(self) -> Sequence[int]:
        """The file that each is from: variants and parts of one file share its number."""

    @property
    def frames(self) -> Sequence[int]:
        """The length of each."""

    def log_mel(self, index: int, first: int, last: int) -> LogMel:
        """Frames of a sound as it was recorded, `[n_mels, last - first]`; silence stands outside of it."""


class KnownSounds(Recorded, Protocol):
    """Recorded sounds that a model's codec knows."""

    @property
    def channels(self) -> Sequence[Sequence[int]]:
        """For each sound its channels as sounds of their own, where they are compared by themselves."""

    def space(self, index: int, first: int, last: int) -> LogMel | None:
        """Where frames of a sound lie between two channels, `[frames, bands, 2]`; None: it is one channel."""

    def grid(self, index: int) -> Grid:
        """The codes of a whole sound, `[columns, bands, levels]`."""

    def through_codec(self, index: int, first: int, columns: int) -> tuple[LogMel, Grid]:
        """So many columns of a sound from a frame on, as the codec gives them back, and their codes.

        The first frame may lie before the sound, or anywhere within a column of its own grid.
        """


class Silence:
    """Tells what of a grid is silence."""

    def __init__(self, codec: Codec) -> None:
        self.codes: Grid = codec.silent_codes

    def sounding(self, log_mel: LogMel, grid: Grid) -> Cells:
        """The cells `[columns, bands]` of a sound whose codes tell it from others.

        Left out are cells with the codes of silence, or whose mean power is below the spectrogram's floor, and columns
        more than 20 dB below the loudest: tails, in which noise and silence look alike.

        Args:
            log_mel: `[n_mels, frames]`; silence behind it up to whole columns.
            grid: its codes, `[columns, bands, levels]`.
        """
        power = np.zeros((len(log_mel), STRIDE * len(grid)))
        power[:, : log_mel.shape[1]] = in_floors(log_mel)
        cells = power.reshape(-1, STRIDE, len(grid), STRIDE).mean((1, 3)).T
        columns = cells.sum(1)
        loud = columns >= columns.max(initial=0.0) * 10.0 ** (-ACTIVE_DB / 10.0)
        sounding: Cells = (cells >= 1.0) & (grid != self.codes).any(2) & loud[:, None]
        return sounding
