"""The tables of a prepared dataset: which file is in which split, and all figures that follow from it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from distill.audio.mel import chunk_frames
from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset import layout
from distill.dataset.envelope import THUMBNAIL_POINTS
from distill.dataset.labels import folder_label
from distill.dataset.layout import Segment, Summary
from distill.dataset.overview import stereo_of
from distill.dataset.scan import FileReport, FileVerdict
from distill.dataset.split import TRAIN, VALIDATION, WITHOUT_SPLIT, split_files, split_time
from distill.dataset.walk import Found
from distill.files import digest_json
from distill.words import how_many

FEW_FILES = 5
# A smaller share of the seconds to train on is warned of.
_LEAST_TRAINED = 1 / 3


@dataclass(frozen=True)
class PreparedFile:
    """A scanned file with what later steps need of it."""

    found: Found
    report: FileReport
    label: str = ""
    samples: int = 0
    first_frame: int = 0
    frames: int = 0
    gain_db: float = 0.0
    envelope: np.ndarray | None = None

    @property
    def stereo(self) -> bool:
        """Whether it is used, and its two channels differ."""
        return self.report.usable and self.report.side_db is not None


class Tables:
    """Which file is in which split, and every table that follows from it."""

    def __init__(
        self, files: list[PreparedFile], usable: list[int], data: DataConfig, spectrogram: SpectrogramConfig, seed: int
    ) -> None:
        self.files, self.usable, self.data, self.spectrogram, self.seed = files, usable, data, spectrogram, seed
        self.chunk = chunk_frames(spectrogram, data.chunk_seconds)
        self.split_by = "file"
        self.segments = self._by_file() if len(usable) > 1 else self._single(usable[0])
        self.splits: dict[int, list[Segment]] = {index: [] for index in usable}
        for segment in self.segments:
            self.splits[segment.file].append(segment)

    def _by_file(self) -> list[Segment]:
        splits = split_files(len(self.usable), self.data.validation_fraction, self.seed)
        return [self._whole(index, split) for index, split in zip(self.usable, splits, strict=True)]

    def _single(self, index: int) -> list[Segment]:
        file = self.files[index]
        parts = split_time(file.frames, self.chunk, self.data.validation_fraction)
        if parts is None:
            self.split_by = WITHOUT_SPLIT
            return [self._whole(index, TRAIN), self._whole(index, VALIDATION)]
        self.split_by = "time"
        train = replace(self._whole(index, TRAIN), frames=parts.train_end, at_end=False)
        hop_seconds = self.spectrogram.hop_length / self.spectrogram.sample_rate
        held_out = replace(
            self._whole(index, VALIDATION),
            first_frame=file.first_frame + parts.validation_start,
            frames=file.frames - parts.validation_start,
            start_seconds=round(parts.validation_start * hop_seconds, 6),
            at_start=False,
        )
        return [train, held_out]

    def _whole(self, index: int, split: str) -> Segment:
        file = self.files[index]
        return Segment(index, split, 0.0, file.first_frame, file.frames, 0.0, at_start=True, at_end=True)

    def _chunks(self, segments: list[Segment]) -> int:
        return sum(-(-segment.frames // self.chunk) for segment in segments)

    def _seconds(self, segment: Segment) -> float:
        """Seconds of sound in a segment; all of a file's segments and gaps add up to its duration."""
        hop_seconds = self.spectrogram.hop_length / self.spectrogram.sample_rate
        end = segment.start_seconds + segment.frames * hop_seconds
        return (self.files[segment.file].report.seconds if segment.at_end else end) - segment.start_seconds

    def _padded(self, segment: Segment) -> float:
        """Seconds of silence behind a segment that is shorter than a chunk."""
        return max(0.0, self.data.chunk_seconds - self._seconds(segment)) if segment.frames < self.chunk else 0.0

    def manifest(self) -> list[dict[str, Any]]:
        """One row a scanned file."""
        rows = []
        for index, file in enumerate(self.files):
            segments = self.splits.get(index, [])
            row = {key: value for key, value in vars(file.report).items() if key != "warnings"}
            row.update(
                label=file.label,
                verdict=str(file.report.verdict),
                split="+".join(segment.split for segment in segments),
                gain_db=file.gain_db,
                chunks=self._chunks(segments),
                padded_seconds=round(sum(map(self._padded, segments)), 6),
                guard_seconds=round(self._guard(index), 6),
                looped=False,
            )
            rows.append(row)
        return rows

    def _guard(self, index: int) -> float:
        segments = self.splits.get(index, [])
        if self.split_by != "time" or not segments:
            return 0.0
        return self.files[index].report.seconds - sum(map(self._seconds, segments))

    def summary(self, source: Path, frames: int) -> Summary:
        """The figures of the whole dataset."""
        reports = [file.report for file in self.files]
        used = [self.files[index].report for index in self.usable]
        by_split = {name: [s for s in self.segments if s.split == name] for name in (TRAIN, VALIDATION)}
        seconds = {name: sum(map(self._seconds, segments)) for name, segments in by_split.items()}
        loudness = [report.loudness_db for report in used]
        counts = Counter(str(report.verdict) for report in reports)
        return Summary(
            source=source.resolve().name,
            digest=self._digest(),
            counts={str(verdict): counts[verdict] for verdict in FileVerdict},
            files=len(reports),
            usable=len(used),
            split_by=self.split_by,
            train_files=len({segment.file for segment in by_split[TRAIN]}),
            validation_files=len({segment.file for segment in by_split[VALIDATION]}),
            train_chunks=self._chunks(by_split[TRAIN]),
            validation_chunks=self._chunks(by_split[VALIDATION]),
            seconds_total=round(sum(report.seconds for report in reports), 3),
            seconds_used=round(sum(report.seconds for report in used), 3),
            seconds_train=round(seconds[TRAIN], 3),
            seconds_validation=round(seconds[VALIDATION], 3),
            seconds_guard=round(sum(map(self._guard, self.usable)), 3),
            seconds_padded=round(sum(map(self._padded, self.segments)), 3),
            variants=list(self.data.speed_semitones),
            frames=frames,
            sample_rates=_histogram(report.sample_rate for report in used),
            channels=_histogram(report.channels for report in used),
            loudness_min=min(loudness),
            loudness_median=round(median(loudness), 2),
            loudness_max=max(loudness),
            warnings=self._warnings(seconds),
            chunk_seconds=self.data.chunk_seconds,
            spectrogram=self.spectrogram.model_dump(mode="json"),
            stereo=stereo_of(used),
        )

    def _digest(self) -> str:
        """Names the data that models learn from: samples, split and how they were transformed."""
        content = [
            [self.files[segment.file].report.path, self.files[segment.file].report.content, segment.split]
            for segment in self.segments
        ]
        data = self.data.model_dump(mode="json", exclude={"path"})
        spectrogram = self.spectrogram.model_dump(mode="json")
        named = {"files": content, "data": data, "spectrogram": spectrogram, "seed": self.seed}
        if any(self.files[index].stereo for index in self.usable):
            named["channels"] = 2
        # Those of folders are in the paths.
        table = {path: label for file in self.files if (label := file.label) != folder_label(path := file.report.path)}
        return digest_json({**named, "labels": table} if table else named)

    def _warnings(self, seconds: dict[str, float]) -> list[str]:
        warnings = []
        count = len(self.usable)
        if count < FEW_FILES:
            warnings.append(
                f"only {count} usable {'sound' if count == 1 else 'sounds'}: expect a model that repeats them, "
                f"and held-out figures that say little; {FEW_FILES} or more are needed for variety"
            )
        if self.split_by == WITHOUT_SPLIT:
            warnings.append(
                "the only usable sound is too short to hold a part of it out: "
                "validation runs on the training sound itself and cannot show overfitting"
            )
        if self.split_by == "file" and seconds[TRAIN] < _LEAST_TRAINED * sum(seconds.values()):
            warnings.append(
                f"{seconds[VALIDATION]:.1f} s are held out, and only {seconds[TRAIN]:.1f} s are trained on: "
                "cut up the longest sounds, or choose another seed"
            )
        left_out = Counter(str(file.report.verdict) for file in self.files if not file.report.usable)
        if left_out:
            warnings.append(f"{how_many(left_out.total(), len(self.files), 'file')} not used: {_listed(left_out)}")
        clipped = sum(1 for index in self.usable if self.files[index].report.verdict is FileVerdict.CLIPPED)
        if clipped:
            warnings.append(f"{clipped} {'file is' if clipped == 1 else 'files are'} clipped, and used as they are")
        for report in (self.files[index].report for index in self.usable):
            if report.warnings and report.verdict is FileVerdict.OK:
                warnings.append(f"{report.path}: {report.reason}")
        return warnings


def nothing_usable(source: Path, files: list[PreparedFile]) -> str:
    """Why there is nothing to learn from."""
    counts = Counter(str(file.report.verdict) for file in files)
    return f"{source}: none of {len(files)} files is usable ({_listed(counts)})"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(counts.items()))


def _histogram(values: Iterator[int] | Any) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}


def thumbnails(files: list[PreparedFile]) -> dict[str, Any]:
    """The envelopes of the usable files, as in thumbnails.json."""
    shapes = {
        file.report.path: {"min": file.envelope[0].tolist(), "max": file.envelope[1].tolist()}
        for file in files
        if file.envelope is not None
    }
    return {"schema": layout.SCHEMA, "points": THUMBNAIL_POINTS, "files": shapes}
