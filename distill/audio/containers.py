"""Where the samples of a sound file lie and how far they go, told from its bytes without decoding.

Recorders that are cut off, pipes and broken downloads leave sizes in a header that are not those of the file. Decoders
then return nothing, fewer samples without a word, or print to stderr.
"""

import io
import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from distill.audio.mpeg import SEARCH_BYTES, find_stream, tags_end

# Sizes from here on are what recorders write that cannot go back to fill in the true one.
_STREAMED, _STREAMED_LONG = 0x7FFF_F000, 1 << 62
_OGG_TAIL = 65_536 + 1024
_MOST_CHUNKS = 10_000
# Chunks that recorders write behind the samples, and how far from the end they are looked for.
_BEHIND, _BEHIND_BYTES = re.compile(rb"LIST|[Ii][Dd]3 |bext|smpl|cue "), 65_536
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
        refusal: a sentence for where a decoder cannot read it, or an empty string.
        lead: bytes that a decoder is to see before the first of the file.
        first: the first byte of the file that a decoder is to see.
        patches: bytes that a decoder is to see in place of those at an offset.
    """

    kind: str
    note: str = ""
    headless: bool = False
    refusal: str = ""
    lead: bytes = b""
    first: int = 0
    patches: Mapping[int, bytes] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def changes(self) -> bool:
        """Whether a decoder is to see other bytes than those of the file."""
        return bool(self.lead or self.first or self.patches)


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
        multiple: what follows a head is filled up to a multiple of it.
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
        return self.body(position) + -(-size // self.multiple) * self.multiple


_WAV = _Chunks(12, 4, 4, "little", b"data")
_CHUNKED = {
    b"RIFF": _WAV,
    b"RF64": _WAV,
    b"BW64": _WAV,
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
        self._length = len(inspection.lead) + path.stat().st_size - inspection.first
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
        lead = self._inspection.lead[self._position : self._position + len(buffer)]
        buffer[: len(lead)] = lead
        self._position += len(lead)
        buffer = memoryview(buffer)[len(lead) :]
        begin = self._inspection.first + max(0, self._position - len(self._inspection.lead))
        self._handle.seek(begin)
        count = self._handle.readinto(buffer)
        for offset, patch in self._inspection.patches.items():
            low, high = max(offset, begin), min(offset + len(patch), begin + count)
            if low < high:
                buffer[low - begin : high - begin] = patch[low - offset : high - offset]
        self._position += count
        return len(lead) + count

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
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE":
            found = _chunked(data, _CHUNKED[head[:4]])
            # Another name of the same, which libsndfile does not know.
            return _patched(found, {0: b"RF64"}) if head[:4] == b"BW64" else found
        if (head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC")) or head[:4] == b"caff":
            return _chunked(data, _CHUNKED[head[:4]])
        if data[:16] == _W64_RIFF:
            return _chunked(data, _CHUNKED[b"riff"])
        if head[:4] in (b".snd", b"dns."):
            return _au(data, "big" if head[:1] == b"." else "little")
        if head[:4] == b"OggS":
            return _ogg(data)
        # A sample dump, of whose damages libsndfile tells on stdout.
        if head[:2] == b"\xf0\x7e":
            return Inspection("foreign")
        # The containers of AAC, ALAC and WMA, and AAC without one.
        if (
            head[4:8] == b"ftyp"
            or head[:4] == b"\x30\x26\xb2\x75"
            or int.from_bytes(head[:2], "big") & 0xFFF6 == 0xFFF0
        ):
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
    lead, first = b"", 0
    for _ in range(_MOST_CHUNKS):
        body = form.body(position)
        if body > len(data):
            return Inspection(kind, headless=True)
        name, size = form.head(data, position)
        if name == form.samples:
            found = _samples_chunk(kind, data, form, position, long_size_at, lead + data[first:body])
            return found if found.lead else _patched(replace(found, lead=lead, first=first), {})
        if name == b"ds64":
            long_size_at = body + 8
        elif name == b"fmt " and form.name == 4 and int.from_bytes(data[body : body + 2], form.order) in _MPEG_TAGS:
            kind = "mpeg"
        following = form.after(position, size)
        if following == body + size + 1 and data[body + size : body + size + 4] in (b"fmt ", form.samples):
            # An odd chunk without the byte that is to follow it: decoders, which look behind that, are not shown it.
            lead, first = lead + data[first:position], body + size
            following = first
        position = following
    return Inspection(kind)


def _patched(found: Inspection, patches: Mapping[int, bytes]) -> Inspection:
    """With more patches, and all of them in `lead`, too: its offsets are those of the file up to the first patch."""
    lead, patches = found.lead, {**patches, **found.patches}
    for offset, patch in patches.items():
        if offset + len(patch) <= len(lead):
            lead = lead[:offset] + patch + lead[offset + len(patch) :]
    return replace(found, lead=lead, patches=patches)


def _samples_chunk(
    kind: str, data: mmap.mmap, form: _Chunks, position: int, long_size_at: int, shown: bytes
) -> Inspection:
    """The chunk with the samples, at a position; `shown` is what a decoder sees before the first of them.

    An RF64 has sizes of 32 bits as a WAV has; where the true one is longer it stands in the chunk `ds64`, at
    `long_size_at`, and this one is all ones.
    """
    size, size_at, size_bytes = form.head(data, position)[1], position + form.name, form.size
    if long_size_at and size == 0xFFFF_FFFF:
        size_at, size_bytes = long_size_at, 8
        size = int.from_bytes(data[size_at : size_at + 8], "little")
    body = form.body(position)
    if size == 0 and _end_of_chunks(data, body, form) >= len(data):
        return Inspection(kind)
    end = _end_of_samples(data, body, form) if size == 0 or size >= _STREAMED else len(data)
    if form is _WAV and size_bytes == 4 and (wrapped := _wrapped(kind, shown, body, size, end - body)):
        return wrapped
    beside = (body - position if form.whole else 0) + form.lead
    place = _Place(size_at, size_bytes, form.order, body + form.lead, beside)
    return _sized(kind, end, size - form.lead, place)


def _wrapped(kind: str, head: bytes, body: int, size: int, present: int) -> Inspection | None:
    """A WAV of more than 4 GB, in whose size only the lower 32 bits found room; None: any other.

    Decoders read no more of a WAV than its size can say, and are shown an RF64.
    """
    behind = 0 if size == 0 or size >= _STREAMED else (present - size) % 2**32
    if present < 2**32 or behind >= _BEHIND_BYTES:
        return None
    sizes = (len(head) + 36 + present).to_bytes(8, "little") + (present - behind).to_bytes(8, "little") + bytes(12)
    lead = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0" + sizes + head[12:-4] + b"\xff\xff\xff\xff"
    note = "the header has no room for the size of its sound, which is more than 4 GB: what follows is used"
    return Inspection(kind, note, lead=lead, first=body)


def _end_of_samples(data: mmap.mmap, body: int, form: _Chunks) -> int:
    """Where chunks begin that follow samples of unknown size; the end of the file where there are none."""
    start = max(body, len(data) - _BEHIND_BYTES)
    for match in _BEHIND.finditer(data[start:] if form.name == 4 else b""):
        if _end_of_chunks(data, start + match.start(), form) in (len(data), len(data) + 1):
            return start + match.start()
    return len(data)


def _end_of_chunks(data: mmap.mmap, position: int, form: _Chunks) -> int:
    """Where chunks end that begin at a position; -1 where one has no name that can be read, or no head."""
    for _ in range(_MOST_CHUNKS):
        if position >= len(data):
            return position
        name, size = form.head(data, position)
        if not name[:4].isascii() or not name[:4].decode("ascii").isprintable() or form.body(position) > len(data):
            return -1
        position = form.after(position, size)
    return -1


@dataclass(frozen=True)
class _Place:
    """Where the size of the samples stands: offset, bytes, order; the first sample; what else the size counts."""

    offset: int
    width: int
    order: Order
    samples: int
    beside: int


def _sized(kind: str, end: int, promised: int, place: _Place) -> Inspection:
    """What the size of samples says that may go on up to an end."""
    present = max(0, end - place.samples)
    if promised <= 0 < present:
        note = "the header says that no sound follows, as a recorder that was cut off leaves it: what follows is used"
    elif promised <= present:
        return Inspection(kind)
    elif promised >= (_STREAMED if place.width == 4 else _STREAMED_LONG):
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
    return _sized("au", len(data), promised, _Place(8, 4, order, samples, 0))


def _ogg(data: mmap.mmap) -> Inspection:
    start = data.rfind(b"OggS", max(0, len(data) - _OGG_TAIL))
    missing = Inspection("ogg", "the last part of the stream is missing")
    if start < 0 or start + 27 > len(data):
        return missing
    segments = data[start + 26]
    sizes = data[start + 27 : start + 27 + segments]
    complete = len(sizes) == segments and start + 27 + segments + sum(sizes) <= len(data)
    last_of_stream = bool(data[start + 5] & 4)
    if not complete or not last_of_stream:
        return missing
    return Inspection("ogg", "another sound follows the first, which alone is used" if _is_chained(data) else "")


def _is_chained(data: mmap.mmap) -> bool:
    """Whether a stream of Ogg begins behind the end of another."""
    position, ended = max(0, data.find(b"OggS")), False
    while position + 27 <= len(data) and data[position : position + 4] == b"OggS":
        flags, segments = data[position + 5], data[position + 26]
        if ended and flags & 2:
            return True
        ended |= bool(flags & 4)
        position += 27 + segments + sum(data[position + 27 : position + 27 + segments])
    return False


def _tagged(data: mmap.mmap) -> Inspection:
    """A stream with tags before it, whose sizes may be wrong."""
    start = tags_end(data)
    flac = data.find(b"fLaC", 0, SEARCH_BYTES) if start > len(data) else start
    if flac >= 0 and data[flac : flac + 4] == b"fLaC":
        return Inspection("flac", refusal=_flac_refusal(data[flac : flac + 22]), first=flac if start > len(data) else 0)
    if data[start : start + 4] == b"OggS":
        return replace(_ogg(data), first=start)
    stream = find_stream(data)
    if stream is None:
        return Inspection("other")
    first = stream.first if start > len(data) or stream.lead else 0
    return Inspection("mpeg", stream.missing, lead=stream.lead, first=first, patches=stream.patches)


def _flac_refusal(head: bytes) -> str:
    """Of a FLAC of other bits than libsndfile reads: what to do."""
    bits = ((head[20] & 1) << 4 | head[21] >> 4) + 1 if len(head) == 22 else 16
    return "" if bits in (8, 16, 24) else f"FLAC of {bits} bits is not read: convert it to 24 bits"
