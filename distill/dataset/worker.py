"""The work on one file of a dataset: its sound judged and resampled, in parts, to spectrograms and an envelope."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from distill.audio.mel import MelTransform
from distill.audio.samples import resampled_blocks
from distill.audio.sound import BLOCK_FRAMES
from distill.audio.space import band_powers, space_blocks
from distill.audio.spool import Spool
from distill.configs import SpectrogramConfig
from distill.dataset.envelope import THUMBNAIL_POINTS, Envelope
from distill.dataset.scan import (
    SILENCE_PEAK,
    Examined,
    FileReport,
    FileVerdict,
    decibels,
    examine,
    unusable,
)
from distill.dataset.walk import Found
from distill.errors import DataError
from distill.workers.place import one_thread


@dataclass(frozen=True)
class Prepared:
    """A usable file's spectrogram, its gain in dB and its envelope int8 `[2, points]`; of a stereo sound its space."""

    mel: Spool
    gain_db: float
    samples: int
    envelope: np.ndarray
    space: "Space | None"


@dataclass(frozen=True)
class Part:
    """From where to where of a sound, in s."""

    start: float
    end: float


@dataclass(frozen=True)
class VariantSource:
    """A part of a file of which variants are made."""

    found: Found
    part: Part


class Worker:
    """The work on one file, done in any thread or process; what waits to be written lies in `folder`.

    Without a folder it lies where the system keeps temporary files.
    """

    def __init__(self, config: SpectrogramConfig, semitones: tuple[float, ...], folder: Path | None) -> None:
        self.config, self.semitones, self.folder = config, semitones, folder

    def __getstate__(self) -> tuple[SpectrogramConfig, tuple[float, ...], Path | None]:
        return self.config, self.semitones, self.folder

    def __setstate__(self, state: tuple[SpectrogramConfig, tuple[float, ...], Path | None]) -> None:
        self.config, self.semitones, self.folder = state

    @cached_property
    def transform(self) -> MelTransform:
        """From samples to spectrograms."""
        return MelTransform(self.config)

    def sound(self, found: Found) -> tuple[FileReport, Prepared | None]:
        """Judge a file and, where it is usable, make its spectrogram."""
        examined = examine(found, folder=self.folder, stereo=True)
        if examined.mono is None:
            return examined.report, None
        sound = Resampled(examined.mono, examined.report.sample_rate, self.config.sample_rate)
        if sound.peak < SILENCE_PEAK:
            said = f"nothing louder than -80 dB is left of it at {self.config.sample_rate} Hz"
            return unusable(examined.report, FileVerdict.SILENT, said), None
        envelope = Envelope(sound.samples, THUMBNAIL_POINTS)
        mel, space = self._mel(sound, examined.channels, envelope)
        prepared = Prepared(mel, decibels(1 / sound.peak), sound.samples, _rounded(envelope), space)
        return replace(examined.report, waveform=()), prepared

    def variants(self, found: Found, part: Part) -> "list[tuple[Spool, Space | None]]":
        """Spectrograms of a part of a file at other speeds, each with a peak of 1, and their spaces if it is stereo."""
        examined: Examined = examine(found, folder=self.folder, stereo=True)
        if examined.mono is None:
            raise DataError(f"{found.path} changed while it was being prepared; start again")
        rate = examined.report.sample_rate
        speeds = [rate * 2.0 ** (value / 12.0) for value in self.semitones]
        first, last = round(part.start * rate), round(part.end * rate)
        stretches = [Resampled(examined.mono, speed, self.config.sample_rate, first, last) for speed in speeds]
        return [self._mel(stretch, examined.channels) for stretch in stretches]

    def _mel(
        self, sound: "Resampled", channels: Spool | None, envelope: Envelope | None = None
    ) -> "tuple[Spool, Space | None]":
        def parts() -> Iterator[torch.Tensor]:
            for part in sound.parts():
                if envelope is not None:
                    envelope.add(part)
                yield torch.from_numpy(part)

        spool, mid = Spool(np.float16, self.folder), Spool(folder=self.folder)
        for power in self.transform.power_blocks(parts(), sound.samples):
            spool.add(self.transform.from_power(power).half().numpy())
            if channels is not None:
                mid.add(band_powers(power))
        return spool, None if channels is None else self._space(mid, sound, channels)

    def _space(self, mid: Spool, sound: "Resampled", channels: Spool) -> "Space":
        """Level differences and coherences `[frames, bands, 2]` of two channels, whose mix has known band powers."""
        powers = [mid]
        for channel in range(2):
            power_of_channel = Spool(folder=self.folder)
            waves = (torch.from_numpy(part) for part in sound.of(channels, channel))
            for power in self.transform.power_blocks(waves, sound.samples):
                power_of_channel.add(band_powers(power))
            powers.append(power_of_channel)
        spool, apart, whole, first = Spool(np.float16, self.folder), 0.0, 0.0, 0
        for block in space_blocks(powers, self.transform.floor):
            spool.add(block)
            of_mid = np.concatenate(list(mid.blocks(first, first + len(block))))
            apart += float((np.abs(block[..., 0]) * of_mid).sum(dtype=np.float64))
            whole += float(of_mid.sum(dtype=np.float64))
            first += len(block)
        return Space(spool, round(apart / max(whole, 1e-12), 2))


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
        self._stretch, self._rates = (first, last), (source_rate, target_rate)

        def blocks() -> Iterator[np.ndarray]:
            return self._resampled(mono.blocks(first, last, BLOCK_FRAMES))

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
        return (block / self._scale for block in self._blocks())

    def of(self, channels: Spool, channel: int) -> Iterator[np.ndarray]:
        """The same stretch of one of the channels `[n, channels]` that the sound is the mix of, as loud as in it."""
        first, last = self._stretch
        blocks = (np.ascontiguousarray(block[:, channel]) for block in channels.blocks(first, last, BLOCK_FRAMES))
        return (block / self._scale for block in self._resampled(blocks))

    def _resampled(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        first, last = self._stretch
        return resampled_blocks(blocks, last - first, *self._rates)

    @property
    def _scale(self) -> np.float32:
        return np.float32(max(self.peak, SILENCE_PEAK))


@dataclass(frozen=True)
class Space:
    """Level differences and coherences `[frames, bands, 2]`, and by how much the channels differ in level.

    `apart_db` is the mean of the absolute level differences by power, in dB.
    """

    spool: Spool
    apart_db: float


def sound_of(worker: Worker, found: Found) -> tuple[FileReport, Prepared | None]:
    """What `Worker.sound` gives, on one thread of torch."""
    one_thread()
    return worker.sound(found)


def variants_of(worker: Worker, source: VariantSource) -> list[tuple[Spool, Space | None]]:
    """What `Worker.variants` gives, on one thread of torch."""
    one_thread()
    return worker.variants(source.found, source.part)


def _rounded(envelope: Envelope) -> np.ndarray:
    """int8 `[2, points]` in -127 to 127."""
    return np.clip(np.rint(envelope.ends * 127), -127, 127).astype(np.int8)


def _peak(samples: np.ndarray) -> float:
    return max(float(samples.max()), -float(samples.min())) if len(samples) else 0.0
