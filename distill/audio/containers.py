"""Whether a file holds the sound that its header promises, told from its bytes without decoding.

Decoders hide cut files: some return fewer samples, some none, some print to stderr.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path

# Sizes from here on are what recorders write that cannot go back to fill in the true one.
_STREAMED = 0x7FFF_F000
_OGG_TAIL = 65_536 + 1024
_MPEG_SEARCH = 65_536
_MPEG_RATES = (44_100, 48_000, 32_000)
_MPEG_KBITS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True)
class Inspection:
    """What the bytes of a file say.

    Attributes:
        kind: `wav`, `aiff`, `flac`, `ogg`, `mpeg` or `other`.
        cut: a sentence about what is missing, or an empty string.
        empty: the header is there and no sound follows.
    """

    kind: str
    cut: str = ""
    empty: bool = False


def inspect(path: Path) -> Inspection:
    """Look at a file of at least one byte.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        head = data[:12]
        if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
            return _wav(data, "big" if head[:4] == b"RIFX" else "little")
        if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            return _aiff(data)
        if head[:4] == b"OggS":
            return _ogg(data)
        if head[:4] == b"fLaC":
            return Inspection("flac")
        return _mpeg(data)


def _wav(data: mmap.mmap, order: str) -> Inspection:
    position, align, long_size = 12, 1, 0
    while position + 8 <= len(data):
        name = data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], order)  # type: ignore[arg-type]
        body = position + 8
        if name == b"ds64":
            long_size = int.from_bytes(data[body + 8 : body + 16], "little")
        elif name == b"fmt ":
            align = max(1, int.from_bytes(data[body + 12 : body + 14], order))  # type: ignore[arg-type]
        elif name == b"data":
            if size == 0xFFFF_FFFF and long_size:
                size = long_size
            return _compare("wav", size, len(data) - body, align)
        position = body + size + size % 2
    return Inspection("wav", cut="the file ends inside its header")


def _aiff(data: mmap.mmap) -> Inspection:
    position, align, promised = 12, 1, -1
    compressed = data[8:12] == b"AIFC"
    while position + 8 <= len(data):
        name = data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "big")
        body = position + 8
        if name == b"COMM":
            promised = int.from_bytes(data[body + 2 : body + 6], "big")
            if not compressed:
                channels = int.from_bytes(data[body : body + 2], "big")
                align = max(1, channels * ((int.from_bytes(data[body + 6 : body + 8], "big") + 7) // 8))
        elif name == b"SSND":
            return _compare("aiff", max(0, size - 8), max(0, len(data) - body - 8), align)
        position = body + size + size % 2
    if promised == 0:
        return Inspection("aiff", empty=True)
    return Inspection("aiff", cut="the file ends inside its header")


def _compare(kind: str, promised: int, present: int, align: int) -> Inspection:
    if promised >= _STREAMED and promised > present:
        return Inspection(kind)
    if promised == 0 or present < align:
        return Inspection(kind, empty=True)
    if promised // align > present // align:
        return Inspection(
            kind, cut=f"the header promises {promised} bytes of sound, of which {present} are there: the end is missing"
        )
    return Inspection(kind)


def _ogg(data: mmap.mmap) -> Inspection:
    start = data.rfind(b"OggS", max(0, len(data) - _OGG_TAIL))
    missing = Inspection("ogg", cut="the last part of the stream is missing")
    if start < 0 or start + 27 > len(data):
        return missing
    segments = data[start + 26]
    sizes = data[start + 27 : start + 27 + segments]
    complete = len(sizes) == segments and start + 27 + segments + sum(sizes) <= len(data)
    last_of_stream = bool(data[start + 5] & 4)
    return Inspection("ogg") if complete and last_of_stream else missing


@dataclass(frozen=True)
class _Frame:
    """Header of an MPEG audio frame: length in bytes, and what frames of one stream have in common."""

    size: int
    stream: tuple[int, int, int]
    side_info: int


def _mpeg(data: mmap.mmap) -> Inspection:
    start, end = _without_tags(data)
    position = _next_frame(data, start, end, min(end, start + _MPEG_SEARCH))
    if position < 0:
        return Inspection("other")
    first = _frame(data, position)
    assert first is not None
    promised, count = _promised_frames(data, position, first), 0
    while position < end:
        frame = _frame(data, position)
        if frame is None or frame.stream != first.stream:
            position = _next_frame(data, position, end, end)
            if position < 0:
                break
            continue
        if position + frame.size > end:
            return Inspection("mpeg", cut=f"it is cut inside its frame {count + 1}: the end is missing")
        position += frame.size
        count += 1
    # The frame with the counts is itself not counted by every encoder.
    if promised > count + 1:
        return Inspection("mpeg", cut=f"the header promises {promised} frames, of which {count} are there")
    return Inspection("mpeg")


def _without_tags(data: mmap.mmap) -> tuple[int, int]:
    """First and last byte of the sound, tags at the start and the end left out."""
    start, end = 0, len(data)
    while data[start : start + 3] == b"ID3" and start + 10 <= end:
        size = 0
        for byte in data[start + 6 : start + 10]:
            size = size << 7 | byte & 0x7F
        start += 10 + size + (10 if data[start + 5] & 0x10 else 0)
    if end - start >= 128 and data[end - 128 : end - 125] == b"TAG":
        end -= 128
    if end - start >= 32 and data[end - 32 : end - 24] == b"APETAGEX":
        has_header = data[end - 32 + 23] & 0x80
        end -= int.from_bytes(data[end - 20 : end - 16], "little") + (32 if has_header else 0)
    return min(start, len(data)), max(end, 0)


def _frame(data: mmap.mmap, position: int) -> _Frame | None:
    head = data[position : position + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version_bits, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate_index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    # Index 0 is the free format, whose frame length is not in the header; nobody's sounds are in it.
    if version_bits == 1 or layer == 4 or bitrate_index in (0, 15) or rate_index == 3:
        return None
    version = 1 if version_bits == 3 else 2
    rate = _MPEG_RATES[rate_index] // {3: 1, 2: 2, 0: 4}[version_bits]
    bits = _MPEG_KBITS[version, layer][bitrate_index] * 1000
    if layer == 1:
        size = (12 * bits // rate + padding) * 4
    else:
        size = (72 if layer == 3 and version == 2 else 144) * bits // rate + padding
    mono = head[3] >> 6 == 3
    side_info = {(1, False): 32, (1, True): 17, (2, False): 17, (2, True): 9}[version, mono]
    return _Frame(size, (version_bits, layer, rate_index), side_info)


def _next_frame(data: mmap.mmap, position: int, end: int, limit: int) -> int:
    """Where the next frame starts that another frame, or the end, follows; -1 when there is none before `limit`."""
    while True:
        position = data.find(b"\xff", position, limit)
        if position < 0:
            return -1
        frame = _frame(data, position)
        if frame is not None:
            after = position + frame.size
            follower = _frame(data, after) if after + 4 <= end else None
            if after == end or (follower is not None and follower.stream == frame.stream):
                return position
        position += 1


def _promised_frames(data: mmap.mmap, position: int, frame: _Frame) -> int:
    """The number of frames that an encoder's own first frame states; 0 when it states none."""
    mark = position + 4 + frame.side_info
    if data[mark : mark + 4] in (b"Xing", b"Info") and data[mark + 7] & 1:
        return int.from_bytes(data[mark + 8 : mark + 12], "big")
    if data[position + 36 : position + 40] == b"VBRI":
        return int.from_bytes(data[position + 50 : position + 54], "big")
    return 0
