"""Sounds for the tests of the memorization check: recorded ones, and those of generators that copy or replay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import model_example
from distill.artifact.model_file import read_model
from distill.audio.nearness import LogMel
from distill.audio.samples import to_mono
from distill.audio.sound import read_sound
from distill.codec.codec import Codec, normalize
from distill.codec.load import build_networks
from distill.configs import SpectrogramConfig
from distill.dataset.store import PreparedDataset
from distill.memorization.compare import Comparison, Findings, compare
from distill.memorization.of_model import DatasetSounds
from distill.memorization.sounds import CheckedSound, Grid, Silence
from distill.memorization.verdict import Verdict, judge
from distill.stages.workspace import Workspace
from pipeline_util import run

RATE = 48_000
CONFIG = SpectrogramConfig()
COPIES = 8
# As much of a sound as the check compares without other settings: 3 s.
MOST_FRAMES = 288


def shifted(samples: np.ndarray, seconds: float = 0.04) -> np.ndarray:
    """The sound behind a pause."""
    return np.concatenate([np.zeros(round(seconds * RATE), np.float32), samples])


def softer(samples: np.ndarray, decibels: float = 3.0) -> np.ndarray:
    return samples * np.float32(10 ** (-decibels / 20))


def noisy(samples: np.ndarray, decibels: float = 30.0) -> np.ndarray:
    """The sound with white noise at a signal-to-noise ratio in dB."""
    noise = np.random.default_rng(len(samples)).standard_normal(len(samples)).astype(np.float32)
    scale = np.sqrt(np.square(samples).mean() / np.square(noise).mean()) * 10 ** (-decibels / 20)
    return samples + noise * np.float32(scale)


def spliced(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The first half of one sound and the second half of another."""
    return np.concatenate([first[: len(first) // 2], second[len(second) // 2 :]])


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda samples: samples,
    "shifted by 40 ms": shifted,
    "3 dB softer": softer,
    "noise at 30 dB": noisy,
}
SPLICE = "splice of two"


class Recorded:
    """Sounds that never went through a codec; see `distill.memorization.sounds.KnownSounds`."""

    def __init__(self, codec: Codec, log_mels: dict[str, LogMel], files: Sequence[int] | None = None) -> None:
        self.codec, self.names, self.log_mels = codec, list(log_mels), list(log_mels.values())
        self.files = list(range(len(log_mels)) if files is None else files)
        self.frames = [log_mel.shape[1] for log_mel in self.log_mels]
        self.channels: list[list[int]] = [[] for _ in log_mels]
        self.read = self.passed = 0

    def log_mel(self, index: int, first: int, last: int) -> LogMel:
        out = np.zeros((CONFIG.n_mels, last - first), np.float32)
        begin, end = max(0, first), min(last, self.frames[index])
        if end > begin:
            out[:, begin - first : end - first] = self.log_mels[index][:, begin:end]
        self.read += max(0, end - begin)
        return out

    def space(self, _index: int, _first: int, _last: int) -> LogMel | None:
        return None

    def grid(self, index: int) -> Grid:
        return self.codec.encode_log_mel(self.log_mels[index])

    def through_codec(self, index: int, first: int, columns: int) -> tuple[LogMel, Grid]:
        self.passed += 1
        log_mel = self.log_mel(index, first, first + 16 * columns)
        return log_mel, self.codec.encode_log_mel(log_mel)


def log_mel_of(samples: np.ndarray) -> LogMel:
    """The log mel of a sound at a peak of 1; silence stays silence."""
    peak = float(np.abs(samples).max(initial=0.0)) or 1.0
    return model_example.codec().log_mel((samples / peak).astype(np.float32))


def recorded(codec: Codec, name: str, samples: np.ndarray) -> CheckedSound:
    """A sound in question that never went through the codec."""
    log_mel = log_mel_of(samples)
    grid = codec.encode_log_mel(log_mel)
    return CheckedSound(name, log_mel, grid, Silence(codec).sounding(log_mel, grid))


class Trained:
    """A codec that was trained on sounds of a folder, and those sounds as the check sees them."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        run(workspace, "prepare", "configure", "train_vqvae")
        self.folder = folder
        self.dataset = PreparedDataset(workspace.prepared)
        vqvae = build_networks(read_model(workspace.vqvae), workspace.vqvae).vqvae
        self.codec = Codec(vqvae, self.dataset.spectrogram)
        self.silence = Silence(self.codec)
        self.training = self.known("train")
        self.held_out = self.known("validation")

    def known(self, split: str) -> DatasetSounds:
        return DatasetSounds(self.codec, self.dataset, self.dataset.segments_of(split, variants=split == "train"))

    def samples(self, split: str) -> list[np.ndarray]:
        """The sounds of a split without variants, at a peak of 1."""
        names = [self.dataset.segment_name(segment) for segment in self.dataset.segments_of(split)]
        return [normalize(to_mono(read_sound(self.folder / name), RATE)).samples for name in dict.fromkeys(names)]

    def checked(self, name: str, samples: np.ndarray) -> CheckedSound:
        """A sound through the codec."""
        grid = self.codec.encode(normalize(samples.astype(np.float32)).samples)
        log_mel = np.maximum(self.codec.decode_log_mel(grid), 0.0)
        return CheckedSound(name, log_mel, grid, self.silence.sounding(log_mel, grid))

    def compared(self, sounds: Sequence[CheckedSound]) -> Findings:
        return compare(
            sounds,
            self.training,
            self.held_out,
            self.silence,
            spectrogram=self.dataset.spectrogram,
            most_frames=MOST_FRAMES,
        )

    def judged(self, findings: Findings) -> Verdict:
        return judge(findings, file_count=self.dataset.usable_files)


@dataclass(frozen=True)
class Copies:
    """The comparisons of all copies of some training sounds, by the way of copying, and of all held-out sounds."""

    trained: Trained
    findings: Findings
    by_change: dict[str, tuple[Comparison, ...]]

    @classmethod
    def of(cls, trained: Trained, most: int) -> "Copies":
        """Copy so many training sounds in each way."""
        originals = trained.samples("train")
        chosen = np.random.default_rng(0).permutation(len(originals))[:most]
        originals = [originals[index] for index in chosen]
        made = {change: [copy(samples) for samples in originals] for change, copy in CHANGES.items()}
        made[SPLICE] = [spliced(*pair) for pair in zip(originals, [*originals[1:], originals[0]], strict=True)]
        names = [change for change, copies in made.items() for _ in copies]
        sounds = [
            trained.checked(f"generated sound {index}", samples)
            for index, samples in enumerate(samples for copies in made.values() for samples in copies)
        ]
        findings = trained.compared(sounds)
        of_each = list(zip(names, findings.generated, strict=True))
        by_change = {change: tuple(each for name, each in of_each if name == change) for change in made}
        return cls(trained, findings, by_change)

    def verdicts(self, seed: int) -> dict[str, Verdict]:
        """On a replay of half of the held-out sounds, while the others set the measure, and on 8 copies of each way."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.findings.held_out))
        half = len(order) // 2
        measure, replayed = (
            tuple(self.findings.held_out[index] for index in part) for part in (order[:half], order[half:])
        )
        generators = {"replay": replayed}
        for change, copies in self.by_change.items():
            generators[change] = tuple(copies[index] for index in rng.permutation(len(copies))[:COPIES])
        return {
            name: self.trained.judged(replace(self.findings, generated=made, held_out=measure))
            for name, made in generators.items()
        }
