"""The work on one file of a dataset: its sound judged and resampled, in parts, to spectrograms and an envelope."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from distill.audio.mel import MelTransform
from distill.audio.sound import BLOCK_FRAMES, resampled_blocks
from distill.configs import SpectrogramConfig
from distill.dataset import layout
from distill.dataset.scan import SILENCE_PEAK, Examined, FileReport, Verdict, decibels, examine, unusable
from distill.dataset.walk import Found
from distill.errors import DataError


@dataclass(frozen=True)
class Prepared:
    """A usable file's spectrogram, its gain in dB and its envelope int8 `[2, points]`."""

    mel: layout.Spool
    gain_db: float
    samples: int
    envelope: np.ndarray


class Worker:
    """The work on one file, done in any thread; what waits to be written lies in `folder`."""

    def __init__(self, transform: MelTransform, config: SpectrogramConfig, folder: Path) -> None:
        self.transform = transform
        self.config = config
        self.folder = folder

    def sound(self, found: Found) -> tuple[FileReport, Prepared | None]:
        """Judge a file and, where it is usable, make its spectrogram."""
        examined = examine(found)
        if examined.mono is None:
            return examined.report, None
        sound = _Resampled(examined.mono, examined.report.sample_rate, self.config.sample_rate)
        if sound.peak < SILENCE_PEAK:
            said = f"nothing louder than -80 dB is left of it at {self.config.sample_rate} Hz"
            return unusable(examined.report, Verdict.SILENT, said), None
        envelope = _Envelope(sound.samples)
        mel = self._mel(sound, envelope)
        prepared = Prepared(mel, decibels(1 / sound.peak), sound.samples, envelope.rounded())
        return replace(examined.report, waveform=()), prepared

    def variants(self, found: Found, part: "Part", semitones: tuple[float, ...]) -> list[layout.Spool]:
        """Spectrograms of a part of a file at other speeds, each with a peak of 1."""
        examined: Examined = examine(found)
        if examined.mono is None:
            raise DataError(f"{found.path} changed while it was being prepared; start again")
        rate = examined.report.sample_rate
        mono = examined.mono[round(part.start * rate) : round(part.end * rate)]
        return [
            self._mel(_Resampled(mono, rate * 2.0 ** (value / 12.0), self.config.sample_rate)) for value in semitones
        ]

    def _mel(self, sound: "_Resampled", envelope: "_Envelope | None" = None) -> layout.Spool:
        def parts() -> Iterator[torch.Tensor]:
            for part in sound.parts():
                if envelope is not None:
                    envelope.add(part)
                yield torch.from_numpy(part)

        spool = layout.Spool(self.folder)
        for power in self.transform.power_blocks(parts(), sound.samples):
            spool.append(self.transform.from_power(power).half().numpy())
        return spool


class _Resampled:
    """A sound at another sample rate, in parts, with a peak of 1.

    Attributes:
        samples: how many there are.
        peak: before it was raised to 1.
    """

    def __init__(self, mono: np.ndarray, source_rate: float, target_rate: float) -> None:
        self._blocks = partial(resampled_blocks, mono, source_rate, target_rate)
        if len(mono) <= BLOCK_FRAMES:
            # What is short is done once and kept.
            self._blocks = partial(iter, list(self._blocks()))
        self.samples, self.peak = 0, 0.0
        for block in self._blocks():
            self.samples += len(block)
            self.peak = max(self.peak, _peak(block))

    def parts(self) -> Iterator[np.ndarray]:
        """The samples, float32 `[n]` in parts."""
        scale = np.float32(max(self.peak, SILENCE_PEAK))
        return (block / scale for block in self._blocks())


@dataclass(frozen=True)
class Part:
    """From where to where of a sound, in s."""

    start: float
    end: float


class _Envelope:
    """Lowest and highest value of each of equal stretches of a sound that comes in parts."""

    def __init__(self, samples: int) -> None:
        points = layout.THUMBNAIL_POINTS
        self._starts = np.minimum(np.arange(points) * samples // points, samples - 1)
        self._ends = np.stack([np.full(points, np.inf, np.float32), np.full(points, -np.inf, np.float32)])
        self._done = 0

    def add(self, part: np.ndarray) -> None:
        """Take the next samples."""
        first, last = np.searchsorted(self._starts, (self._done, self._done + len(part))).tolist()
        if first == len(self._starts) or self._starts[first] > self._done:
            # A stretch goes on from the part before.
            first -= 1
        if len(part):
            local = np.maximum(self._starts[first:last] - self._done, 0)
            low, high = self._ends[:, first:last]
            np.minimum(low, np.minimum.reduceat(part, local), out=low)
            np.maximum(high, np.maximum.reduceat(part, local), out=high)
        self._done += len(part)

    def rounded(self) -> np.ndarray:
        """The values as int8 `[2, points]` in -127 to 127."""
        return np.clip(np.rint(self._ends * 127), -127, 127).astype(np.int8)


def _peak(samples: np.ndarray) -> float:
    return max(float(samples.max()), -float(samples.min())) if len(samples) else 0.0
