"""From a folder of sounds to spectrograms on disk, ready to train on."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from distill.audio.mel import MelTransform, chunk_frames
from distill.audio.space import bands_of
from distill.audio.spool import Spool
from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset import layout
from distill.dataset.labels import folder_label, labels_of
from distill.dataset.layout import Segment, Summary
from distill.dataset.mapped import RowsWriter, writing_rows
from distill.dataset.overview import stereo_of
from distill.dataset.scan import (
    FileReport,
    Verdict,
    resolve_duplicates,
)
from distill.dataset.split import TRAIN, VALIDATION, split_files, split_time
from distill.dataset.walk import Found, find_files, ordered_map, single_threaded_torch, usable_cores
from distill.dataset.worker import Part, Space, Worker
from distill.errors import DataError
from distill.files import canonical_json, digest_json, write_bytes, write_json

FEW_FILES = 5
_WITHOUT_SPLIT = "none"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _File:
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


def prepare(
    source: Path,
    out: Path,
    data: DataConfig,
    spectrogram: SpectrogramConfig,
    seed: int,
    *,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> Summary:
    """Scan, split and transform the sounds of a folder (or one file) into the folder `out`.

    Writes mels.npy, manifest.csv, segments.csv, summary.json and thumbnails.json, and of stereo sounds space.npy and
    space.json, each whole; their bytes do not depend on the number of workers. Memory is needed for a few files at a
    time, however many there are.

    Args:
        source: folder of sounds, or one file.
        out: folder of the result.
        data: which variants, chunks and held-out share.
        spectrogram: the spectrogram to make.
        seed: seed of the split.
        workers: threads; as many as there are cores without a number.
        on_progress: told what is being done (`sounds` or `variants`), how many are done, and of how many.

    Raises:
        DataError: there is no such folder, or no usable sound in it.
        StorageError: the result cannot be written.
    """
    found = find_files(source)
    if not found:
        raise DataError(f"{source}: the folder is empty; put your sounds into it")
    labels = labels_of(source, [each.name for each in found])
    worker = Worker(MelTransform(spectrogram), spectrogram, out)
    workers = workers or usable_cores()
    tell = on_progress or (lambda _what, _done, _count: None)
    with single_threaded_torch(), _Writer(out, spectrogram) as writer:
        files = _write_sounds(found, labels, worker, writer, workers, tell)
        usable = [index for index, file in enumerate(files) if file.report.usable]
        if not usable:
            raise DataError(_nothing_usable(source, files))
        plan = _Plan(files, usable, data, spectrogram, seed)
        variants = _write_variants(files, plan.segments, data.speed_semitones, worker, writer, workers, tell)
    summary = plan.summary(source, writer.count)
    layout.write_table(out / layout.MANIFEST, plan.manifest(), layout.MANIFEST_COLUMNS)
    columns = tuple(Segment.__dataclass_fields__)
    layout.write_table(out / layout.SEGMENTS, [vars(item) for item in plan.segments + variants], columns)
    write_bytes(out / layout.THUMBNAILS, canonical_json(_thumbnails(files)) + b"\n")
    write_json(out / layout.SUMMARY, summary.as_dict())
    return summary


def _write_sounds(
    found: list[Found], labels: list[str], worker: Worker, writer: "_Writer", workers: int, tell: Progress
) -> list[_File]:
    files: list[_File] = []
    for report, prepared in resolve_duplicates(ordered_map(worker.sound, found, workers)):
        file = _File(found[len(files)], report, labels[len(files)])
        if report.usable and prepared is not None:
            frames = len(prepared.mel)
            first = writer.append(prepared.mel, prepared.space)
            file = replace(
                file,
                samples=prepared.samples,
                first_frame=first,
                frames=frames,
                gain_db=prepared.gain_db,
                envelope=prepared.envelope,
            )
        files.append(file)
        tell("sounds", len(files), len(found))
    return files


def _write_variants(
    files: list[_File],
    segments: list[Segment],
    semitones: tuple[float, ...],
    worker: Worker,
    writer: "_Writer",
    workers: int,
    tell: Progress,
) -> list[Segment]:
    """Speed variants of the training segments, and only of those."""
    training = [segment for segment in segments if segment.split == TRAIN] if semitones else []

    def job(segment: Segment) -> list[tuple[Spool, Space | None]]:
        file = files[segment.file]
        hop_seconds = worker.config.hop_length / worker.config.sample_rate
        end = math.inf if segment.at_end else segment.start_seconds + segment.frames * hop_seconds
        part = Part(segment.start_seconds, min(end, file.report.seconds))
        return worker.variants(file.found, part, semitones)

    made: list[Segment] = []
    for done, (segment, mels) in enumerate(zip(training, ordered_map(job, training, workers), strict=True), start=1):
        for value, (mel, space) in zip(semitones, mels, strict=True):
            frames = len(mel)
            first = writer.append(mel, space)
            made.append(replace(segment, semitones=value, first_frame=first, frames=frames))
        tell("variants", done, len(training))
    return made


class _Writer:
    """The files of frames: spectrograms, and the spaces of stereo sounds where there are any; a context manager.

    Attributes:
        count: frames of the spectrograms.
    """

    def __init__(self, out: Path, spectrogram: SpectrogramConfig) -> None:
        self._out, self._spectrogram = out, spectrogram
        self._open = ExitStack()
        self._space: RowsWriter | None = None
        self._blocks: list[list[float]] = []

    def __enter__(self) -> "_Writer":
        mels = writing_rows(self._out / layout.MELS, "<f2", (self._spectrogram.n_mels,))
        self._mels = self._open.enter_context(mels)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)
        if error[0] is None:
            self._finish()

    @property
    def count(self) -> int:
        return self._mels.count

    def append(self, mel: Spool, space: Space | None) -> int:
        """Write the frames of a sound; returns the number of frames before them."""
        frames, first = len(mel), self._mels.append(mel)
        if space is not None:
            if self._space is None:
                row = (bands_of(self._spectrogram), 2)
                self._space = self._open.enter_context(writing_rows(self._out / layout.SPACE, "<f2", row))
            self._space.append(space.spool)
            self._blocks.append([first, frames, space.apart_db])
        return first

    def _finish(self) -> None:
        index = self._out / layout.SPACE_INDEX
        if self._blocks:
            write_json(index, {"schema": layout.SCHEMA, "blocks": self._blocks})
            return
        # Those of sounds that were here before.
        for path in (index, self._out / layout.SPACE):
            path.unlink(missing_ok=True)


class _Plan:
    """Which file is in which split, and every table that follows from it."""

    def __init__(
        self, files: list[_File], usable: list[int], data: DataConfig, spectrogram: SpectrogramConfig, seed: int
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
            self.split_by = _WITHOUT_SPLIT
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
            counts={str(verdict): counts[verdict] for verdict in Verdict},
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
            warnings=self._warnings(),
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

    def _warnings(self) -> list[str]:
        warnings = []
        count = len(self.usable)
        if count < FEW_FILES:
            warnings.append(
                f"only {count} usable {'sound' if count == 1 else 'sounds'}: expect a model that repeats them, "
                f"and held-out figures that say little; {FEW_FILES} or more are needed for variety"
            )
        if self.split_by == _WITHOUT_SPLIT:
            warnings.append(
                "the only usable sound is too short to hold a part of it out: "
                "validation runs on the training sound itself and cannot show overfitting"
            )
        left_out = Counter(str(file.report.verdict) for file in self.files if not file.report.usable)
        if left_out:
            warnings.append(f"{left_out.total()} of {len(self.files)} files are not used: {_listed(left_out)}")
        clipped = sum(1 for index in self.usable if self.files[index].report.verdict is Verdict.CLIPPED)
        if clipped:
            warnings.append(f"{clipped} {'file is' if clipped == 1 else 'files are'} clipped, and used as they are")
        for report in (self.files[index].report for index in self.usable):
            if report.warnings and report.verdict is Verdict.OK:
                warnings.append(f"{report.path}: {report.reason}")
        return warnings


def _nothing_usable(source: Path, files: list[_File]) -> str:
    counts = Counter(str(file.report.verdict) for file in files)
    return f"{source}: none of {len(files)} files is usable ({_listed(counts)})"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(counts.items()))


def _histogram(values: Iterator[int] | Any) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}


def _thumbnails(files: list[_File]) -> dict[str, Any]:
    shapes = {
        file.report.path: {"min": file.envelope[0].tolist(), "max": file.envelope[1].tolist()}
        for file in files
        if file.envelope is not None
    }
    return {"schema": layout.SCHEMA, "points": layout.THUMBNAIL_POINTS, "files": shapes}
