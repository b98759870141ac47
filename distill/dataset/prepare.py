"""From a folder of sounds to spectrograms on disk, ready to train on."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.audio.space import bands_of
from distill.audio.spool import Spool
from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset import layout
from distill.dataset.labels import labels_of
from distill.dataset.layout import Segment, Summary
from distill.dataset.memory_mapped import RowsWriter, writing_rows
from distill.dataset.scan import (
    FileReport,
    FileVerdict,
    resolve_duplicates,
)
from distill.dataset.split import TRAIN
from distill.dataset.tables import PreparedFile, Tables, nothing_usable, thumbnails
from distill.dataset.walk import Found, find_files
from distill.dataset.worker import Part, Prepared, Space, VariantSource, Worker, sound_of, variants_of
from distill.errors import DataError
from distill.files import canonical_json, write_bytes, write_json
from distill.workers.choice import place_for
from distill.workers.place import Place, mapped, single_threaded_torch, usable_cores

# What one core needs for a short sound, and for each variant of it.
SECONDS_A_FILE = 1.4e-3

Progress = Callable[[str, int, int], None]


def prepare(
    source: Path,
    out: Path,
    data: DataConfig,
    spectrogram: SpectrogramConfig,
    seed: int,
    *,
    workers: int | None = None,
    dask: str | None = None,
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
        workers: threads, or processes for many files; as many as there are cores without a number.
        dask: address of a Dask scheduler whose workers do the work.
        on_progress: told what is being done (`sounds` or `variants`), how many are done, and of how many.

    Raises:
        DataError: there is no such folder, or no usable sound in it; or workers cannot read the sounds, or die.
        UsageError: the Dask cluster cannot be used.
        StorageError: the result cannot be written.
    """
    found = find_files(source)
    if not found:
        raise DataError(f"{source}: the folder is empty; put your sounds into it")
    labels = labels_of(source, [each.name for each in found])
    tell = on_progress or (lambda _what, _done, _count: None)
    seconds = SECONDS_A_FILE * len(found) * (1 + len(data.speed_semitones))
    with (
        single_threaded_torch(),
        place_for(seconds, workers or usable_cores(), dask) as place,
        _Writer(out, spectrogram) as writer,
    ):
        # What a worker elsewhere does not have is no folder for what waits there.
        worker = Worker(spectrogram, data.speed_semitones, None if place.elsewhere else out)
        found = _absolute(found, source) if place.elsewhere else found
        files = _write_sounds(found, labels, worker, writer, place, tell)
        usable = [index for index, file in enumerate(files) if file.report.usable]
        if not usable:
            raise DataError(nothing_usable(source, files))
        plan = Tables(files, usable, data, spectrogram, seed)
        variants = _write_variants(files, plan.segments, worker, writer, place, tell)
    summary = plan.summary(source, writer.count)
    layout.write_table(out / layout.MANIFEST, plan.manifest(), layout.MANIFEST_COLUMNS)
    columns = tuple(Segment.__dataclass_fields__)
    layout.write_table(out / layout.SEGMENTS, [vars(item) for item in plan.segments + variants], columns)
    write_bytes(out / layout.THUMBNAILS, canonical_json(thumbnails(files)) + b"\n")
    write_json(out / layout.SUMMARY, summary.as_dict())
    return summary


def _write_sounds(
    found: list[Found], labels: list[str], worker: Worker, writer: "_Writer", place: Place, tell: Progress
) -> list[PreparedFile]:
    files: list[PreparedFile] = []
    with closing(mapped(place, sound_of, worker, found, size=lambda each: each.size)) as results:
        judged = _readable(results, found, worker) if place.elsewhere else results
        for report, prepared in resolve_duplicates(judged):
            file = PreparedFile(found[len(files)], report, labels[len(files)])
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
    files: list[PreparedFile],
    segments: list[Segment],
    worker: Worker,
    writer: "_Writer",
    place: Place,
    tell: Progress,
) -> list[Segment]:
    """Speed variants of the training segments, and only of those."""
    training = [segment for segment in segments if segment.split == TRAIN] if worker.semitones else []

    def source_of(segment: Segment) -> VariantSource:
        file = files[segment.file]
        hop_seconds = worker.config.hop_length / worker.config.sample_rate
        end = math.inf if segment.at_end else segment.start_seconds + segment.frames * hop_seconds
        return VariantSource(file.found, Part(segment.start_seconds, min(end, file.report.seconds)))

    made: list[Segment] = []
    sources = map(source_of, training)
    with closing(mapped(place, variants_of, worker, sources, size=lambda each: each.found.size)) as results:
        for done, (segment, mels) in enumerate(zip(training, results, strict=True), start=1):
            for value, (mel, space) in zip(worker.semitones, mels, strict=True):
                frames = len(mel)
                first = writer.append(mel, space)
                made.append(replace(segment, semitones=value, first_frame=first, frames=frames))
            tell("variants", done, len(training))
    return made


def _absolute(found: list[Found], source: Path) -> list[Found]:
    """The same files by their own paths, for who works in another folder."""
    place = source.resolve()
    return [replace(each, path=place / each.path.relative_to(source)) for each in found]


def _readable(
    judged: Iterator[tuple[FileReport, Prepared | None]], found: list[Found], worker: Worker
) -> Iterator[tuple[FileReport, Prepared | None]]:
    """The same, once this process too has found unreadable what a worker could not read."""
    for each, (report, prepared) in zip(found, judged, strict=True):
        if report.verdict is FileVerdict.UNREADABLE and worker.sound(each)[0].verdict is not FileVerdict.UNREADABLE:
            raise DataError(
                f"a Dask worker cannot read {each.path}, which this process can ({report.reason}): all workers need "
                "the folder of sounds under this path"
            )
        yield report, prepared


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
