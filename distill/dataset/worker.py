"""The work on one file of a dataset: its sound judged and resampled, in parts, to spectrograms and an envelope."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from distill.audio.mel import MelTransform
from distill.audio.sound import BLOCK_FRAMES, resampled_blocks
from distill.audio.spool import Spool
from distill.configs import SpectrogramConfig
from distill.dataset.envelope import Envelope
from distill.dataset.layout import THUMBNAIL_POINTS
from distill.dataset.scan import SILENCE_PEAK, Examined, FileReport, Verdict, decibels, examine, unusable
from distill.dataset.walk import Found
from distill.errors import DataError


@dataclass(frozen=True)
class Prepared:
    """A usable file's spectrogram, its gain in dB and its envelope int8 `[2, points]`."""

    mel: Spool
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
        examined = examine(found, folder=self.folder)
        if examined.mono is None:
            return examined.report, None
        sound = Resampled(examined.mono, examined.report.sample_rate, self.config.sample_rate)
        if sound.peak < SILENCE_PEAK:
            said = f"nothing louder than -80 dB is left of it at {self.config.sample_rate} Hz"
            return unusable(examined.report, Verdict.SILENT, said), None
        envelope = Envelope(sound.samples, THUMBNAIL_POINTS)
        mel = self._mel(sound, envelope)
        prepared = Prepared(mel, decibels(1 / sound.peak), sound.samples, _rounded(envelope))
        return replace(examined.report, waveform=()), prepared

    def variants(self, found: Found, part: "Part", semitones: tuple[float, ...]) -> list[Spool]:
        """Spectrograms of a part of a file at other speeds, each with a peak of 1."""
        examined: Examined = examine(found, folder=self.folder)
        if examined.mono is None:
            raise DataError(f"{found.path} changed while it was being prepared; start again")
        rate = examined.report.sample_rate
        speeds = [rate * 2.0 ** (value / 12.0) for value in semitones]
        first, last = round(part.start * rate), round(part.end * rate)
        return [self._mel(Resampled(examined.mono, speed, self.config.sample_rate, first, last)) for speed in speeds]

    def _mel(self, sound: "Resampled", envelope: Envelope | None = None) -> Spool:
        def parts() -> Iterator[torch.Tensor]:
            for part in sound.parts():
                if envelope is not None:
                    envelope.add(part)
                yield torch.from_numpy(part)

        spool = Spool(np.float16, self.folder)
        for power in self.transform.power_blocks(parts(), sound.samples):
            spool.add(self.transform.from_power(power).half().numpy())
        return spool


class Resampled:
    """A sound, or a stretch of it, at another sample rate, in parts, with a peak of 1.

    Attributes:
        samples: how many there are.
        peak: before it was raised to 1.

    Args:
        mono: the sound, samples float32.
        source_rate: its sample rate; of both only the ratio counts.
        target_rate: the other one.
        first: sample where the stretch begins.
        last: sample where it ends; the sound's end without it.
    """

    def __init__(
        self, mono: Spool, source_rate: float, target_rate: float, first: int = 0, last: int | None = None
    ) -> None:
        last = len(mono) if last is None else min(last, len(mono))

        def blocks() -> Iterator[np.ndarray]:
            parts = mono.blocks(first, last, BLOCK_FRAMES)
            return resampled_blocks(parts, last - first, source_rate, target_rate)

        self._blocks = blocks
        if last - first <= BLOCK_FRAMES:
            # What is short is done once and kept.
            self._blocks = partial(iter, list(blocks()))
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


def _rounded(envelope: Envelope) -> np.ndarray:
    """int8 `[2, points]` in -127 to 127."""
    return np.clip(np.rint(envelope.ends * 127), -127, 127).astype(np.int8)


def _peak(samples: np.ndarray) -> float:
    return max(float(samples.max()), -float(samples.min())) if len(samples) else 0.0
