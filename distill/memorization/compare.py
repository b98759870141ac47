"""Generated sounds held against the training sounds, with what is known not to be generated as the measure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from distill.audio.mel import MelTransform
from distill.configs import SpectrogramConfig
from distill.memorization.nearness import LogMel, Nearness, nearest
from distill.memorization.runs import Grid, Grids, SharedRun

# As many training sounds, evenly chosen, are held against the other training sounds.
MOST_PEERS = 64


@dataclass(frozen=True)
class CheckedSound:
    """A sound as the check sees it.

    Attributes:
        name: what people call it.
        log_mel: `[n_mels, frames]`, at a peak of 1 before the transform.
        grid: its codes, `[columns, bands, levels]`.
        file: number of the file that it is from; variants and parts of one file share it.
    """

    name: str
    log_mel: LogMel
    grid: Grid
    file: int = -1


@dataclass(frozen=True)
class Comparison:
    """What a sound shares with the training sounds; indices of the run and the nearness count the training sounds."""

    sound: CheckedSound
    run: SharedRun
    overlap: float
    near: Nearness


@dataclass(frozen=True)
class Findings:
    """The comparisons of all sounds with the training sounds.

    Attributes:
        generated: of the generated sounds.
        held_out: of the held-out sounds.
        peers: of some training sounds with the training sounds of other files.
        peer_distances: by file, how near its training sound comes to the others, for every nearest one.
        training: the training sounds.
        column_codes: codes in a column of a grid.
        spectrogram: of the log mels.
    """

    generated: tuple[Comparison, ...]
    held_out: tuple[Comparison, ...]
    peers: tuple[Comparison, ...]
    peer_distances: dict[int, float]
    training: tuple[CheckedSound, ...]
    column_codes: int
    spectrogram: SpectrogramConfig


def log_mel_of(samples: np.ndarray, spectrogram: SpectrogramConfig) -> LogMel:
    """The log mel `[n_mels, frames]` of a sound `[n]` at a peak of 1, as it is compared; silence stays silence."""
    peak = float(np.max(np.abs(samples), initial=0.0))
    scaled = np.asarray(samples, np.float32) / np.float32(peak or 1.0)
    return MelTransform(spectrogram).log_mel(torch.from_numpy(scaled)).numpy()


def compare(
    generated: Sequence[CheckedSound],
    training: Sequence[CheckedSound],
    held_out: Sequence[CheckedSound],
    *,
    spectrogram: SpectrogramConfig,
    silence: Grid,
) -> Findings:
    """Hold generated sounds, held-out sounds and some of the training sounds against the training sounds.

    All must have come the same way (all recorded, or all through the codec): that way leaves its own traces.

    Args:
        generated: the sounds in question.
        training: the sounds that the model learned from, with their speed variants where it learned from these.
        held_out: sounds that it did not learn from.
        spectrogram: of all log mels.
        silence: the code of silence at each place of a column, `[bands, levels]`.
    """
    files = [sound.file for sound in training]
    grids = Grids([sound.grid for sound in training], silence, files)
    log_mels = [sound.log_mel for sound in training]
    first_of_file = {file: index for index, file in reversed(list(enumerate(files)))}
    chosen = list(first_of_file.values())
    if len(chosen) > MOST_PEERS:
        chosen = [chosen[index] for index in np.linspace(0, len(chosen) - 1, MOST_PEERS).round().astype(int)]

    near = nearest([sound.log_mel for sound in (*generated, *held_out)], log_mels, spectrogram, files=files)
    sources = {files[each.source] for each in near if each.source is not None}
    more = sorted(sources - {files[index] for index in chosen})
    asked = [*chosen, *(first_of_file[file] for file in more)]
    among_peers = nearest(
        [log_mels[index] for index in asked],
        log_mels,
        spectrogram,
        files=files,
        own_files=[files[index] for index in asked],
    )

    def comparison(sound: CheckedSound, nearness: Nearness, without: Sequence[int] = ()) -> Comparison:
        return Comparison(sound, grids.longest_run(sound.grid, without), grids.overlap(sound.grid, without), nearness)

    compared = [comparison(*each) for each in zip((*generated, *held_out), near, strict=True)]
    peers = [
        comparison(training[index], nearness, (files[index],))
        for index, nearness in zip(chosen, among_peers, strict=False)
        if nearness.source is not None
    ]
    return Findings(
        generated=tuple(compared[: len(generated)]),
        held_out=tuple(compared[len(generated) :]),
        peers=tuple(peers),
        peer_distances={files[index]: each.distance for index, each in zip(asked, among_peers, strict=True)},
        training=tuple(training),
        column_codes=silence.size,
        spectrogram=spectrogram,
    )
