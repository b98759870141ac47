"""Sound files: the formats, reading, writing, and the way to mono at another sample rate."""

import io
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import soundfile
import soxr

from distill.audio.containers import Inspection, inspect
from distill.errors import DataError, StorageError, UsageError
from distill.files import replacing

# Every format that is read and written, by extension in lower case, with the name that libsndfile has for it.
EXTENSIONS = {".wav": "WAV", ".aif": "AIFF", ".aiff": "AIFF", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}

# For sounds that are to be worked on: encodings better than libsndfile's default of the format.
FINE_SUBTYPES = {".wav": "PCM_24", ".aif": "PCM_24", ".aiff": "PCM_24", ".flac": "PCM_24"}

BLOCK_FRAMES = 1 << 18
# A header can say that the length is not known; libsndfile then reports a number near the largest there is.
_UNKNOWN_LENGTH = 1 << 48

Problem = Literal["empty", "truncated", "unreadable", "not_finite"]


class SoundError(DataError):
    """A file that cannot be used as a sound.

    Attributes:
        problem: what kind of trouble it is.
        reason: a plain sentence without the file's name.
    """

    def __init__(self, path: Path, problem: Problem, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.problem = problem
        self.reason = reason


@dataclass(frozen=True)
class Sound:
    """A decoded sound: samples float32 `[channels, n]`, full scale 1, rate in Hz, libsndfile's subtype and format."""

    samples: np.ndarray
    sample_rate: int
    subtype: str
    format: str

    @property
    def seconds(self) -> float:
        """Duration in s."""
        return self.samples.shape[-1] / self.sample_rate


class SoundReader:
    """An open sound file that is decoded block by block; a context manager.

    Raises:
        SoundError: on opening or while reading, when the file is empty, cut, or not a sound.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inspection = self._inspect()
        try:
            with self._quiet():
                self._file = soundfile.SoundFile(str(path) if sys.platform == "win32" else os.fsencode(path))
        except (soundfile.SoundFileError, TypeError) as error:
            raise self._unreadable() from error
        except OSError as error:
            raise SoundError(path, "unreadable", f"it cannot be opened: {error.strerror or error}") from error
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.subtype: str = self._file.subtype
        self.format: str = self._file.format

    @property
    def seconds(self) -> float | None:
        """Duration in s that the header promises; None where it does not say."""
        return self._file.frames / self.sample_rate if self._file.frames < _UNKNOWN_LENGTH else None

    def __enter__(self) -> "SoundReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._quiet():
            self._file.close()

    def blocks(self) -> Iterator[np.ndarray]:
        """Decode in turn blocks of float32 `[frames, channels]`; a block is only valid until the next is asked for."""
        promised = self._file.frames
        known = promised < _UNKNOWN_LENGTH
        buffer = np.empty((min(max(promised, 1), BLOCK_FRAMES) if known else BLOCK_FRAMES, self.channels), np.float32)
        done = 0
        while True:
            try:
                with self._quiet():
                    block = self._file.read(dtype="float32", always_2d=True, out=buffer)
            except soundfile.SoundFileError as error:
                if done == 0 and promised <= 0:
                    raise self._unreadable() from error
                raise self._cut(done, promised) from error
            done += len(block)
            if len(block):
                yield block
            if len(block) < len(buffer) or done == promised:
                break
        # An MPEG stream's length is an estimate of the decoder's; its frames were counted on opening.
        if known and done < promised and self._inspection.kind != "mpeg":
            raise self._cut(done, promised)
        if done == 0:
            raise SoundError(self.path, "empty", "the header is there, but no samples follow")

    def _inspect(self) -> Inspection:
        try:
            status = self.path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise SoundError(self.path, "unreadable", "it is not a regular file")
            if status.st_size == 0:
                raise SoundError(self.path, "empty", "the file has no bytes")
            inspection = inspect(self.path)
        except OSError as error:
            raise SoundError(self.path, "unreadable", f"it cannot be opened: {error.strerror or error}") from error
        if inspection.empty:
            raise SoundError(self.path, "empty", "the header is there, but no samples follow")
        if inspection.cut:
            raise SoundError(self.path, "truncated", inspection.cut)
        return inspection

    def _cut(self, done: int, promised: int) -> SoundError:
        rate = self.sample_rate
        return SoundError(
            self.path,
            "truncated",
            f"decoding stops after {done / rate:.2f} s of the {promised / rate:.2f} s that the header promises",
        )

    def _unreadable(self) -> SoundError:
        return SoundError(
            self.path, "unreadable", "its content is not a sound in a known format (wav, aiff, flac, ogg, mp3)"
        )

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Keep the MPEG decoder's own messages off the terminal."""
        if self._inspection.kind in ("wav", "aiff", "flac", "ogg"):
            yield
        else:
            with _STDERR.closed():
                yield


class _Stderr:
    """The process's stderr, pointed at nothing while at least one thread asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._saved = -1

    @contextmanager
    def closed(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._saved = self._redirect()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0 and self._saved >= 0:
                    os.dup2(self._saved, 2)
                    os.close(self._saved)

    @staticmethod
    def _redirect() -> int:
        """Point descriptor 2 at the null device; the descriptor that keeps the old one, -1 where there is none."""
        try:
            saved = os.dup(2)
        except OSError:
            return -1
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        return saved


_STDERR = _Stderr()


def read_sound(path: Path) -> Sound:
    """Decode a whole file.

    Raises:
        SoundError: the file is empty, cut, not a sound, or has samples that are not numbers.
    """
    with SoundReader(path) as reader:
        blocks = [block.T.copy() for block in reader.blocks()]
        sound = Sound(np.concatenate(blocks, axis=1), reader.sample_rate, reader.subtype, reader.format)
    if not np.isfinite(sound.samples).all():
        raise SoundError(path, "not_finite", "some samples are not numbers (NaN or infinite)")
    return sound


def seconds_of(path: Path) -> float | None:
    """Duration of a sound file in s, from its header; None where it does not say.

    Raises:
        SoundError: the file is empty, cut, or not a sound.
    """
    with SoundReader(path) as reader:
        return reader.seconds


def write_sound(path: Path, samples: np.ndarray, sample_rate: int, subtype: str | None = None) -> None:
    """Write float samples `[n]` or `[channels, n]` as the format that the extension names, whole or not at all.

    `subtype` is one of libsndfile's, such as PCM_24 or FLOAT; the format's own default without it.

    Raises:
        UsageError: the extension, the subtype or the sample rate does not fit the format.
        StorageError: the file cannot be written.
    """
    kind = EXTENSIONS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{path}: cannot write {path.suffix or 'a file without extension'}; known: {', '.join(EXTENSIONS)}"
        )
    subtype = subtype or soundfile.default_subtype(kind)
    if not soundfile.check_format(kind, subtype):
        known = ", ".join(soundfile.available_subtypes(kind))
        raise UsageError(f"{path}: {kind} has no subtype {subtype}; known: {known}")
    frames = np.ascontiguousarray(np.asarray(samples, dtype=np.float32).T)
    with replacing(path) as temporary:
        try:
            soundfile.write(str(temporary), frames, sample_rate, format=kind, subtype=subtype)
        except soundfile.SoundFileError as error:
            if "samplerate" in str(error).lower() or "sample rate" in str(error).lower() or "Format" in str(error):
                raise UsageError(f"{path}: {kind} cannot hold {frames.ndim}-d samples at {sample_rate} Hz") from error
            raise StorageError(f"cannot write {path}: {error}") from error
        _require_length(path, temporary, len(frames), kind)


def wav_bytes(samples: np.ndarray, sample_rate: int) -> bytes:
    """A WAV file of 16 bits with float samples `[n]` or `[channels, n]`, for hearing at once."""
    stream = io.BytesIO()
    frames = np.ascontiguousarray(np.asarray(samples, dtype=np.float32).T)
    soundfile.write(stream, frames, sample_rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def _require_length(path: Path, written: Path, frames: int, kind: str) -> None:
    """libsndfile does not always report a full disk."""
    try:
        present = soundfile.info(str(written)).frames
    except soundfile.SoundFileError:
        present = -1
    if present < frames and not (kind == "MP3" and present > 0):
        raise StorageError(f"cannot write {path}: the file came out incomplete; is the disk full?")


def to_mono(sound: Sound, sample_rate: int) -> np.ndarray:
    """The mean of the channels at another sample rate (in Hz), float32 `[n]`."""
    return resample(mean_of_channels(sound.samples), sound.sample_rate, sample_rate)


def mean_of_channels(samples: np.ndarray) -> np.ndarray:
    """Mono float32 `[n]` of samples `[channels, n]`; a copy."""
    mono = samples[0].astype(np.float32)
    for channel in samples[1:]:
        mono += channel
    if len(samples) > 1:
        mono /= np.float32(len(samples))
    return mono


def resample(samples: np.ndarray, source_rate: float, target_rate: float) -> np.ndarray:
    """Resample float32 `[n]`; rates in Hz, of which only the ratio counts and which need not be whole."""
    if source_rate == target_rate:
        return samples
    return soxr.resample(samples, source_rate, target_rate, quality="HQ")
