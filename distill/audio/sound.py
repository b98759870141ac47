"""Sound files: the formats, reading and writing."""

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

from distill.audio.containers import Inspection, View, inspect
from distill.errors import DataError, StorageError, UsageError
from distill.files import replacing
from distill.words import counted

# Every format that is read and written, by extension in lower case, with the name that libsndfile has for it. What a
# file is read as follows from its content alone.
EXTENSIONS = {
    ".wav": "WAV",
    ".wave": "WAV",
    ".bwf": "WAV",
    ".rf64": "RF64",
    ".w64": "W64",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".aifc": "AIFF",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".caf": "CAF",
    ".au": "AU",
    ".snd": "AU",
    ".voc": "VOC",
    ".iff": "SVX",
    ".8svx": "SVX",
    ".svx": "SVX",
    ".sf": "IRCAM",
    ".nist": "NIST",
    ".sph": "NIST",
    ".avr": "AVR",
    ".paf": "PAF",
    ".pvf": "PVF",
    ".xi": "XI",
}
# Sounds that are not read, and what to do.
FOREIGN_EXTENSIONS = frozenset(
    (".m4a", ".m4b", ".mp4", ".aac", ".alac", ".wma", ".3gp", ".webm", ".mka", ".ape", ".sds")
)
CONVERT = "AAC, ALAC, WMA, sample dumps and the like are not read: convert it to wav or flac first (ffmpeg does it)"

# Formats with a better encoding than libsndfile's default, for sounds that are to be worked on.
_FINE_FORMATS = frozenset(("WAV", "RF64", "W64", "AIFF", "CAF", "AU", "FLAC"))
_SUBTYPES = {".opus": "OPUS"}

BLOCK_FRAMES = 1 << 18
_WRITTEN_FRAMES = 1 << 16
# Files of very many channels are decoded in shorter blocks.
_BLOCK_SAMPLES = 8 * BLOCK_FRAMES
# A header can say that the length is not known; libsndfile then reports a number near the largest there is.
_UNKNOWN_LENGTH = 1 << 48

# No sound is recorded at less; a header that says so is damaged.
LEAST_RATE = 1000

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
    """A decoded sound.

    Attributes:
        samples: float32 `[channels, n]`, full scale 1.
        sample_rate: in Hz.
        subtype: libsndfile's name of the encoding.
        format: libsndfile's name of the container.
        note: a sentence about what is missing of the file or wrong in its header, or an empty string.
    """

    samples: np.ndarray
    sample_rate: int
    subtype: str
    format: str
    note: str = ""

    @property
    def seconds(self) -> float:
        """Duration in s."""
        return self.samples.shape[-1] / self.sample_rate


class SoundReader:
    """An open sound file that is decoded block by block, as far as it goes; a context manager.

    Raises:
        SoundError: on opening or while reading, when the file is empty, not a sound, or cut before its first sample.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inspection = self._inspect()
        self._view = View(path, self._inspection) if self._inspection.changes else None
        try:
            with self._quiet():
                self._file = self._open()
        except (soundfile.SoundFileError, TypeError) as error:
            self._close_view()
            if self._inspection.kind != "other" and self._inspection.note:
                raise SoundError(path, "truncated", f"nothing of it can be decoded: {self._inspection.note}") from error
            raise self._unreadable() from error
        except OSError as error:
            self._close_view()
            raise SoundError(path, "unreadable", f"it cannot be opened: {error.strerror or error}") from error
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.subtype: str = self._file.subtype
        self.format: str = self._file.format
        if self._file.frames >= _UNKNOWN_LENGTH:
            # soundfile seeks after a block that came short, which FLAC refuses without a length.
            self._file.seekable = lambda: False
        if self.sample_rate < LEAST_RATE:
            self._close()
            raise SoundError(path, "unreadable", f"its header says {self.sample_rate} Hz")
        self.note = self._inspection.note
        """What is missing or wrong, as a sentence, or an empty string; complete once all blocks were decoded."""

    @property
    def seconds(self) -> float | None:
        """Duration in s that the header promises; None where it does not say."""
        return self._file.frames / self.sample_rate if self._file.frames < _UNKNOWN_LENGTH else None

    def __enter__(self) -> "SoundReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def blocks(self) -> Iterator[np.ndarray]:
        """Decode in turn blocks of float32 `[frames, channels]`; a block is only valid until the next is asked for."""
        promised = self._file.frames
        known = promised < _UNKNOWN_LENGTH
        most = min(BLOCK_FRAMES, _BLOCK_SAMPLES // self.channels)
        buffer = np.empty((min(max(promised, 1), most) if known else most, self.channels), np.float32)
        done, failed = 0, False
        while not failed:
            try:
                with self._quiet():
                    block = self._file.read(dtype="float32", always_2d=True, out=buffer)
            except soundfile.SoundFileError:
                failed = True
                # What was decoded before the place that cannot be is in the buffer.
                block = buffer[: min(max(self._file.tell() - done, 0), len(buffer))]
            done += len(block)
            if len(block):
                yield block
            if len(block) < len(buffer) or done == promised:
                break
        # The length of an MPEG stream is an estimate of the decoder's; its frames were counted on opening.
        is_short = known and done < promised and not self.subtype.startswith("MPEG")
        if not self.note and (failed or is_short):
            of_all = f" of the {promised / self.sample_rate:.2f} s that the header promises" if known else ""
            self.note = f"decoding stops after {done / self.sample_rate:.2f} s{of_all}: the rest is missing"
        if done == 0:
            if self.note:
                raise SoundError(self.path, "truncated", f"nothing of it can be decoded: {self.note}")
            raise SoundError(self.path, "empty", "the header is there, but no samples follow")

    def _open(self) -> soundfile.SoundFile:
        if self._view is not None:
            return soundfile.SoundFile(self._view)
        return soundfile.SoundFile(str(self.path) if sys.platform == "win32" else os.fsencode(self.path))

    def _close(self) -> None:
        with self._quiet():
            self._file.close()
        self._close_view()

    def _close_view(self) -> None:
        if self._view is not None:
            self._view.close()

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
        if inspection.kind == "foreign":
            raise SoundError(self.path, "unreadable", CONVERT)
        if inspection.headless:
            raise SoundError(self.path, "truncated", "the file ends inside its header")
        return inspection

    def _unreadable(self) -> SoundError:
        known = ", ".join(sorted({name.lower() for name in EXTENSIONS.values()}))
        reason = self._inspection.refusal or f"its content is not a sound in a known format ({known})"
        return SoundError(self.path, "unreadable", reason)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Keep the MPEG decoder's own messages off the terminal."""
        if self._inspection.kind in ("mpeg", "other"):
            with _STDERR.closed():
                yield
        else:
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
    """Decode a whole file, as far as it goes.

    Raises:
        SoundError: the file is empty, not a sound, cut before its first sample, or has samples that are not numbers.
    """
    with SoundReader(path) as reader:
        blocks = [block.T.copy() for block in reader.blocks()]
        samples = np.concatenate(blocks, axis=1)
        sound = Sound(samples, reader.sample_rate, reader.subtype, reader.format, reader.note)
    if not np.isfinite(sound.samples).all():
        raise SoundError(path, "not_finite", "some samples are not numbers (NaN or infinite)")
    return sound


def seconds_of(path: Path) -> float | None:
    """Duration of a sound file in s, from its header; None where it does not say.

    Raises:
        SoundError: the file is empty, not a sound, or cut before its first sample.
    """
    with SoundReader(path) as reader:
        return reader.seconds


def write_sound(
    path: Path, samples: np.ndarray, sample_rate: int, subtype: str | None = None, *, fine: bool = False
) -> None:
    """Write float samples `[n]` or `[channels, n]` as the format that the extension names, whole or not at all.

    `subtype` is one of libsndfile's, such as PCM_24 or FLOAT; without it the format's own default, or with `fine` 24
    bits where it has them.

    Raises:
        UsageError: the extension, the subtype or the sample rate does not fit the format.
        StorageError: the file cannot be written.
    """
    kind = EXTENSIONS.get(path.suffix.lower())
    if kind is None:
        known = ", ".join(EXTENSIONS)
        raise UsageError(f"{path}: cannot write {path.suffix or 'a file without extension'}; known: {known}")
    usual = "PCM_24" if fine and kind in _FINE_FORMATS else soundfile.default_subtype(kind)
    subtype = subtype or _SUBTYPES.get(path.suffix.lower()) or usual
    if not soundfile.check_format(kind, subtype):
        known = ", ".join(soundfile.available_subtypes(kind))
        raise UsageError(f"{path}: {kind} has no subtype {subtype}; known: {known}")
    frames = np.ascontiguousarray(np.asarray(samples, dtype=np.float32).T)
    channels = 1 if frames.ndim == 1 else frames.shape[1]
    unfit = f"{path}: {kind} cannot hold {counted(channels, 'channel')} at {sample_rate} Hz"
    with replacing(path) as temporary:
        try:
            with soundfile.SoundFile(str(temporary), "w", sample_rate, channels, subtype, format=kind) as file:
                # libsndfile puts all of a Vorbis sound that it is given at once on its stack.
                for first in range(0, len(frames), _WRITTEN_FRAMES):
                    file.write(frames[first : first + _WRITTEN_FRAMES])
        except soundfile.SoundFileError as error:
            if "samplerate" in str(error).lower() or "sample rate" in str(error).lower() or "Format" in str(error):
                raise UsageError(unfit) from error
            raise StorageError(f"cannot write {path}: {error}") from error
        written = written_frames(temporary)
        if written < len(frames) and not (kind == "MP3" and written > 0):
            raise StorageError(f"cannot write {path}: the file came out incomplete; is the disk full?")
        # Some formats keep a rate of their own, whatever they are given.
        if soundfile.info(str(temporary)).samplerate != sample_rate:
            raise UsageError(unfit)


def wav_bytes(samples: np.ndarray, sample_rate: int) -> bytes:
    """A WAV file of 16 bits with float samples `[n]` or `[channels, n]`, for hearing at once."""
    stream = io.BytesIO()
    frames = np.ascontiguousarray(np.asarray(samples, dtype=np.float32).T)
    soundfile.write(stream, frames, sample_rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def written_frames(path: Path) -> int:
    """Samples of each channel in a file that was written, -1 if it is broken: a full disk is not always reported."""
    try:
        return int(soundfile.info(str(path)).frames)
    except soundfile.SoundFileError:
        return -1
