"""Sound files for others: format, sample rate, bits with dither, a level that never clips, and tags."""

import hashlib
import io
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from distill.audio.loop_chunks import Loop, add_loop
from distill.audio.sound import EXTENSIONS, SoundReader, written_frames
from distill.audio.spool import Spool
from distill.dataset.scan import SILENCE_PEAK
from distill.errors import StorageError, UsageError
from distill.files import replacing
from distill.generation.finish import Finish, Frames, form_of
from distill.generation.limits import LOUDEST_DB

SAMPLE_RATES = (44_100, 48_000, 96_000)
BITS = ("16", "24", "32f")
# Room for what coding and dither do to the softer sound.
_MARGIN = 10 ** (0.01 / 20)
_TRIES = 20


@dataclass(frozen=True)
class _Format:
    """libsndfile's subtype for each number of bits, empty for a lossy one, and its options of compression."""

    subtypes: dict[str, str]
    options: dict[str, Any]

    @property
    def lossy(self) -> bool:
        return "" in self.subtypes


FORMATS = {
    "wav": _Format({"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}, {}),
    "flac": _Format({"16": "PCM_16", "24": "PCM_24"}, {}),
    # Quality 8 of Vorbis, and the best variable rate of MP3.
    "ogg": _Format({"": "VORBIS"}, {"compression_level": 0.2}),
    "mp3": _Format({"": "MPEG_LAYER_III"}, {"compression_level": 0.0, "bitrate_mode": "VARIABLE"}),
}


@dataclass(frozen=True)
class ExportSettings:
    """How sounds are written.

    Attributes:
        format: wav, flac, ogg or mp3, in any case.
        sample_rate: 44100, 48000 or 96000 Hz; None: the sound's own.
        bits: 16 (with dither), 24 or 32f (floating point, wav only); by default 24 where the format has bits.

    Raises:
        UsageError: a value is unknown, or the format does not have it.
    """

    format: str = "wav"
    sample_rate: int | None = None
    bits: str | None = None

    def __post_init__(self) -> None:
        name = self.format.lower().removeprefix(".")
        if name not in FORMATS:
            raise UsageError(f"unknown format {self.format}; known: {', '.join(FORMATS)}")
        object.__setattr__(self, "format", name)
        if self.sample_rate is not None and self.sample_rate not in SAMPLE_RATES:
            known = ", ".join(map(str, SAMPLE_RATES))
            raise UsageError(f"the sample rate must be one of {known} Hz, not {self.sample_rate}")
        if self.bits is not None and self.bits not in BITS:
            raise UsageError(f"bits must be one of {', '.join(BITS)}, not {self.bits}")
        if self.bits is not None and self.bits not in self._format.subtypes:
            has = "no bits to choose" if self._format.lossy else " or ".join(self._format.subtypes) + " bits"
            raise UsageError(f"{name} has {has}: omit bits {self.bits}, or choose another format")
        if self.sample_rate is not None:
            self.require_held(self.sample_rate, 1)

    @property
    def _format(self) -> _Format:
        return FORMATS[self.format]

    @property
    def depth(self) -> str:
        """The bits that are written; empty where the format has none."""
        return "" if self._format.lossy else self.bits or "24"

    def require_held(self, sample_rate: int, channels: int) -> None:
        """Make sure that the format can hold sounds of this kind.

        Raises:
            UsageError: it cannot.
        """
        try:
            soundfile.SoundFile(io.BytesIO(), "w", sample_rate, channels, **self._opening()).close()
        except soundfile.SoundFileError as error:
            kind = f"{channels} channel{'s' * (channels > 1)} at {sample_rate} Hz"
            raise UsageError(f"{self.format} cannot hold {kind}: choose another sample rate or format") from error

    def _opening(self) -> dict[str, Any]:
        subtype = self._format.subtypes[self.depth]
        return {"format": EXTENSIONS[f".{self.format}"], "subtype": subtype, **self._format.options}

    def create(self, path: Path, sample_rate: int, channels: int) -> soundfile.SoundFile:
        """A new file of this kind, open for writing."""
        return soundfile.SoundFile(str(path), "w", sample_rate, channels, **self._opening())


@dataclass(frozen=True)
class Tags:
    """Words within the file; MP3 has no place for the software."""

    title: str
    software: str
    comment: str


@dataclass(frozen=True)
class Exported:
    """What became of a sound.

    Attributes:
        sample_rate: in Hz.
        channels: number of channels.
        frames: samples of each channel.
        bits: 16, 24 or 32f, empty in lossy formats.
        gain_db: by how much it was made louder.
        peak_db: the highest sample in the file, after coding, below full scale (0 dB); None in silence.
        samples_digest: SHA-256 of the samples that were handed to the format's coder, interleaved.
    """

    sample_rate: int
    channels: int
    frames: int
    bits: str
    gain_db: float
    peak_db: float | None
    samples_digest: str


def export(
    path: Path,
    blocks: Iterable[Frames],
    sample_rate: int,
    *,
    settings: ExportSettings,
    tags: Tags,
    seed: int,
    level_given: bool = False,
    frames: int | None = None,
    finish: bool = False,
    trim: bool = False,
    loop: Loop | None = None,
) -> Exported:
    """Write a sound that comes in blocks, whole or not at all; memory does not grow with its length.

    A new sound is brought to a peak of -1 dB after resampling, with 24 dB of gain at most; a finished one to the
    loudness that all have, but no louder than that. A sound whose level is given keeps it. Where a file would clip all
    the same, after lossy coding or in integers, the whole sound becomes as much quieter as it takes. 16 bits have
    triangular dither of two steps' width (Lipshitz, Wannamaker and Vanderkooy, "Quantization and dither", 1992), except
    on samples that 16 bits hold exactly.

    Args:
        path: the file, which is replaced if it exists.
        blocks: float32 `[n]` or `[n, channels]`, in turn.
        sample_rate: of the blocks, in Hz.
        settings: how to write.
        tags: words within the file.
        seed: decides the dither.
        level_given: whether the sound has a level that is to be kept.
        frames: length in the file; by default what follows from the blocks' and the sample rates.
        finish: whether a new sound is finished (see `distill.generation.finish`).
        trim: whether that includes that silence is cut off.
        loop: the end leads into the beginning, and a WAV file says so.

    Raises:
        UsageError: the format cannot hold the sound.
        StorageError: a file cannot be written.
    """
    rate = settings.sample_rate or sample_rate
    with Spool() as spool:
        for block in _resampled(blocks, sample_rate, rate, frames):
            spool.add(block)
        (channels,) = spool.row
        settings.require_held(rate, channels)
        form = form_of(spool, rate, level_given=level_given, finish=finish, trim=trim, goes_round=loop is not None)
        gain = form.gain
        with replacing(path) as temporary:
            for _ in range(_TRIES):
                level, peak, digest = _encode(temporary, form, spool, rate, gain, settings, tags, seed)
                if level <= 1:
                    break
                gain /= level * _MARGIN
            else:
                raise StorageError(f"cannot write {path}: {settings.format} clips at any level; choose another format")
            if loop is not None and settings.format == "wav":
                add_loop(temporary, loop, sample_rate=rate, frames=form.last - form.first)
        return Exported(
            sample_rate=rate,
            channels=channels,
            frames=form.last - form.first,
            bits=settings.depth,
            gain_db=_decibel(gain),
            peak_db=_decibel(peak) if peak > SILENCE_PEAK else None,
            samples_digest=digest,
        )


def _resampled(blocks: Iterable[Frames], source: int, target: int, frames: int | None) -> Iterator[Frames]:
    """Blocks `[n, channels]` at the target rate, all in all `frames`."""
    stream: soxr.ResampleStream | None = None
    received = sent = 0
    channels = 1

    def limited(block: Frames) -> Frames:
        nonlocal sent
        block = block if frames is None else block[: frames - sent]
        sent += len(block)
        return block

    for block in blocks:
        block = block.reshape(len(block), -1)
        channels = block.shape[1]
        received += len(block)
        if source == target:
            yield limited(block)
            continue
        stream = stream or soxr.ResampleStream(source, target, channels, dtype="float32", quality="VHQ")
        yield limited(stream.resample_chunk(np.ascontiguousarray(block, np.float32)))
    frames = max(1, round(received * target / source)) if frames is None else frames
    if stream is not None:
        yield limited(stream.resample_chunk(np.zeros((0, channels), np.float32), last=True))
    if sent < frames:
        # A resampler rounds a sound's length down; what is asked for may be a sample longer.
        yield np.zeros((frames - sent, channels), np.float32)


def _encode(
    path: Path, form: Finish, spool: Spool, rate: int, gain: float, settings: ExportSettings, tags: Tags, seed: int
) -> tuple[float, float, str]:
    """Write what stays of a sound, scaled: the level, at most 1 if nothing clips, the peak in the file, the digest."""
    quantizer = _Quantizer(settings.depth, seed)
    digest = hashlib.sha256()
    peak = 0.0
    try:
        with settings.create(path, rate, *spool.row) as file:
            file.title, file.software, file.comment = tags.title, tags.software, tags.comment
            for block in form.blocks(spool):
                frames = quantizer(block if gain == 1 else block * np.float32(gain))
                peak = max(peak, quantizer.peak(frames))
                digest.update((frames if sys.byteorder == "little" else frames.byteswap()).tobytes())
                file.write(frames)
    except soundfile.SoundFileError as error:
        raise StorageError(f"cannot write {path.parent}: {error}; is the disk full?") from error
    if settings.depth == "32f":
        _forget_time(path)
        level = 0.0
    elif settings.depth:
        level = quantizer.level
    else:
        peak = _decoded_peak(path)
        # Lossy coding moves peaks, and decoders differ a little.
        level = peak / 10 ** (LOUDEST_DB / 20)
    if written_frames(path) != form.last - form.first:
        raise StorageError(f"cannot write in {path.parent}: the file is incomplete; is the disk full?")
    return level, peak, digest.hexdigest()


class _Quantizer:
    """Scaled frames to what is handed to libsndfile: integers in the upper bits, or the floats themselves.

    `level` is the highest level so far, relative to the largest integer; above 1 the file clips.
    """

    def __init__(self, depth: str, seed: int) -> None:
        self.bits = int(depth) if depth.isdecimal() else 0
        self.level = 0.0
        self._generator = np.random.Generator(np.random.Philox(seed)) if depth == "16" else None

    def __call__(self, frames: Frames) -> npt.NDArray[Any]:
        if not self.bits:
            return frames
        scaled = frames.astype(np.float64) * 2.0 ** (self.bits - 1)
        if self._generator is not None:
            uniform = self._generator.random((*frames.shape, 2))
            # Where nothing is rounded there is nothing to hide: silence and 16-bit originals stay what they are.
            scaled += (uniform[..., 0] - uniform[..., 1]) * (scaled != np.rint(scaled))
        whole = np.rint(scaled)
        most = 2.0 ** (self.bits - 1) - 1
        highest = max(float(whole.max(initial=0.0)) / most, -float(whole.min(initial=0.0)) / (most + 1))
        self.level = max(self.level, highest)
        clipped = np.clip(whole, -most - 1, most)
        if self.bits == 16:
            return clipped.astype(np.int16)
        return clipped.astype(np.int32) << (32 - self.bits)

    def peak(self, frames: npt.NDArray[Any]) -> float:
        """The highest absolute value of what was handed out, relative to full scale."""
        scale = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}.get(frames.dtype, 1.0)
        return float(np.abs(frames.astype(np.float64)).max(initial=0.0)) / scale


def _decibel(value: float) -> float:
    # Adding 0 turns -0.0 into 0.0.
    return round(20 * math.log10(value), 3) + 0.0


def _decoded_peak(path: Path) -> float:
    with SoundReader(path) as reader:
        return max(float(np.abs(block).max()) for block in reader.blocks())


def _forget_time(path: Path) -> None:
    """Zero the time of writing that libsndfile puts beside the peak of a WAV of floats, so that equal sounds are equal.

    The chunk `PEAK` holds a version, the time, and a peak for each channel; it stands before the samples.
    """
    with path.open("r+b") as file:
        position = 12
        while True:
            file.seek(position)
            head = file.read(8)
            if len(head) < 8 or head[:4] == b"data":
                return
            if head[:4] == b"PEAK":
                file.seek(position + 12)
                file.write(bytes(4))
                return
            size = int.from_bytes(head[4:], "little")
            position += 8 + size + size % 2
