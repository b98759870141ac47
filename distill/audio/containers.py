"""Where the samples of a sound file lie and how far they go, told from its bytes without decoding.

Recorders that are cut off, pipes and broken downloads leave sizes in a header that are not those of the file. Decoders
then return nothing, fewer samples without a word, or print to stderr.
"""

import io
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from distill.audio.mpeg import SEARCH_BYTES, find_stream, tags_end

# Sizes from here on are what recorders write that cannot go back to fill in the true one.
_STREAMED = 0x7FFF_F000
_OGG_TAIL = 65_536 + 1024
_MOST_CHUNKS = 10_000
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
# Formats of sounds inside a WAV that the MPEG decoder reads.
_MPEG_TAGS = (0x50, 0x55)

Order = Literal["little", "big"]


@dataclass(frozen=True)
class Inspection:
    """What the bytes of a file say.

    Attributes:
        kind: `chunked`, `au`, `flac`, `ogg`, `mpeg`, `foreign` (a known container that is not read) or `other`.
        note: a sentence about sizes that are wrong or an end that is missing, or an empty string.
        headless: it ends inside its header.
        first: the first byte that a decoder is to see.
        patches: bytes that a decoder is to see in place of those at an offset.
    """

    kind: str
    note: str = ""
    headless: bool = False
    first: int = 0
    patches: Mapping[int, bytes] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class _Chunks:
    """How a container writes its chunks.

    Attributes:
        start: offset of the first.
        name: bytes of a name.
        size: bytes of a size.
        order: of the bytes of a size.
        samples: name of the chunk with the samples.
        lead: bytes in it before the first sample.
        whole: a size counts name and size, too.
        multiple: chunks start at multiples of it.
    """

    start: int
    name: int
    size: int
    order: Order
    samples: bytes
    lead: int = 0
    whole: bool = False
    multiple: int = 2

    def head(self, data: mmap.mmap, position: int) -> tuple[bytes, int]:
        """Name of the chunk at a position, and the size of what follows its head."""
        name = data[position : position + self.name]
        size = int.from_bytes(data[position + self.name : position + self.name + self.size], self.order)
        return name, max(0, size - self.name - self.size) if self.whole else size

    def body(self, position: int) -> int:
        """Where the content of the chunk at a position starts."""
        return position + self.name + self.size

    def after(self, position: int, size: int) -> int:
        """Where the next chunk starts."""
        return -(-(self.body(position) + size) // self.multiple) * self.multiple


_WAV = _Chunks(12, 4, 4, "little", b"data")
_CHUNKED = {
    b"RIFF": _WAV,
    b"RF64": _WAV,
    b"RIFX": _Chunks(12, 4, 4, "big", b"data"),
    b"FORM": _Chunks(12, 4, 4, "big", b"SSND", lead=8),
    b"caff": _Chunks(8, 4, 8, "big", b"data", lead=4, multiple=1),
    b"riff": _Chunks(40, 16, 8, "little", _W64_DATA, whole=True, multiple=8),
}


class View(io.RawIOBase):
    """A file as a decoder is to see it."""

    def __init__(self, path: Path, inspection: Inspection) -> None:
        self._handle = path.open("rb")
        self._inspection = inspection
        self._length = path.stat().st_size - inspection.first
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        begin = self._inspection.first + self._position
        self._handle.seek(begin)
        count = self._handle.readinto(buffer)
        for offset, patch in self._inspection.patches.items():
            low, high = max(offset, begin), min(offset + len(patch), begin + count)
            if low < high:
                buffer[low - begin : high - begin] = patch[low - offset : high - offset]
        self._position += count
        return count

    def close(self) -> None:
        self._handle.close()
        super().close()


def inspect(path: Path) -> Inspection:
    """Look at a file of at least one byte.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        head = data[:12]
        if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
            return _chunked(data, _CHUNKED[head[:4]])
        if (head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC")) or head[:4] == b"caff":
            return _chunked(data, _CHUNKED[head[:4]])
        if data[:16] == _W64_RIFF:
            return _chunked(data, _CHUNKED[b"riff"])
        if head[:4] in (b".snd", b"dns."):
            return _au(data, "big" if head[:1] == b"." else "little")
        if head[:4] == b"OggS":
            return _ogg(data)
        # The containers of AAC, ALAC and WMA, and AAC without one.
        if head[4:8] == b"ftyp" or head[:4] == b"\x30\x26\xb2\x75" or (head[:1] == b"\xff" and head[1] & 0xF6 == 0xF0):
            return Inspection("foreign")
        return _tagged(data)


def _chunked(data: mmap.mmap, form: _Chunks) -> Inspection:
    """Go from chunk to chunk to the one with the samples, and hold its size against the file.

    A WAV of 96,044 bytes whose recorder was cut off before it could go back, and what comes of it:

        offset   0      RIFF, size 0, WAVE
        offset  12      fmt , size 16, content
        offset  36      data, size 0              a note, and patches {40: the bytes of 96,000}
        offset  44      samples
    """
    kind, position, long_size_at = "chunked", form.start, 0
    for _ in range(_MOST_CHUNKS):
        body = form.body(position)
        if body > len(data):
            return Inspection(kind, headless=True)
        name, size = form.head(data, position)
        if name == form.samples:
            return _samples_chunk(kind, data, form, position, long_size_at)
        if name == b"ds64":
            long_size_at = body + 8
        elif name == b"fmt " and form.name == 4 and int.from_bytes(data[body : body + 2], form.order) in _MPEG_TAGS:
            kind = "mpeg"
        position = form.after(position, size)
    return Inspection(kind)


def _samples_chunk(kind: str, data: mmap.mmap, form: _Chunks, position: int, long_size_at: int) -> Inspection:
    """The chunk with the samples, at a position.

    An RF64 has sizes of 32 bits as a WAV has; where the true one is longer it stands in the chunk `ds64`, at
    `long_size_at`, and this one is all ones.
    """
    size, size_at, size_bytes = form.head(data, position)[1], position + form.name, form.size
    if long_size_at and size == 0xFFFF_FFFF:
        size_at, size_bytes = long_size_at, 8
        size = int.from_bytes(data[size_at : size_at + 8], "little")
    body = form.body(position)
    if size == 0 and _ends_in_chunks(data, body, form):
        return Inspection(kind)
    beside = (body - position if form.whole else 0) + form.lead
    return _sized(kind, data, size - form.lead, _Place(size_at, size_bytes, form.order, body + form.lead, beside))


def _ends_in_chunks(data: mmap.mmap, position: int, form: _Chunks) -> bool:
    """Whether chunks with names that can be read follow up to the end."""
    for _ in range(_MOST_CHUNKS):
        if position >= len(data):
            return True
        name, size = form.head(data, position)
        if not name[:4].isascii() or not name[:4].decode("ascii").isprintable() or form.body(position) > len(data):
            return False
        position = form.after(position, size)
    return False


@dataclass(frozen=True)
class _Place:
    """Where the size of the samples stands: offset, bytes, order; the first sample; what else the size counts."""

    offset: int
    width: int
    order: Order
    samples: int
    beside: int


def _sized(kind: str, data: mmap.mmap, promised: int, place: _Place) -> Inspection:
    present = max(0, len(data) - place.samples)
    if promised <= 0 < present:
        note = "the header says that no sound follows, as a recorder that was cut off leaves it: what follows is used"
    elif promised <= present:
        return Inspection(kind)
    elif promised >= _STREAMED:
        note = ""
    else:
        note = f"the header promises {promised} bytes of sound, of which {present} are there: the end is missing"
    true_size = present + place.beside
    if true_size >= 256**place.width - 1:
        return Inspection(kind, note)
    return Inspection(kind, note, patches={place.offset: true_size.to_bytes(place.width, place.order)})


def _au(data: mmap.mmap, order: Order) -> Inspection:
    samples, promised = (int.from_bytes(data[at : at + 4], order) for at in (4, 8))
    if len(data) < 24:
        return Inspection("au", headless=True)
    return _sized("au", data, promised, _Place(8, 4, order, samples, 0))


def _ogg(data: mmap.mmap) -> Inspection:
    start = data.rfind(b"OggS", max(0, len(data) - _OGG_TAIL))
    missing = Inspection("ogg", "the last part of the stream is missing")
    if start < 0 or start + 27 > len(data):
        return missing
    segments = data[start + 26]
    sizes = data[start + 27 : start + 27 + segments]
    complete = len(sizes) == segments and start + 27 + segments + sum(sizes) <= len(data)
    last_of_stream = bool(data[start + 5] & 4)
    return Inspection("ogg") if complete and last_of_stream else missing


def _tagged(data: mmap.mmap) -> Inspection:
    """A stream with tags before it, whose sizes may be wrong."""
    start = tags_end(data)
    flac = data.find(b"fLaC", 0, SEARCH_BYTES) if start > len(data) else start
    if flac >= 0 and data[flac : flac + 4] == b"fLaC":
        return Inspection("flac", first=flac if start > len(data) else 0)
    stream = find_stream(data)
    if stream is None:
        return Inspection("other")
    return Inspection("mpeg", stream.missing, first=stream.first if start > len(data) else 0)
