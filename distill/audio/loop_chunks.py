"""What a WAV file says of a loop, in the two chunks that samplers and sequencers look for."""

import struct
from dataclasses import dataclass
from pathlib import Path

# The key that plays a loop at its own speed: middle C.
ROOT_NOTE = 60
_RIFF_SIZE = 4


@dataclass(frozen=True)
class Loop:
    """A whole file that goes round.

    Attributes:
        bpm: its tempo in beats a minute; None: it has none.
        beats: how many beats it has.
    """

    bpm: float | None = None
    beats: int = 0


def add_loop(path: Path, loop: Loop, *, sample_rate: int, frames: int) -> None:
    """Add a chunk `smpl`, and with a tempo a chunk `acid`, to a WAV file of so many frames.

    After the notes on both that Microsoft's "Multimedia programming interface" (1991) and the makers of readers give.
    """
    period = round(1e9 / sample_rate)
    # One loop without end over all frames.
    head = struct.pack("<9I", 0, 0, period, ROOT_NOTE, 0, 0, 0, 1, 0)
    chunks = [(b"smpl", head + struct.pack("<6I", 0, 0, 0, frames - 1, 0, 0))]
    if loop.bpm is not None:
        chunks.append((b"acid", struct.pack("<IHHfIHHf", 0, ROOT_NOTE, 0x8000, 0.0, loop.beats, 4, 4, loop.bpm)))
    with path.open("r+b") as file:
        file.seek(0, 2)
        if file.tell() % 2:
            file.write(b"\0")
        for name, content in chunks:
            file.write(struct.pack("<4sI", name, len(content)) + content)
        size = file.tell() - 8
        file.seek(_RIFF_SIZE)
        file.write(struct.pack("<I", size))
