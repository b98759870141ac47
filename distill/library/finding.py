"""Which sounds of a project are nearest to a given one: of those that a model learned from, and of those it made."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from distill.artifact.manifest import Manifest
from distill.artifact.model_file import read_manifest
from distill.audio.mel import MelTransform
from distill.audio.nearness import LogMel
from distill.audio.samples import to_mono
from distill.audio.sound import read_sound
from distill.codec.codec import normalize
from distill.configs import SpectrogramConfig
from distill.dataset.split import TRAIN
from distill.errors import ArtifactError, DataError, DistillError, UsageError
from distill.generation.sidecar import read_sidecar, sidecar_of
from distill.library.model_check import Tell, find_dataset
from distill.library.takes import Take, Takes
from distill.memorization.nearest import Near, nearest
from distill.memorization.of_model import RecordedSegments
from distill.memorization.sounds import Recorded, between_silence
from distill.projects.models import default_file
from distill.registry.catalogue import catalogue

MOST = 100

Kind = Literal["training", "held-out", "generated"]


@dataclass(frozen=True)
class Neighbour:
    """A sound near another one.

    Attributes:
        kind: whether the model learned from it, did not, or made it.
        name: below the folder of sounds, or of generated sounds.
        distance: 0 for the same up to loudness, 1.41 for nothing in common.
        seconds: where in it the nearest part begins, in s.
    """

    kind: Kind
    name: str
    distance: float
    seconds: float


class RecordedTakes:
    """Generated sounds, as a model that made them would know them; see `distill.memorization.sounds`."""

    def __init__(self, takes: Sequence[Take], config: SpectrogramConfig) -> None:
        known = [(take, found) for take in takes if (found := _log_mel_or_none(take.path, config)) is not None]
        self.names = [take.id for take, _ in known]
        self._log_mels = [log_mel for _, log_mel in known]
        self.files = list(range(len(known)))
        self.frames = [log_mel.shape[1] for log_mel in self._log_mels]

    def log_mel(self, index: int, first: int, last: int) -> LogMel:
        """Frames of a sound, silence outside of it."""
        log_mel = self._log_mels[index]
        return between_silence(lambda begin, end: log_mel[:, begin:end], self.frames[index], first, last)


def find(
    model: Path,
    sound: Path,
    project: Path,
    *,
    count: int = 10,
    workspace: Path | None = None,
    tell: Tell = lambda _done, _count: None,
) -> list[Neighbour]:
    """The sounds that are nearest to a given one, the nearest first.

    Args:
        model: a model file; its training sounds are searched, where they are prepared, and the sounds that it made.
        sound: the given sound.
        project: where the generated sounds are.
        count: how many are wanted, at most 100.
        workspace: where the prepared sounds are; by default they are looked for around the model and in the project.
        tell: called with what is done and the total; it may raise to end the search.

    Raises:
        UsageError: the number is out of its range.
        ArtifactError, StorageError: the model cannot be read.
        DataError: the given sound cannot be used, or there is nothing to search.
    """
    if not 1 <= count <= MOST:
        raise UsageError(f"the number of sounds must lie between 1 and {MOST}, not {count}")
    manifest = read_manifest(model)
    config = manifest.spectrogram_config
    asked = log_mel_of(sound, config)
    own = sound.resolve()
    made = [take for take in Takes(project).all() if take.path.resolve() != own and _made_by(take, manifest)]
    places: list[tuple[Kind, Recorded]] = [("generated", RecordedTakes(made, config))]
    try:
        dataset = find_dataset(manifest, model, project, workspace)
    except DataError:
        if not made:
            raise
    else:
        places += [
            ("training", RecordedSegments(dataset, dataset.segments_of(TRAIN))),
            ("held-out", RecordedSegments(dataset, dataset.held_out)),
        ]
    whole, done = sum(len(known.files) for _, known in places), iter(range(1, 1 << 62))
    found = []
    for kind, known in places:
        [near] = nearest([asked], known, config, count=count, step=lambda: tell(next(done), whole))
        found += [_neighbour(kind, known, each, config) for each in near]
    return sorted(found, key=lambda each: (each.distance, each.kind, each.name))[:count]


def model_of(sound: Path, project: Path) -> Path:
    """The model file that a sound is to be changed with: the one that made it, the only one, or the project's.

    Raises:
        UsageError: the sound does not say which one that is.
    """
    entries, _ = catalogue(project, registry=False)
    able = [entry for entry in entries if entry.files and entry.manifest.prior_config is not None]
    sidecar = sidecar_of(sound)
    facts, unread = None, ""
    if sidecar.is_file():
        try:
            facts = read_sidecar(sidecar)
        except ArtifactError as error:
            # It may be of another program.
            unread = f"{error}, and "
    if facts is not None:
        beside = facts.model_file.found(sidecar)
        if beside.is_file() and read_manifest(beside).tensor_digest == facts.model_file.digest:
            return beside.resolve()
        for entry in able:
            if entry.manifest.tensor_digest == facts.model_file.digest:
                return min(entry.files)
        raise UsageError(f"{sound} was made with {facts.model_name}, which is not here: name a model with --model")
    if len(able) == 1:
        return min(able[0].files)
    with suppress(UsageError):
        return default_file(project)
    known = f"there are {len(able)} in {project / 'models'} and its runs" if able else f"there is none in {project}"
    raise UsageError(f"name a model with --model: {unread}{known}")


def log_mel_of(path: Path, config: SpectrogramConfig) -> LogMel:
    """The log mel `[n_mels, frames]` of a sound file, as a model knows sounds: mono, with a peak of 1.

    Raises:
        DataError: it is no sound that can be used, or it is silent.
    """
    try:
        samples = normalize(to_mono(read_sound(path), config.sample_rate)).samples
    except DataError as error:
        raise DataError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    found: LogMel = MelTransform(config).log_mel(torch.from_numpy(samples)).numpy()
    return found


def _log_mel_or_none(path: Path, config: SpectrogramConfig) -> LogMel | None:
    try:
        return log_mel_of(path, config)
    except DistillError:
        return None


def _made_by(take: Take, manifest: Manifest) -> bool:
    facts = take.sidecar()
    return facts is not None and facts.model_file.digest == manifest.tensor_digest and not take.note.dropped


def _neighbour(kind: Kind, known: Recorded, near: Near, config: SpectrogramConfig) -> Neighbour:
    seconds = near.frame * config.hop_length / config.sample_rate
    return Neighbour(kind, known.names[near.source], round(near.distance, 4), round(seconds, 3))
