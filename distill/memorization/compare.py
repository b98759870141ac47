"""Generated sounds held against the training sounds, with what is known not to be generated as the measure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from distill.audio.nearness import (
    FARTHEST,
    Nearness,
    active_windows,
    distances,
    nearest_share,
    window_frames,
)
from distill.configs import STRIDE, SpectrogramConfig
from distill.memorization.code_runs import SharedCodes, SharedRun
from distill.memorization.search import PART_FRAMES, Part, Search, places_beside
from distill.memorization.sounds import CheckedSound, KnownSounds, Silence

# So many held-out files, and so many training files, are held against the training sounds. More say little more.
MOST_MEASURED = 64
# Places in training sounds beside which a sound is laid.
MOST_PLACES = 9

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Comparison:
    """What a sound shares with the training sounds; numbers of the run and the nearness count the training sounds.

    `channels` are those of a sound whose channels are compared by themselves.
    """

    sound: CheckedSound
    run: SharedRun
    overlap: float
    near: Nearness
    channels: "tuple[Comparison, ...]" = ()

    @property
    def views(self) -> "tuple[Comparison, ...]":
        """The sound, and its channels."""
        return (self, *self.channels)


@dataclass(frozen=True)
class Findings:
    """The comparisons of all sounds with the training sounds.

    Attributes:
        generated: of the generated sounds.
        held_out: of held-out sounds.
        peers: of training sounds with the training sounds of other files.
        training: the training sounds.
        column_codes: codes in a column of a grid.
        spectrogram: of the log mels.
        labels: the label that each generated sound was conditioned on; None: none.
    """

    generated: tuple[Comparison, ...]
    held_out: tuple[Comparison, ...]
    peers: tuple[Comparison, ...]
    training: KnownSounds
    column_codes: int
    spectrogram: SpectrogramConfig
    labels: tuple[str | None, ...] = ()

    @property
    def unconditioned(self) -> list[Comparison]:
        """The generated sounds without a label: only they are as the model's sounds are."""
        labels = self.labels or (None,) * len(self.generated)
        return [each for each, label in zip(self.generated, labels, strict=True) if label is None]

    def seconds_of(self, frame: int) -> float:
        """Where a frame of a log mel begins, in s."""
        return frame * self.spectrogram.hop_length / self.spectrogram.sample_rate


def compare(
    generated: Sequence[CheckedSound],
    training: KnownSounds,
    held_out: KnownSounds,
    silence: Silence,
    *,
    spectrogram: SpectrogramConfig,
    most_frames: int,
    labels: Sequence[str | None] = (),
    tell: Tell = lambda _done, _count: None,
) -> Findings:
    """Hold generated sounds, held-out sounds and some of the training sounds against the training sounds.

    All of them are as the codec gives them back, which leaves its own traces: a part of a training sound is held
    against a sound as it comes through the codec from where the sound begins. So a copy is the same wherever it was
    cut from, be it within a column.

    Args:
        generated: the sounds in question.
        training: the sounds that the model learned from, with their speed variants where it learned from these.
        held_out: sounds that it did not learn from.
        silence: of the model's codes.
        spectrogram: of all log mels.
        most_frames: as much of a held-out or training sound is held against the others, from where it is loud.
        labels: the label that each generated sound was conditioned on; None: none.
        tell: told how much of how much is done; it may raise to end the comparison.
    """
    of_held_out, of_peers = _measured(held_out), _measured(training)
    count = 2 * (len(generated) + len(of_held_out) + len(of_peers)) + len(training.frames)
    done = len(generated)

    def step() -> None:
        nonlocal done
        done += 1
        tell(done, count)

    # With the file of a training sound, which is not compared with itself.
    sounds: list[tuple[CheckedSound, int | None]] = [(sound, None) for sound in generated]
    for known, chosen, own in ((held_out, of_held_out, False), (training, of_peers, True)):
        for index in chosen:
            channels = (_sound(known, each, silence, most_frames) for each in known.channels[index])
            sound = replace(_sound(known, index, silence, most_frames), channels=tuple(channels))
            sounds.append((sound, known.files[index] if own else None))
            step()
    compared = _with_training(sounds, training, window_frames(spectrogram), step)
    first, last = len(generated), len(generated) + len(of_held_out)
    return Findings(
        generated=tuple(compared[:first]),
        held_out=tuple(compared[first:last]),
        peers=tuple(each for each in compared[last:] if each.near.source is not None),
        training=training,
        column_codes=silence.codes.size,
        spectrogram=spectrogram,
        labels=tuple(labels),
    )


def _with_training(
    sounds: Sequence[tuple[CheckedSound, int | None]], training: KnownSounds, size: int, step: Callable[[], None]
) -> list[Comparison]:
    """Compare sounds and their channels, each with its own file or None, with the training sounds of other files.

    Each training sound is read once and compared with all sounds; `size` are the frames of a window.
    """
    views = [*sounds, *((channel, file) for sound, file in sounds for channel in sound.channels)]
    checked, own_files = [view for view, _ in views], [file for _, file in views]
    search, codes = Search([view.log_mel for view in checked], own_files, size), SharedCodes(checked, own_files)
    for index, file in enumerate(training.files):
        search.add_sound(training, index)
        codes.add(index, training.grid(index), file)
        step()

    def comparison(index: int) -> Comparison:
        near, run = _beside(checked[index], search.found(index), codes.run(index), training, size)
        return Comparison(checked[index], run, codes.overlap(index), near)

    compared, behind = [], len(sounds)
    for index, (sound, _) in enumerate(sounds):
        places = range(behind, behind + len(sound.channels))
        compared.append(replace(comparison(index), channels=tuple(map(comparison, places))))
        behind += len(sound.channels)
        step()
    return compared


def _measured(known: KnownSounds) -> list[int]:
    """The first sound of each file, or of as many files as are compared, which the seed 0 chooses; no channels."""
    first_of_file = {file: index for index, file in reversed(list(enumerate(known.files)))}
    firsts = sorted(first_of_file.values())
    if len(firsts) <= MOST_MEASURED:
        return firsts
    return sorted(int(index) for index in np.random.default_rng(0).choice(firsts, MOST_MEASURED, replace=False))


def _sound(known: KnownSounds, index: int, silence: Silence, most_frames: int) -> CheckedSound:
    """A known sound through the codec; of a long one as much as is compared, from where it becomes loud."""
    frames = known.frames[index]
    first = _loud_from(known, index) if frames > most_frames else 0
    frames = min(frames - first, most_frames)
    log_mel, grid = known.through_codec(index, first, -(-frames // STRIDE))
    log_mel = log_mel[:, :frames]
    return CheckedSound(known.names[index], log_mel, grid, silence.sounding(log_mel, grid))


def _loud_from(known: KnownSounds, index: int) -> int:
    """The frame of the first column that is at most 20 dB below the loudest."""
    frames = known.frames[index]
    loudest = []
    for first in range(0, frames, PART_FRAMES):
        log_mel = known.log_mel(index, first, first + PART_FRAMES)
        loudest.append(np.expm1(log_mel.astype(np.float64)).sum(0).reshape(-1, STRIDE).max(1))
    power = np.concatenate(loudest)
    return STRIDE * int(np.flatnonzero(power >= power.max() / 100.0)[0])


def _beside(
    sound: CheckedSound, parts: Sequence[Part], run: SharedRun, training: KnownSounds, size: int
) -> tuple[Nearness, SharedRun]:
    """How near a sound comes to training sounds that are laid beside it, and the longest run of codes there.

    Args:
        sound: the sound in question.
        parts: where something like it may lie.
        run: its longest run of codes so far, which shows a place, too.
        training: the training sounds.
        size: frames of a window.
    """
    windows, columns = active_windows(sound.log_mel, size), len(sound.grid)
    frames = sound.log_mel.shape[1]
    codes, each = SharedCodes([sound], [None]), []
    places = _places(sound, parts, run, training)
    for number, (source, first) in enumerate(places):
        log_mel, grid = training.through_codec(source, first, columns)
        codes.add(number, grid, number)
        each.append(distances(windows, log_mel[:, :frames], size))
    if not places or not len(windows.frames):
        return Nearness(FARTHEST, None, FARTHEST, 0, 0), run
    shares = [nearest_share(found) for found in each]
    best = int(np.argmin(shares))
    source, first = places[best]
    frame = int(windows.frames[each[best].argmin()])
    near = Nearness(
        distance=nearest_share(np.min(each, axis=0)),
        source=source,
        source_distance=shares[best],
        frame=frame,
        source_frame=max(0, first + frame),
    )
    beside = codes.run(0)
    if beside.codes <= run.codes:
        return near, run
    source, first = places[beside.source]
    return near, replace(beside, source=source, source_frame=max(0, beside.source_frame + first))


def _places(sound: CheckedSound, parts: Sequence[Part], run: SharedRun, training: KnownSounds) -> list[tuple[int, int]]:
    """Training sounds, and the frames of them, beside which a sound is laid; the best come first."""
    frames = sound.log_mel.shape[1]
    found = []
    for part in parts:
        begin = part.first - frames
        end = min(part.first + PART_FRAMES, training.frames[part.source]) + frames
        beside = places_beside(sound.log_mel, training.log_mel(part.source, begin, end))
        found += [(place.score, part.source, begin + place.first) for place in beside]
    found.sort(key=lambda place: -place[0])
    places = [(source, first) for _, source, first in found]
    if run.codes:
        places.insert(0, (run.source, run.source_frame - STRIDE * run.column))
    return list(dict.fromkeys(places))[:MOST_PLACES]
