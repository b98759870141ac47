"""The files of a prepared dataset: their names, columns and schema number."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from distill.files import replacing

SCHEMA = 1
# Where the sounds of two channels lie between them, and which frames of the spectrograms that is known of; these two
# files are there where a sound has two channels.
SPACE, SPACE_INDEX = "space.npy", "space.json"
MELS, MANIFEST, SEGMENTS, SUMMARY, THUMBNAILS = (
    "mels.npy",
    "manifest.csv",
    "segments.csv",
    "summary.json",
    "thumbnails.json",
)
MANIFEST_COLUMNS = (
    "path",
    "label",
    "content",
    "verdict",
    "reason",
    "usable",
    "split",
    "seconds",
    "sample_rate",
    "channels",
    "subtype",
    "peak",
    "loudness_db",
    "clipped_samples",
    "gain_db",
    "chunks",
    "padded_seconds",
    "guard_seconds",
    "looped",
)


@dataclass(frozen=True)
class Segment:
    """A stretch of frames in the file of spectrograms.

    Attributes:
        file: row of the manifest.
        split: `train` or `validation`.
        semitones: 0 for the sound itself, else its speed and pitch variant.
        first_frame: where it starts in the file of spectrograms.
        frames: its length.
        start_seconds: where it starts in the sound (at the sound's own speed).
        at_start: it starts where the sound starts.
        at_end: it ends where the sound ends.
    """

    file: int
    split: str
    semitones: float
    first_frame: int
    frames: int
    start_seconds: float
    at_start: bool
    at_end: bool


@dataclass(frozen=True)
class Summary:
    """What a prepared dataset holds, as in summary.json; durations in s, loudness in dB relative to full scale.

    `stereo` is there where a sound has two channels: how many of those that are used have, and how loud the sides are.
    """

    source: str
    digest: str
    counts: dict[str, int]
    files: int
    usable: int
    split_by: str
    train_files: int
    validation_files: int
    train_chunks: int
    validation_chunks: int
    seconds_total: float
    seconds_used: float
    seconds_train: float
    seconds_validation: float
    seconds_guard: float
    seconds_padded: float
    variants: list[float]
    frames: int
    sample_rates: dict[str, int]
    channels: dict[str, int]
    loudness_min: float
    loudness_median: float
    loudness_max: float
    warnings: list[str]
    chunk_seconds: float
    spectrogram: dict[str, Any]
    stereo: dict[str, float] | None = None
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """The same as nested dicts and lists."""
        values = asdict(self)
        return {name: value for name, value in values.items() if name != "stereo" or value is not None}


def write_table(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """Replace a CSV file.

    Raises:
        StorageError: it cannot be written.
    """
    text = pd.DataFrame(rows, columns=list(columns)).to_csv(index=False, lineterminator="\n")
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())
