"""The sounds of a prepared dataset as waveforms, for what learns from more than spectrograms."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from distill.audio.spool import Spool
from distill.dataset.memory_mapped import MappedRows, writing_rows
from distill.dataset.scan import examine
from distill.dataset.store import PreparedDataset
from distill.dataset.walk import Found, find_files
from distill.dataset.worker import Resampled
from distill.errors import ArtifactError, DataError
from distill.files import read_json, write_json

SCHEMA = 1

Tell = Callable[[int, int], None]


class Waveforms:
    """Waveforms float32 `[n]` in one memory-mapped file; they may not be written to.

    Attributes:
        lengths: samples of each.

    Args:
        samples: all of them, one behind the other.
        lengths: samples of each.
    """

    def __init__(self, samples: MappedRows, lengths: list[int]) -> None:
        self.lengths = lengths
        self._samples = samples
        self._ends = np.cumsum(lengths).tolist()

    def __len__(self) -> int:
        return len(self.lengths)

    def part(self, index: int, first: int = 0, last: int | None = None) -> np.ndarray:
        """Samples `[n]` of a waveform from `first` up to, and without, `last`."""
        length = self.lengths[index]
        begin = self._ends[index] - length
        return self._samples.part(begin + first, begin + (length if last is None else min(last, length)))


def waveforms(
    dataset: PreparedDataset,
    source: Path,
    split: str,
    folder: Path,
    *,
    variants: bool = False,
    most_seconds: float = 4 * 3600.0,
    tell: Tell = lambda _done, _total: None,
) -> Waveforms:
    """The dataset's waveforms at its sample rate, each with a peak of 1, in the order of the segments.

    The sounds themselves come first, then their speed variants; where they are longer than `most_seconds` in all, those
    that no longer fit are left out, the first sound never. Those that lie in `folder` already are not made again.

    Args:
        dataset: which stretch of which file is in which split.
        source: the folder of sounds (or the one file) that it was prepared from.
        split: `train` or `validation`.
        folder: where they are kept, and no others.
        variants: also the variants at other speeds.
        most_seconds: bound on the disk that they take, in s of sound.
        tell: told how many of how many have been made; it may raise to interrupt.

    Raises:
        DataError: a sound has gone or cannot be read any more.
        StorageError: they cannot be written.
        ArtifactError: those that lie in `folder` are damaged.
    """
    samples, index = folder / f"{split}.npy", folder / f"{split}.json"
    if not index.exists():
        most = round(most_seconds * dataset.spectrogram.sample_rate)
        with writing_rows(samples, "<f4") as writer:
            lengths: list[int] = []
            for spool in _made(dataset, source, split, folder, variants, tell):
                if not lengths or writer.count + len(spool) <= most:
                    writer.append(spool)
                    lengths.append(len(spool))
        write_json(index, {"schema": SCHEMA, "lengths": lengths})
    lengths = read_json(index, what="index of waveforms", schema=SCHEMA)["lengths"]
    try:
        return Waveforms(MappedRows(samples), lengths)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{samples} is damaged: remove {folder}, it is made again") from error


def _made(
    dataset: PreparedDataset, source: Path, split: str, folder: Path, variants: bool, tell: Tell
) -> Iterator[Spool]:
    found = {each.name: each for each in find_files(source)}
    rows = dataset.segments_of(split)
    if variants:
        rows += sorted(set(dataset.segments_of(split, variants=True)) - set(rows))
    for done, row in enumerate(rows):
        tell(done, len(rows))
        name = dataset.segment_name(row)
        if name not in found:
            raise DataError(f"{source / name} has gone since it was prepared: run the stage prepare again")
        yield _segment(dataset, row, found[name], folder)
    tell(len(rows), len(rows))


def _segment(dataset: PreparedDataset, row: int, found: Found, folder: Path) -> Spool:
    facts = dataset.segments.iloc[row]
    examined = examine(found, folder=folder)
    if examined.mono is None:
        raise DataError(f"{found.path} cannot be read any more: run the stage prepare again")
    rate, config = examined.report.sample_rate, dataset.spectrogram
    # A variant has other frames than the stretch that it was made from; only the sound itself is ever cut short.
    speed = 2.0 ** (float(facts["semitones"]) / 12.0)
    start = float(facts["start_seconds"])
    seconds = int(facts["frames"]) * speed * config.hop_length / config.sample_rate
    end = None if facts["at_end"] else round((start + seconds) * rate)
    spool = Spool(folder=folder)
    for part in Resampled(examined.mono, rate * speed, config.sample_rate, round(start * rate), end).parts():
        spool.add(part)
    return spool
