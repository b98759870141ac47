"""One verdict and one plain reason for every file of a source."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import numpy as np

from distill.audio.downmix import Downmix, mean_of, turned_over
from distill.audio.sound import CONVERT, EXTENSIONS, FOREIGN_EXTENSIONS, SoundError, SoundReader
from distill.audio.spool import Spool
from distill.dataset.envelope import THUMBNAIL_POINTS, Envelope
from distill.dataset.walk import Found, find_files
from distill.workers.choice import place_here
from distill.workers.place import mapped, usable_cores

MIN_SECONDS = 0.01
# What one core needs to judge a short sound.
SECONDS_A_FILE = 7e-4
# So many are judged before processes are started.
FIRST_FILES = 64
SILENCE_PEAK = 1e-4
_CLIP_LEVEL = 0.985
_CLIP_RUN = 8
# Beyond this, sums and squares of samples leave what float32 holds.
_ABSURD = 1e15

Extra = TypeVar("Extra")


class FileVerdict(StrEnum):
    """What became of a file; `OK` and `CLIPPED` are usable."""

    OK = "ok"
    CLIPPED = "clipped"
    DUPLICATE = "duplicate"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    SILENT = "silent"
    TOO_SHORT = "too_short"
    NOT_FINITE = "not_finite"
    NOT_AUDIO = "not_audio"


@dataclass(frozen=True)
class FileReport:
    """What is known of one file.

    Attributes:
        path: name below the source, POSIX, NFC.
        verdict: what became of it.
        reason: a plain sentence.
        usable: whether it is trained on.
        seconds: duration in s; 0 where it could not be decoded, like all that follow.
        sample_rate: in Hz.
        channels: number of channels.
        subtype: libsndfile's name of the encoding, such as PCM_16.
        peak: largest absolute sample.
        loudness_db: root mean square over all channels, in dB relative to full scale.
        clipped_samples: samples in flat tops at full scale.
        side_db: of two channels, how loud what tells them apart is, in dB relative to their mix; None where both are
            the same, or there are not two.
        content: SHA-256 of the decoded samples, their rate and channels; two channels that are the same count as one.
        waveform: thumbnail of a usable file: the peak of each of THUMBNAIL_POINTS equal stretches, 0 to 100 % of the
            file's own peak.
        warnings: sentences about a usable file.
    """

    path: str
    verdict: FileVerdict
    reason: str
    usable: bool = False
    seconds: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    subtype: str = ""
    peak: float = 0.0
    loudness_db: float = 0.0
    clipped_samples: int = 0
    side_db: float | None = None
    content: str = ""
    waveform: tuple[int, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Examined:
    """A file's report and, where it is usable, its mono mix, float32 `[n]` at its own sample rate.

    `channels` are the two channels of a stereo sound, `[n, 2]`, whose mean is the mix, where they were asked for.
    """

    report: FileReport
    mono: Spool | None = None
    channels: Spool | None = None


def scan(
    source: Path,
    *,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[FileReport]:
    """Judge every file below a folder, or one file; in the order of the names' bytes.

    `workers` threads work on it, or processes on many files, as many as there are cores without a number; the result
    is the same. `on_progress` is told how many files are done, and of how many.

    Raises:
        DataError: there is no such folder or file.
    """
    reports = []
    for report, count in scanned(source, workers=workers):
        reports.append(report)
        if on_progress is not None:
            on_progress(len(reports), count)
    return reports


def scanned(source: Path, *, workers: int | None = None) -> Iterator[tuple[FileReport, int]]:
    """The same, one report after the other, and with each how many there will be.

    Raises:
        DataError: there is no such folder or file.
    """
    files = find_files(source)
    for report, _ in resolve_duplicates(_judged(files, workers or usable_cores())):
        yield report, len(files)


def _judged(files: list[Found], workers: int) -> Iterator[tuple[FileReport, None]]:
    # Processes take seconds to start; the first files are reported before that.
    for part in (files[:FIRST_FILES], files[FIRST_FILES:]):
        with place_here(SECONDS_A_FILE * len(part), workers) as place:
            yield from mapped(place, _report_of, None, part, size=lambda each: each.size)


def _report_of(_common: None, found: Found) -> tuple[FileReport, None]:
    return examine(found).report, None


def resolve_duplicates(judged: Iterable[tuple[FileReport, Extra]]) -> Iterator[tuple[FileReport, Extra]]:
    """Pass reports on; of usable ones with the same samples only the first stays usable, the others name it."""
    first: dict[str, str] = {}
    for report, extra in judged:
        if report.usable:
            if (same := first.get(report.content)) is not None:
                said = f"it holds the same samples as {same}, which is used"
                report = unusable(report, FileVerdict.DUPLICATE, said)
            else:
                first[report.content] = report.path
        yield report, extra


def examine(found: Found, folder: Path | None = None, *, stereo: bool = False) -> Examined:
    """Decode and judge one file; memory is needed for a block of it, the mono mix of a long one waits in `folder`.

    `stereo` asks for the channels of a stereo sound, too.
    """
    name = found.name
    if found.problem:
        return Examined(FileReport(name, FileVerdict.UNREADABLE, found.problem))
    suffix = found.path.suffix.lower()
    if suffix in FOREIGN_EXTENSIONS:
        return Examined(FileReport(name, FileVerdict.UNREADABLE, CONVERT))
    if suffix not in EXTENSIONS:
        known = ", ".join(EXTENSIONS)
        return Examined(FileReport(name, FileVerdict.NOT_AUDIO, f"its extension is none of a sound's ({known})"))
    try:
        with SoundReader(found.path) as reader:
            examined, turned = _examine_samples(name, reader, Spool(folder=folder))
        if not stereo or examined.mono is None or examined.report.side_db is None:
            return examined
        channels = Spool(folder=folder)
        for block in _decoded(found.path):
            channels.add(turned_over(block, turned))
        return replace(examined, channels=channels)
    except SoundError as error:
        return Examined(FileReport(name, FileVerdict(error.problem), error.reason))


@dataclass(frozen=True)
class _Measured:
    """What one pass over the samples finds: their number per channel, levels, flat tops, and their digest."""

    samples: int
    peak: float
    rms: float
    clipped: int
    finite: bool
    content: str


def _examine_samples(name: str, reader: SoundReader, mono: Spool) -> tuple[Examined, int | None]:
    """Judge the samples of a file; and which channel is turned over in its mix, None: none is."""
    mix = Downmix(reader.channels)
    measured = _measure(reader, mix, mono)
    report = _report_usable(name, reader, measured)
    if (refused := _refused(report, measured)) is not None:
        return Examined(refused), None
    notes = [reader.note] if reader.note else []
    loudest = mix.loudest_of_cancelling
    if mix.turned is not None or loudest is not None:
        notes.append(f"its channels cancel each other in mono: {_mix_again(reader.path, mix, mono)}")
    low, high = _ends(mono)
    peaks = np.maximum(high, -low)
    if (high.max() - low.min()) / 2 < SILENCE_PEAK:
        offset = ", apart from a constant offset" if peaks.max() >= SILENCE_PEAK else ""
        reason = f"in mono nothing is louder than 80 dB below full scale{offset}"
        return Examined(unusable(report, FileVerdict.SILENT, reason)), None
    if reader.channels > 2 and loudest is None:
        notes.append(f"only the mix of its {reader.channels} channels is learned")
    if measured.clipped:
        report = replace(report, verdict=FileVerdict.CLIPPED)
        notes.append(f"{measured.clipped} samples lie in flat tops at full scale")
    if notes:
        reason = f"usable, but {'; '.join(notes)}"
        report = replace(report, reason=reason, warnings=(reason,))
    report = replace(
        report,
        waveform=tuple(np.rint(100 * peaks / peaks.max()).astype(int).tolist()),
        side_db=None if mix.side_db is None else round(mix.side_db, 2),
    )
    return Examined(report, mono), mix.turned


def _measure(reader: SoundReader, mix: Downmix, mono: Spool) -> _Measured:
    """Read a file once; its mix goes to `mono`, as far as its samples are finite."""
    digest = hashlib.sha256(f"{reader.sample_rate}:{reader.channels}:".encode())
    digest_of_mix = hashlib.sha256(f"{reader.sample_rate}:1:".encode())
    samples, peak, energy, clipped, finite = 0, 0.0, 0.0, 0, True
    eight_bit = reader.subtype in ("PCM_U8", "PCM_S8")
    for block in reader.blocks():
        digest.update(block.data)
        samples += len(block)
        top = max(float(block.max()), -float(block.min()))
        if not top < _ABSURD:
            finite = False
        elif finite:
            peak = max(peak, top)
            flat = block.reshape(-1)
            # einsum adds up in one order, whatever the number of threads, and faster than a sum of squares.
            energy += float(np.einsum("i,i->", flat, flat)) / reader.channels
            if top >= _CLIP_LEVEL and not eight_bit:
                clipped += _flat_tops(block)
            mixed = mix.add(block)
            if reader.channels == 2:
                digest_of_mix.update(mixed.data)
            mono.add(mixed)
    alike = reader.channels == 2 and finite and mix.side_db is None and mix.turned is None
    content = (digest_of_mix if alike else digest).hexdigest()
    return _Measured(samples, peak, math.sqrt(energy / samples), clipped, finite, content)


def _report_usable(name: str, reader: SoundReader, measured: _Measured) -> FileReport:
    return FileReport(
        path=name,
        verdict=FileVerdict.OK,
        reason="usable",
        usable=True,
        seconds=round(measured.samples / reader.sample_rate, 6),
        sample_rate=reader.sample_rate,
        channels=reader.channels,
        subtype=reader.subtype,
        peak=round(measured.peak, 6),
        loudness_db=decibels(measured.rms),
        clipped_samples=measured.clipped,
        content=measured.content,
    )


def _refused(report: FileReport, measured: _Measured) -> FileReport | None:
    """The report of a file that is too short, broken or silent; None: of any other."""
    seconds = measured.samples / report.sample_rate
    if seconds < MIN_SECONDS:
        reason = f"{measured.samples} samples ({1000 * seconds:.3g} ms) are fewer than {1000 * MIN_SECONDS:g} ms"
        return unusable(report, FileVerdict.TOO_SHORT, reason)
    if not measured.finite:
        reason = "some samples are not finite numbers (NaN, infinite, or absurdly large)"
        return unusable(replace(report, peak=0.0, loudness_db=0.0), FileVerdict.NOT_FINITE, reason)
    if measured.peak < SILENCE_PEAK:
        return unusable(report, FileVerdict.SILENT, "nothing in it is louder than 80 dB below full scale")
    return None


def _mix_again(path: Path, mix: Downmix, mono: Spool) -> str:
    """Mix channels that cancel each other so that they do not; how, in words."""
    mono.clear()
    loudest = mix.loudest_of_cancelling
    for block in _decoded(path):
        mono.add(mean_of(turned_over(block, mix.turned)) if loudest is None else block[:, loudest])
    if mix.turned is not None:
        return f"channel {mix.turned + 1}, the softer, is turned over"
    assert loudest is not None
    return f"channel {loudest + 1}, the loudest, is used"


def _decoded(path: Path) -> Iterator[np.ndarray]:
    """A sound decoded again: blocks float32 `[n, channels]`."""
    with SoundReader(path) as reader:
        yield from reader.blocks()


def _ends(mono: Spool) -> np.ndarray:
    """Lowest and highest value of each of THUMBNAIL_POINTS equal stretches, float32 `[2, points]`."""
    envelope = Envelope(len(mono), THUMBNAIL_POINTS)
    for block in mono.blocks():
        envelope.add(block)
    return envelope.ends


def unusable(report: FileReport, verdict: FileVerdict, reason: str) -> FileReport:
    """The same report with a verdict against the file."""
    return replace(report, verdict=verdict, reason=reason, usable=False, warnings=())


def decibels(level: float) -> float:
    """A level relative to full scale in dB, two decimals, not below -200.

    >>> decibels(0.5)
    -6.02
    """
    return round(20 * math.log10(max(level, 1e-10)), 2)


def _flat_tops(block: np.ndarray) -> int:
    """Samples of `[frames, channels]` in runs of equal values at full scale, as a converter that clips leaves them."""
    total = 0
    for channel in block.T:
        flat = (np.abs(channel[1:]) >= _CLIP_LEVEL) & (channel[1:] == channel[:-1])
        edges = np.flatnonzero(np.diff(np.concatenate(([False], flat, [False])).astype(np.int8)))
        runs = edges[1::2] - edges[::2] + 1
        total += int(runs[runs >= _CLIP_RUN].sum())
    return total
