"""The frames of an MPEG audio stream, told from its bytes without decoding."""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass

# How far a first frame, or the next after bytes that are none, is looked for.
SEARCH_BYTES = 65_536
_RATES = (44_100, 48_000, 32_000)
_KBITS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True)
class Stream:
    """The frames of a file.

    Attributes:
        first: the first byte.
        frames: their number.
        cut: the file ends inside one more.
        followed: frames of another kind follow.
        varies: their sizes are not those of one bit rate.
        head: the first header.
        promised: the number that the encoder states; 0 where it states none.
        promised_at: where that number stands.
    """

    first: int
    frames: int
    cut: bool
    followed: bool
    varies: bool
    head: bytes
    promised: int
    promised_at: int

    @property
    def missing(self) -> str:
        """A sentence about what is missing, or an empty string."""
        if self.cut:
            return f"it is cut inside its frame {self.frames + 1}: the end is missing"
        # The frame with the counts is itself not counted by every encoder.
        if self.promised > self.frames + 1:
            return f"the header promises {self.promised} frames, of which {self.frames} are there: the end is missing"
        return "another sound follows the first, which alone is used" if self.followed else ""

    @property
    def lead(self) -> bytes:
        """A frame for a decoder to see first, with the number of frames, where sizes vary and the encoder wrote none.

        A decoder would take the first size for that of all, and stop where this says that the sound ends.
        """
        # Without a checksum, and at a bit rate that leaves room for the number.
        head = bytes((0xFF, self.head[1] | 1, self.head[2] & 0x0C | 0x90, self.head[3]))
        frame = _frame(head, 0)
        if self.promised or not self.varies or frame is None or frame.stream[1] != 3:
            return b""
        stated = bytes(frame.side_info) + b"Xing" + (1).to_bytes(4, "big") + self.frames.to_bytes(4, "big")
        return (head + stated).ljust(frame.size, b"\0")

    @property
    def patches(self) -> Mapping[int, bytes]:
        """The number of frames in place of the encoder's, where there are more, as of a stream that was appended."""
        too_few = 0 < self.promised < self.frames - 1
        return {self.promised_at: (self.frames - 1).to_bytes(4, "big")} if too_few else {}


@dataclass(frozen=True)
class _Frame:
    """Header of an MPEG audio frame: length in bytes, what frames of one stream have in common, and the bit rate."""

    size: int
    stream: tuple[int, int, int]
    side_info: int
    kbits: int


def find_stream(data: mmap.mmap) -> Stream | None:
    """The frames of a file up to where others begin, tags around them left out; None where there are none.

    A tag whose size leads beyond the file is left out by looking for the first frame in it.
    """
    start, end = _without_tags(data)
    position = _next_frame(data, start, end)
    if position < 0 and start >= len(data):
        position = _next_frame(data, 0, end)
    first = _frame(data, position) if position >= 0 else None
    if first is None:
        return None
    begin, head, count, cut, varies = position, data[position : position + 4], 0, False, False
    done = begin
    promised, promised_at = _promised_frames(data, position, first)
    while 0 <= position < end:
        frame = _frame(data, position)
        if frame is None or frame.stream != first.stream:
            position = _next_frame(data, position, end, first.stream)
            continue
        if position + frame.size > end:
            cut = True
            break
        done = position = position + frame.size
        count += 1
        varies |= frame.kbits != first.kbits
    followed = not cut and _next_frame(data, done, end) >= 0
    return Stream(begin, count, cut, followed, varies, head, promised, promised_at)


def tags_end(data: mmap.mmap) -> int:
    """Where the tags at the start end, as their sizes say; beyond the file where these are wrong."""
    start = 0
    while data[start : start + 3] == b"ID3" and start + 10 <= len(data):
        size = 0
        for byte in data[start + 6 : start + 10]:
            size = size << 7 | byte & 0x7F
        start += 10 + size + (10 if data[start + 5] & 0x10 else 0)
    return start


def _without_tags(data: mmap.mmap) -> tuple[int, int]:
    """First and last byte of the sound, tags at the start and the end left out."""
    start, end = tags_end(data), len(data)
    if end - start >= 128 and data[end - 128 : end - 125] == b"TAG":
        end -= 128
    if end - start >= 32 and data[end - 32 : end - 24] == b"APETAGEX":
        has_header = data[end - 32 + 23] & 0x80
        end -= int.from_bytes(data[end - 20 : end - 16], "little") + (32 if has_header else 0)
    return min(start, len(data)), max(end, 0)


def _frame(data: mmap.mmap | bytes, position: int) -> _Frame | None:
    head = data[position : position + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version_bits, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate_index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    # Index 0 is the free format, whose frame length is not in the header; nobody's sounds are in it.
    if version_bits == 1 or layer == 4 or bitrate_index in (0, 15) or rate_index == 3:
        return None
    version = 1 if version_bits == 3 else 2
    rate = _RATES[rate_index] // {3: 1, 2: 2, 0: 4}[version_bits]
    kbits = _KBITS[version, layer][bitrate_index]
    bits = kbits * 1000
    if layer == 1:
        size = (12 * bits // rate + padding) * 4
    else:
        size = (72 if layer == 3 and version == 2 else 144) * bits // rate + padding
    mono = head[3] >> 6 == 3
    side_info = {(1, False): 32, (1, True): 17, (2, False): 17, (2, True): 9}[version, mono]
    return _Frame(size, (version_bits, layer, rate_index), side_info, kbits)


def _next_frame(data: mmap.mmap, position: int, end: int, stream: tuple[int, int, int] | None = None) -> int:
    """Where the next frame starts that another frame, or the end, follows; -1 when there is none near.

    With a stream, such a frame of it.
    """
    limit = min(end, position + SEARCH_BYTES)
    while True:
        position = data.find(b"\xff", position, limit)
        if position < 0:
            return -1
        frame = _frame(data, position)
        if frame is not None and stream in (None, frame.stream):
            after = position + frame.size
            follower = _frame(data, after) if after + 4 <= end else None
            if after == end or (follower is not None and follower.stream == frame.stream):
                return position
        position += 1


def _promised_frames(data: mmap.mmap, position: int, frame: _Frame) -> tuple[int, int]:
    """The number of frames that an encoder's own first frame states, and where it stands; 0 when it states none."""
    mark = position + 4 + frame.side_info
    at = 0
    if data[mark : mark + 4] in (b"Xing", b"Info") and mark + 12 <= len(data) and data[mark + 7] & 1:
        at = mark + 8
    elif data[position + 36 : position + 40] == b"VBRI":
        at = position + 50
    return (int.from_bytes(data[at : at + 4], "big"), at) if at else (0, 0)
