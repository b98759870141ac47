"""Generators that copy or replay, for the tests of the memorization check."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import model_example
from distill.audio.sound import SoundError, read_sound, to_mono
from distill.codec.codec import Codec, normalise
from distill.memorization.compare import CheckedSound, Findings, compare, log_mel_of
from distill.memorization.of_model import silence_of
from distill.memorization.verdict import Verdict, judge

RATE = 48_000
COPIES = 8


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


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda samples: samples,
    "shifted by 40 ms": shifted,
    "3 dB softer": softer,
    "noise at 30 dB": noisy,
}


def spliced(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The first half of one sound and the second half of another."""
    return np.concatenate([first[: len(first) // 2], second[len(second) // 2 :]])


class Sounds:
    """The sounds of a folder at 48 kHz with a peak of 1, as the check sees them with the codec of the example model."""

    def __init__(self, folder: Path) -> None:
        self.codec = model_example.codec()
        usable = {}
        for path in sorted(folder.iterdir()):
            # Folders hold other files, and recordings that are cut.
            with suppress(SoundError):
                usable[path.name] = normalise(to_mono(read_sound(path), RATE)).samples
        self.samples = list(usable.values())
        self.checked = [self.check(name, samples, file) for file, (name, samples) in enumerate(usable.items())]

    def __len__(self) -> int:
        return len(self.checked)

    def check(self, name: str, samples: np.ndarray, file: int = -1) -> CheckedSound:
        return checked_sound(self.codec, name, samples, file)

    def copies(self, change: str, chosen: Sequence[int]) -> list[CheckedSound]:
        """Copies of some sounds."""
        if change == "splice of two":
            pairs = zip(chosen, [*chosen[1:], chosen[0]], strict=True)
            made = [spliced(self.samples[first], self.samples[second]) for first, second in pairs]
        else:
            made = [CHANGES[change](self.samples[index]) for index in chosen]
        return [self.check(f"generated sound {index}", samples) for index, samples in enumerate(made)]


def checked_sound(codec: Codec, name: str, samples: np.ndarray, file: int = -1) -> CheckedSound:
    peak_1 = normalise(samples.astype(np.float32)).samples
    return CheckedSound(name, log_mel_of(samples, codec.spectrogram), codec.encode(peak_1), file)


@dataclass(frozen=True)
class Split:
    """Files to learn from, held-out files that set the limits, and held-out files that are replayed."""

    training: list[int]
    measure: list[int]
    replayed: list[int]

    @property
    def too_few(self) -> bool:
        return min(len(self.measure), len(self.replayed)) < 8


def split(count: int, held_out: int, seed: int) -> Split:
    order = [int(index) for index in np.random.default_rng(seed).permutation(count)]
    half = held_out // 2
    return Split(sorted(order[held_out:]), order[:half], order[half:held_out])


def verdicts(sounds: Sounds, parts: Split, generators: dict[str, list[CheckedSound]]) -> dict[str, Verdict]:
    """The verdict on each generator, all compared at once."""
    found = compare(
        [sound for made in generators.values() for sound in made],
        [sounds.checked[index] for index in parts.training],
        [sounds.checked[index] for index in parts.measure],
        spectrogram=sounds.codec.spectrogram,
        silence=silence_of(sounds.codec),
    )
    judged, first = {}, 0
    for name, made in generators.items():
        part: Findings = replace(found, generated=found.generated[first : first + len(made)])
        judged[name] = judge(part, file_count=len(sounds))
        first += len(made)
    return judged


def verdicts_of_seed(sounds: Sounds, held_out: int, seed: int) -> tuple[Split, dict[str, Verdict]]:
    """The verdicts on a generator that replays held-out sounds and on those that copy training sounds in each way."""
    parts = split(len(sounds), held_out, seed)
    copied = [int(index) for index in np.random.default_rng(seed).permutation(parts.training)[:COPIES]]
    generators = {"replay": [sounds.checked[index] for index in parts.replayed]}
    generators |= {change: sounds.copies(change, copied) for change in (*CHANGES, "splice of two")}
    return parts, verdicts(sounds, parts, generators)
