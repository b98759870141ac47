"""The sounds of a prepared dataset as waveforms, for what learns from more than spectrograms."""

from pathlib import Path

import numpy as np

from distill.audio.sound import SoundError, downmix, read_sound, resample
from distill.dataset.scan import SILENCE_PEAK
from distill.dataset.store import PreparedDataset
from distill.dataset.walk import find_files
from distill.errors import DataError


def waveforms(
    dataset: PreparedDataset, source: Path, split: str, *, variants: bool = False, most_seconds: float = 900.0
) -> list[np.ndarray]:
    """Waveforms float32 `[n]` at the dataset's sample rate, each with a peak of 1, in the order of the segments.

    The sounds themselves come first, then their speed variants; where they are longer than `most_seconds` in all, those
    that no longer fit are left out, the first sound never.

    Args:
        dataset: which stretch of which file is in which split.
        source: the folder of sounds (or the one file) that it was prepared from.
        split: `train` or `validation`.
        variants: also the variants at other speeds.
        most_seconds: bound on the memory, in s of sound.

    Raises:
        DataError: a sound has gone or cannot be read any more.
    """
    paths = {found.name: found.path for found in find_files(source)}
    rows = dataset.segments_of(split)
    if variants:
        rows += sorted(set(dataset.segments_of(split, variants=True)) - set(rows))
    left = most_seconds * dataset.spectrogram.sample_rate
    found: list[np.ndarray] = []
    for row in rows:
        name = dataset.segment_name(row)
        if name not in paths:
            raise DataError(f"{source / name} has gone since it was prepared: run the stage prepare again")
        samples = _segment(dataset, row, paths[name])
        if not found or len(samples) <= left:
            found.append(samples)
            left -= len(samples)
    return found


def _segment(dataset: PreparedDataset, row: int, path: Path) -> np.ndarray:
    facts = dataset.segments.iloc[row]
    try:
        sound = read_sound(path)
    except SoundError as error:
        raise DataError(f"{path} cannot be read any more: run the stage prepare again") from error
    rate, config = sound.sample_rate, dataset.spectrogram
    mono = downmix(sound.samples)
    # A variant has other frames than the stretch that it was made from; only the sound itself is ever cut short.
    speed = 2.0 ** (float(facts["semitones"]) / 12.0)
    start = float(facts["start_seconds"])
    seconds = int(facts["frames"]) * speed * config.hop_length / config.sample_rate
    end = len(mono) if facts["at_end"] else round((start + seconds) * rate)
    samples = resample(mono[round(start * rate) : end], rate * speed, config.sample_rate)
    peak = max(float(np.abs(samples).max(initial=0.0)), SILENCE_PEAK)
    return (samples / np.float32(peak)).astype(np.float32)
