"""A prepared dataset read back: tables in memory, spectrograms in one memory-mapped file."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distill.audio.mel import chunk_frames
from distill.audio.space import MONO, bands_of
from distill.configs import SpectrogramConfig
from distill.dataset import layout
from distill.dataset.layout import Segment
from distill.dataset.memory_mapped import MappedRows
from distill.dataset.split import TRAIN, VALIDATION, WITHOUT_SPLIT
from distill.errors import ArtifactError, DataError
from distill.files import read_json, storage_errors


@dataclass(frozen=True)
class ChunkTable:
    """The chunks of a split: row of `segments`, first frame within the segment, and frames that are not padding."""

    segment: np.ndarray
    start: np.ndarray
    frames: np.ndarray

    def __len__(self) -> int:
        return len(self.segment)


@dataclass(frozen=True)
class _Space:
    """The spaces of stereo sounds: rows, and for each sound its first frame, its first row, and how many it has.

    `apart` are the mean level differences of their channels, in dB.
    """

    rows: MappedRows
    frames: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    apart: np.ndarray

    def sound_of(self, frame: int) -> int | None:
        """The sound with a frame of the spectrograms; None where nothing is known of it."""
        sound = int(np.searchsorted(self.frames, frame, side="right")) - 1
        return sound if sound >= 0 and frame - self.frames[sound] < self.counts[sound] else None


class PreparedDataset:
    """The folder that `prepare` wrote.

    Attributes:
        folder: where it is.
        summary: summary.json as a dict.
        manifest: one row a scanned file.
        segments: one row a segment (see `layout.Segment`).
        spectrogram: the spectrogram's settings.
        chunk_frames: length of a chunk in frames.

    Raises:
        DataError: a file is missing, damaged, of a newer schema, or does not fit the others.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.summary = self._read_summary()
        self.manifest = self._read_table(layout.MANIFEST, layout.MANIFEST_COLUMNS)
        self.segments = self._read_table(layout.SEGMENTS, tuple(Segment.__dataclass_fields__))
        try:
            self.spectrogram = SpectrogramConfig.model_validate(self.summary["spectrogram"])
            self.chunk_frames = chunk_frames(self.spectrogram, float(self.summary["chunk_seconds"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(layout.SUMMARY, "its settings are not readable") from error
        if len(self.manifest) != self.summary.get("files"):
            raise self._damaged(layout.MANIFEST, "its rows are not as many as summary.json says")
        self._mels = self._map()
        for name in ("first_frame", "frames", "file"):
            if not np.issubdtype(self._column(name).dtype, np.integer):
                raise self._damaged(layout.SEGMENTS, f"column {name} holds more than whole numbers")
        ends = self._column("first_frame") + self._column("frames")
        if len(ends) == 0 or ends.max() > len(self._mels):
            raise self._damaged(layout.MELS, "it is shorter than segments.csv says")

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]

    def chunks(self, split: str) -> ChunkTable:
        """Chunks of the sounds themselves (no variants) in `train` or `validation`, in the order of the segments.

        A segment gives as many as cover it; the last of a long one is moved back to end with it, a short one is padded.
        """
        return self._tables[split]

    def clean_batch(self, split: str, indices: Any) -> np.ndarray:
        """Chunks as they are, log mel float32 `[batch, n_mels, chunk_frames]`, silence behind short ones."""
        table = self._tables[split]
        rows = [(int(table.segment[index]), int(table.start[index])) for index in indices]
        return self.gather([segment for segment, _ in rows], [start for _, start in rows])

    def gather(self, segments: list[int], starts: list[int]) -> np.ndarray:
        """One chunk from each of the segments, log mel float32 `[batch, n_mels, chunk_frames]`.

        A start may lie before the segment and a chunk may reach beyond its end; silence stands there.
        """
        first, frames = self._column("first_frame"), self._column("frames")
        out = np.zeros((len(segments), self.chunk_frames, self.spectrogram.n_mels), np.float16)
        for row, (segment, start) in enumerate(zip(segments, starts, strict=True)):
            begin, end = max(0, start), min(int(frames[segment]), start + self.chunk_frames)
            if end > begin:
                source = int(first[segment])
                out[row, begin - start : end - start] = self._mels.part(source + begin, source + end)
        return np.ascontiguousarray(out.transpose(0, 2, 1), dtype=np.float32)

    def segment(self, index: int, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Log mel of a row of `segments`, or of its frames from `begin` to `end`: float32 `[n_mels, frames]`."""
        return np.ascontiguousarray(self.frames(index, begin, end).T, dtype=np.float32)

    def frames(self, index: int, begin: int = 0, end: int | None = None) -> np.ndarray:
        """The same as it is stored: a view, float16 `[frames, n_mels]`."""
        first, frames = int(self._column("first_frame")[index]), int(self._column("frames")[index])
        return self._mels.part(first + begin, first + (frames if end is None else min(end, frames)))

    @property
    def stereo(self) -> bool:
        """Whether the two channels of any sound differ."""
        return self._space is not None

    def space(self, index: int, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Where the same frames lie between two channels, float32 `[frames, bands, 2]`, see `distill.audio.space`."""
        frames = int(self._column("frames")[index])
        end = frames if end is None else min(end, frames)
        first = int(self._column("first_frame")[index]) + begin
        space, sound = self._space, self._sound_of(first)
        if space is None or sound is None:
            return np.full((end - begin, bands_of(self.spectrogram), 2), MONO, np.float32)
        row = int(space.starts[sound]) + first - int(space.frames[sound])
        return space.rows.part(row, row + end - begin).astype(np.float32)

    def apart_db(self, index: int) -> float:
        """By how much the two channels of a row of `segments` differ in level, in dB: the mean by power over bands."""
        sound = self._sound_of(int(self._column("first_frame")[index]))
        return 0.0 if self._space is None or sound is None else float(self._space.apart[sound])

    def _sound_of(self, frame: int) -> int | None:
        return None if self._space is None else self._space.sound_of(frame)

    @property
    def name(self) -> str:
        """Name of the folder that the sounds came from."""
        return str(self.summary["source"])

    @property
    def digest(self) -> str:
        """Digest of the sounds' content, the split and how they were transformed."""
        return str(self.summary["digest"])

    @property
    def usable_files(self) -> int:
        """Number of sounds that are used."""
        return int(self.summary["usable"])

    def segments_of(self, split: str, *, variants: bool = False) -> list[int]:
        """Rows of `segments` in `train` or `validation`: the sounds themselves, or also their speed variants."""
        chosen = self._column("split") == split
        if not variants:
            chosen = chosen & (self._column("semitones") == 0)
        return [int(row) for row in np.flatnonzero(chosen)]

    @property
    def held_out(self) -> list[int]:
        """Rows of `segments` that nothing was learned from; none where all was trained on."""
        return [] if self.summary["split_by"] == WITHOUT_SPLIT else self.segments_of(VALIDATION)

    @property
    def labels(self) -> list[str]:
        """The label of each row of `segments`; "" where it has none."""
        labels = self.manifest["label"].to_numpy()
        return [str(labels[file]) for file in self._column("file")]

    def segment_name(self, index: int) -> str:
        """Path of the sound that a row of `segments` comes from, below the folder of sounds."""
        return str(self.manifest["path"].iloc[int(self._column("file")[index])])

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        return {name: self.segments[name].to_numpy() for name in self.segments.columns}

    def _column(self, name: str) -> np.ndarray:
        return self._columns[name]

    @cached_property
    def _tables(self) -> dict[str, ChunkTable]:
        return {split: self._table(split) for split in (TRAIN, VALIDATION)}

    def _table(self, split: str) -> ChunkTable:
        chosen = np.flatnonzero((self._column("split") == split) & (self._column("semitones") == 0))
        frames = self._column("frames")[chosen].astype(np.int64)
        counts = -(-frames // self.chunk_frames)
        order = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        length = np.repeat(frames, counts)
        start = np.minimum(order * self.chunk_frames, np.maximum(length - self.chunk_frames, 0))
        return ChunkTable(np.repeat(chosen, counts), start, np.minimum(length, self.chunk_frames))

    def _map(self) -> MappedRows:
        path = self.folder / layout.MELS
        self._require(path)
        try:
            with storage_errors(path, "read"):
                mels = MappedRows(path)
            if mels.dtype != np.dtype("<f2") or len(mels.shape) != 2 or mels.shape[1] != self.spectrogram.n_mels:
                raise ValueError("unexpected shape")
        except ValueError as error:
            raise self._damaged(layout.MELS, "it is cut or not a spectrogram file") from error
        return mels

    @cached_property
    def _space(self) -> "_Space | None":
        path = self.folder / layout.SPACE
        if not path.is_file():
            return None
        try:
            index = read_json(self.folder / layout.SPACE_INDEX, what="index of spaces", schema=layout.SCHEMA)
            blocks = np.array([block[:2] for block in index["blocks"]], np.int64).reshape(-1, 2)
            apart = np.array([block[2] for block in index["blocks"]], np.float64)
            rows = MappedRows(path)
        except (ArtifactError, OSError, KeyError, TypeError, ValueError, IndexError) as error:
            raise self._damaged(layout.SPACE, "it, or its index, is not readable") from error
        if rows.shape != (int(blocks[:, 1].sum()), bands_of(self.spectrogram), 2) or rows.dtype != np.dtype("<f2"):
            raise self._damaged(layout.SPACE, "it does not fit its index")
        return _Space(rows, blocks[:, 0], np.cumsum(blocks[:, 1]) - blocks[:, 1], blocks[:, 1], apart)

    def _read_summary(self) -> dict[str, Any]:
        path = self.folder / layout.SUMMARY
        self._require(path)
        try:
            return read_json(path, what="summary of a prepared dataset", schema=layout.SCHEMA)
        except ArtifactError as error:
            raise DataError(str(error)) from error

    def _read_table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
        path = self.folder / name
        self._require(path)
        text = ("path", "label", "content", "verdict", "reason", "split", "subtype")
        try:
            # A name may hold any other sign of a line's end.
            table = pd.read_csv(
                path, keep_default_na=False, lineterminator="\n", dtype={key: str for key in text if key in columns}
            )
        except (OSError, ValueError) as error:
            raise self._damaged(name, "it is not a readable table") from error
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise self._damaged(name, f"column {missing[0]} is missing")
        return table

    def _require(self, path: Path) -> None:
        if not path.is_file():
            raise DataError(f"{self.folder}: no {path.name} there, so it is not a prepared dataset; run prepare first")

    def _damaged(self, name: str, why: str) -> DataError:
        return DataError(f"{self.folder / name} is damaged: {why}; run prepare again")
