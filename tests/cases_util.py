"""Files as samplers, recorders and DAWs write them, made from one sound."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sounds_util import RATE, noise, save, tone

SOUND = tone()
PCM = (SOUND * 32767).astype("<i2").tobytes()
PLAIN = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
STREAMED = 0xFFFF_FFFF


@dataclass(frozen=True)
class Case:
    """A file: how it is made, its verdict, a part of the note on it, and how near its samples come to those of SOUND.

    None for `near` stands for codings that shift or change samples.
    """

    make: Callable[[Path], object]
    verdict: str = "ok"
    note: str = ""
    near: float | None = 1e-4


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    """A chunk of a RIFF; with another size in its head than that of its content."""
    return name + struct.pack("<I", len(content) if size is None else size) + content + bytes(len(content) % 2)


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    """A WAV file of some chunks."""
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def wav(path: Path, *, size: int | None = None, before: bytes = b"", behind: bytes = b"", sound: bytes = PCM) -> None:
    """SOUND as a WAV file with something wrong or rare about it."""
    body = riff(before, chunk(b"fmt ", PLAIN), chunk(b"data", sound, size), size=None if size is None else size)
    path.write_bytes(body + behind)


def extensible(path: Path) -> None:
    """24 valid bits in containers of 32."""
    samples = (SOUND * (2**23 - 1)).astype("<i4") << 8
    guid = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 4 * RATE, 4, 32, 22, 24, 4) + guid
    path.write_bytes(riff(chunk(b"fmt ", form), chunk(b"data", samples.tobytes())))


def mp3_payload(path: Path) -> None:
    """MPEG frames in a WAV, as many as the padding of the encoder needs."""
    frames = save(path.with_suffix(".mp3"), SOUND).read_bytes()
    path.with_suffix(".mp3").unlink()
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 16_000, 1, 0, 12, 1, 2, 417, 1, 1393)
    fact = struct.pack("<I", len(SOUND) + 1105)
    path.write_bytes(riff(chunk(b"fmt ", form), chunk(b"fact", fact), chunk(b"data", frames)))


def resized(offset: int, width: int, order: str, size: Callable[[int], int], **options: str) -> Callable[[Path], None]:
    """A file as libsndfile writes it, with another size of its samples at an offset."""

    def make(path: Path) -> None:
        data = bytearray(save(path, SOUND, **options).read_bytes())
        old = int.from_bytes(data[offset : offset + width], order)  # type: ignore[arg-type]
        data[offset : offset + width] = size(old).to_bytes(width, order)  # type: ignore[arg-type]
        path.write_bytes(data)

    return make


def tagged(size: bytes, content: bytes, **options: str) -> Callable[[Path], None]:
    """A file with an ID3 tag before it."""

    def make(path: Path) -> None:
        sound = save(path, SOUND, **options).read_bytes()
        path.write_bytes(b"ID3\x04\x00\x00" + size + content + sound)

    return make


def cut(share: float, seconds: float = 3.0, **options: str) -> Callable[[Path], None]:
    """The first share of the bytes of a longer sound."""

    def make(path: Path) -> None:
        rate = 48_000 if options.get("subtype") == "OPUS" else RATE
        data = save(path, noise(seconds, rate=rate), rate, **options).read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return make


def like(rate: int = RATE, **options: str) -> Callable[[Path], object]:
    """SOUND as libsndfile writes it."""
    return lambda path: save(path, tone(rate=rate), rate, **options)


def half_a_frame(path: Path) -> None:
    """Two channels, the second of which ends a sample before the first."""
    save(path, np.stack([SOUND, 0.5 * SOUND], axis=1))
    path.write_bytes(path.read_bytes()[:-2])


def long_wav(path: Path, *, before: bytes = b"", size: int = len(PCM)) -> None:
    """A WAV of the European Broadcasting Union, which has its size in a chunk of 64 bits."""
    sizes = struct.pack("<QQQI", 0, size, len(SOUND), 0)
    body = b"WAVE" + chunk(b"ds64", sizes) + before + chunk(b"fmt ", PLAIN) + chunk(b"data", PCM, STREAMED)
    path.write_bytes(b"BW64" + struct.pack("<I", STREAMED) + body)


def without_count(path: Path) -> None:
    """An MP3 of varying bit rate whose first frame, with the number of frames, was cut off."""
    data = save(path, np.concatenate([SOUND, noise(2.0)])).read_bytes()
    path.write_bytes(data[data.index(data[:2], 4) :])


def joined(*rates: int) -> Callable[[Path], None]:
    """Files one behind the other."""

    def make(path: Path) -> None:
        path.write_bytes(b"".join(save(path, tone(rate=rate), rate).read_bytes() for rate in rates))

    return make


def flac(offset: int, content: bytes, keep: int = 0) -> Callable[[Path], None]:
    """A FLAC with other bytes at an offset of its header; of the first, some bits are kept."""

    def make(path: Path) -> None:
        data = bytearray(save(path, SOUND).read_bytes())
        content_there = bytes((content[0] | data[offset] & keep,)) + content[1:]
        data[offset : offset + len(content)] = content_there
        path.write_bytes(data)

    return make


def foreign(head: bytes) -> Callable[[Path], object]:
    """A file in a container that is not read."""
    return lambda path: path.write_bytes(head + bytes(range(256)) * 20)


_BEXT = chunk(b"JUNK", bytes(29)) + chunk(b"bext", b"a recorder".ljust(602, b"\0"))
_LOOP = chunk(b"smpl", struct.pack("<9I", 0, 0, 22675, 60, 0, 0, 0, 1, 0) + struct.pack("<6I", 0, 0, 100, 9000, 0, 0))
_NAME = chunk(b"LIST", b"INFOISFT\x06\0\0\0Sounds")
ODD = chunk(b"LIST", b"INFOISFT\x05\0\0\0Sound")[:-1]
_MISSING = "the end is missing"

CASES: dict[str, Case] = {
    "plain.wav": Case(wav),
    "extensible 24.wav": Case(lambda path: save(path, SOUND, format="WAVEX", subtype="PCM_24")),
    "24 valid of 32.wav": Case(extensible),
    "mp3 payload.wav": Case(mp3_payload, near=None),
    "rf64.wav": Case(like(format="RF64")),
    "size unknown.wav": Case(lambda path: wav(path, size=STREAMED)),
    "size zero.wav": Case(lambda path: wav(path, size=0), note="says that no sound follows"),
    "half there.wav": Case(lambda path: wav(path, size=2 * len(PCM)), note=_MISSING),
    "bext before fmt.wav": Case(lambda path: wav(path, before=_BEXT)),
    "loop points.wav": Case(lambda path: wav(path, behind=_LOOP)),
    "bytes behind.wav": Case(lambda path: wav(path, behind=b"abc")),
    "no samples, chunks behind.wav": Case(lambda path: wav(path, sound=b"", behind=_LOOP), verdict="empty"),
    "size zero, chunks behind.wav": Case(
        lambda path: wav(path, size=0, behind=_NAME), note="says that no sound follows"
    ),
    "size unknown, chunks behind.wav": Case(lambda path: wav(path, size=STREAMED, behind=_LOOP + _NAME)),
    "odd chunk without its last byte.wav": Case(lambda path: wav(path, before=ODD)),
    "broadcast.wav": Case(long_wav),
    "broadcast, odd chunk.wav": Case(lambda path: long_wav(path, before=ODD)),
    "broadcast, odd chunk, size unknown.wav": Case(lambda path: long_wav(path, before=ODD, size=2**64 - 1)),
    "broadcast, of 3 GB.wav": Case(lambda path: long_wav(path, size=3 << 30), note=_MISSING),
    "one byte.wav": Case(lambda path: path.write_bytes(b"\xff"), "unreadable", "not a sound in a known format"),
    "1 Hz.wav": Case(lambda path: save(path, SOUND, 1), "unreadable", "its header says 1 Hz"),
    "adpcm.wav": Case(like(subtype="MS_ADPCM"), near=None),
    "mulaw.wav": Case(like(subtype="ULAW"), near=0.05),
    "float 64.wav": Case(like(subtype="DOUBLE")),
    "big endian.aif": Case(like(format="AIFF")),
    "little endian.aifc": Case(like(format="AIFF", endian="LITTLE")),
    "UPPER.AIFC": Case(like(format="AIFF")),
    "size zero.aif": Case(resized(42, 4, "big", lambda _: 0, format="AIFF"), note="says that no sound follows"),
    "size unknown.aif": Case(resized(42, 4, "big", lambda _: STREAMED, format="AIFF")),
    "half there.aif": Case(resized(42, 4, "big", lambda old: 2 * old, format="AIFF"), note=_MISSING),
    "opus in.ogg": Case(like(48_000, format="OGG", subtype="OPUS"), near=None),
    "plain.opus": Case(like(48_000, format="OGG", subtype="OPUS"), near=None),
    "vorbis.oga": Case(like(format="OGG"), near=None),
    "core audio.caf": Case(like()),
    "size zero.caf": Case(resized(4084, 8, "big", lambda _: 4), note="says that no sound follows"),
    "size unknown.caf": Case(resized(4084, 8, "big", lambda _: 2**64 - 1)),
    "half there.caf": Case(resized(4084, 8, "big", lambda old: 2 * old), note=_MISSING),
    "sony.w64": Case(like()),
    "half there.w64": Case(resized(96, 8, "little", lambda old: 2 * old), note=_MISSING),
    "plain.rf64": Case(like(format="RF64")),
    "size unknown.rf64": Case(resized(28, 8, "little", lambda _: 2**64 - 1, format="RF64")),
    "half there.rf64": Case(resized(28, 8, "little", lambda old: 2 * old, format="RF64"), note=_MISSING),
    "sun.au": Case(like()),
    "next.snd": Case(like(format="AU")),
    "size zero.au": Case(resized(8, 4, "big", lambda _: 0), note="says that no sound follows"),
    "size unknown.au": Case(resized(8, 4, "big", lambda _: STREAMED)),
    "half there.au": Case(resized(8, 4, "big", lambda old: 2 * old), note=_MISSING),
    "creative.voc": Case(like()),
    "sample dump.sds": Case(like(format="SDS"), "unreadable", "convert it to wav or flac"),
    "sample dump.wav": Case(like(format="SDS"), "unreadable", "convert it to wav or flac"),
    "low rate.mp3": Case(like(22_050, format="MP3"), near=None),
    "tag before.flac": Case(tagged(b"\x00\x00\x02\x00", bytes(256))),
    "size of tag wrong.flac": Case(tagged(b"\x7f\x7f\x7f\x7f", bytes(30))),
    "size of tag wrong.mp3": Case(tagged(b"\x7f\x7f\x7f\x7f", bytes(30)), near=None),
    "length unknown.flac": Case(flac(21, bytes(5), keep=0xF0)),
    "20 bits.flac": Case(flac(20, b"\x01\x30", keep=0xFE), "unreadable", "FLAC of 20 bits is not read"),
    "tag before.ogg": Case(tagged(b"\x00\x00\x02\x00", bytes(256)), near=None),
    "two sounds.ogg": Case(joined(RATE, RATE), note="another sound follows the first", near=None),
    "two sounds.mp3": Case(joined(RATE, RATE), near=None),
    "two rates.mp3": Case(joined(RATE, 48_000), note="another sound follows the first", near=None),
    "without count.mp3": Case(without_count, near=None),
    "half.flac": Case(cut(0.5), note="decoding stops after", near=None),
    "half.ogg": Case(cut(0.5), note="the last part of the stream is missing", near=None),
    "half.opus": Case(cut(0.5, 5.0, format="OGG", subtype="OPUS"), note="the last part of the stream", near=None),
    "half.mp3": Case(cut(0.5), note=_MISSING, near=None),
    "aac.m4a": Case(foreign(b"\0\0\0\x1cftypM4A \0\0\0\0M4A "), "unreadable", "convert it to wav or flac"),
    "video.mp4": Case(foreign(b"\0\0\0\x1cftypisom"), "unreadable", "convert it to wav or flac"),
    "aac by another name.wav": Case(foreign(b"\0\0\0\x1cftypM4A "), "unreadable", "convert it to wav or flac"),
    "stream.aac": Case(foreign(b"\xff\xf1\x50\x80"), "unreadable", "convert it to wav or flac"),
    "windows.wma": Case(foreign(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), "unreadable", "convert it to wav or flac"),
    "no bytes.mp3": Case(lambda path: path.touch(), "empty"),
    "antiphase.wav": Case(
        lambda path: save(path, np.stack([SOUND, -0.99 * SOUND], axis=1)),
        note="channels cancel each other in mono: channel 2",
        near=0.01,
    ),
    "opposite offsets.wav": Case(
        lambda path: save(path, np.stack([0.25 * SOUND + 0.4, 0.25 * SOUND - 0.4], axis=1)), near=0.4
    ),
    "almost antiphase.wav": Case(
        lambda path: save(path, np.stack([-0.95 * SOUND, SOUND], axis=1)), note="in mono: channel 1", near=0.03
    ),
    "one of eight.wav": Case(
        lambda path: save(path, np.pad(SOUND[:, None], ((0, 0), (0, 7)))), note="the mix of its 8 channels", near=None
    ),
    "surround.wav": Case(
        lambda path: save(path, SOUND[:, None] * np.array([0.9, 1.1, 1, 1, 0.8, 1.2])), note="the mix of its 6 channels"
    ),
    "right is silent.wav": Case(lambda path: save(path, SOUND[:, None] * np.array([1.0, 0.0])), near=None),
    "half a frame.wav": Case(half_a_frame, note=_MISSING, near=None),
}

# Names that a terminal, a table or a shell may take for something else.
NAMES = (
    "snare [dry].wav",
    "kick [808] (v2).wav",
    "[bold red]loud[/bold red].wav",
    "closing [/fx].wav",
    ":smile:.wav",
    "=sum.wav",
    "-n.wav",
    "100% #1.wav",
    'it\'s "loud".wav',
    "emoji 🥁.wav",
    "new\nline.wav",
    "carriage\rreturn.wav",
    "clear \x1b[2J\x1b[31mred.wav",
    "right to left \u202egnp.wav",
    "isolate \u2066x\u2069.wav",
    "zero\u200bwidth.wav",
    "c1 \x9b31m.wav",
    "back\\slash.wav",
)
