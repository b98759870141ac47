"""Sounds with a label and knobs: the conditioning of the prior, and the choice among candidates."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from distill.audio.knobs import KNOBS, UNITS, knobs_of
from distill.audio.mel import MelTransform
from distill.audio.pitch import HIGHEST_HZ, LOWEST_HZ
from distill.audio.timbre import timbre_of
from distill.codec.codec import Grid, Samples
from distill.configs import SpectrogramConfig
from distill.errors import UsageError
from distill.generation.autoregressive import Conditioning
from distill.generation.generator import Generator, sample_grids
from distill.generation.seeds import candidate_seed
from distill.generation.sidecar import Properties
from distill.generation.sound_request import Request
from distill.models.conditions import Conditions
from distill.models.kernels import MOST_ROWS

# Candidates for a sound with a target, unless the request says how many; while none has the target's label, as many
# more are drawn, so many times in all.
BEST_OF, TURNS = 3, 4
# The distance of a wrong label from the target, where each knob adds up to 1.
OTHER_LABEL = 2.0
_NOTES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_NOTE = re.compile(r"([A-Ga-g])([#b]?)(-?\d)")
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)\s*([a-zA-Z]+)")
_SCALES = {"s": ("s", 1.0), "ms": ("s", 1e-3), "hz": ("Hz", 1.0), "khz": ("Hz", 1e3), "db": ("dB", 1.0)}


@dataclass(frozen=True)
class Target:
    """The label and the knobs that new sounds are to have.

    Attributes:
        conditions: the model's labels and knobs.
        label: one of its labels; None: any.
        ranks: knobs by name, from 0 to 1.
        hertz: the exact pitch; None: as it comes.
        guidance: the guidance scale, as for `Conditioning`.
        best_of: candidates drawn for each sound.
        turns: how many times as many are drawn at most, while none has the label.
    """

    conditions: Conditions
    label: str | None
    ranks: Mapping[str, float]
    hertz: float | None
    guidance: float
    best_of: int
    turns: int = 1

    @property
    def conditioning(self) -> Conditioning:
        """What the prior is read with."""
        return Conditioning(self.conditions.vector(self.label, self.ranks), self.guidance)


def target_of(request: Request, conditions: Conditions | None) -> Target | None:
    """The target of a request; None: it has neither label nor knobs.

    Raises:
        UsageError: the model has no conditions, or not these.
    """
    if not request.asks:
        return None
    if conditions is None:
        raise UsageError(
            "this model knows neither labels nor knobs: train one whose prior learns them (prior.conditions: true)"
        )
    ranks, hertz = {}, None
    for name, given in request.knobs.items():
        if name not in conditions.knobs:
            known = ", ".join(conditions.knobs) or "none"
            raise UsageError(f"{name}: the training sounds do not differ in it; this model has the knobs {known}")
        if isinstance(given, str):
            value = value_of(name, given)
            if name == "pitch":
                if not LOWEST_HZ <= value <= HIGHEST_HZ:
                    raise UsageError(f"pitch {given}: choose one from {LOWEST_HZ:g} to {HIGHEST_HZ:g} Hz")
                hertz = value
            ranks[name] = _rank(conditions, name, value, given)
        else:
            ranks[name] = given
    if hertz is not None and not request.natural:
        raise UsageError(
            "a pitch in Hz or as a note works only for sounds that end by themselves, not for a chain or a loop"
        )
    turns = TURNS if request.label is not None and request.best_of is None else 1
    target = Target(conditions, request.label, ranks, hertz, request.guidance, request.best_of or BEST_OF, turns)
    conditions.vector(target.label, ranks)
    return target


def value_of(name: str, text: str) -> float:
    """A knob's value in its unit from a text such as `0.3s`, `2kHz`, `-12dB` or, for pitch, a note.

    >>> value_of("length", "300ms"), value_of("pitch", "A1"), round(value_of("pitch", "Bb3"), 2)
    (0.3, 55.0, 233.08)

    Raises:
        UsageError: the text is no such value.
    """
    unit = UNITS[name]
    if unit == "Hz" and name == "pitch" and (note := _NOTE.fullmatch(text.strip())):
        letter, accidental, octave = note.groups()
        number = 12 * (int(octave) + 1) + _NOTES[letter.upper()] + {"#": 1, "b": -1, "": 0}[accidental]
        return float(440.0 * 2.0 ** ((number - 69) / 12.0))
    if unit and (found := _NUMBER.fullmatch(text.strip())):
        known, scale = _SCALES.get(found[2].lower(), ("", 1.0))
        if known == unit:
            return float(found[1]) * scale
    example = {"s": "0.3s", "Hz": "880Hz", "dB": "-12dB"}.get(unit)
    ways = ["a number from 0 to 1", *([f"a value such as {example}"] if example else [])]
    ways += ["a note such as A1"] if name == "pitch" else []
    raise UsageError(f"{name} {text}: expected {' or '.join(ways)}")


def _rank(conditions: Conditions, name: str, value: float, text: str) -> float:
    quantiles = conditions.knobs[name]
    # A pitch beyond the training's is reached by another speed.
    if name != "pitch" and not quantiles[0] <= value <= quantiles[-1]:
        low, high, unit = quantiles[0], quantiles[-1], UNITS[name]
        raise UsageError(f"{name} {text}: the training sounds lie between {low:.3g} and {high:.3g} {unit}".rstrip())
    return conditions.rank(name, value)


def draw_grids(
    generator: Generator, seeds: Sequence[int], samples: int, target: Target | None, **settings: Any
) -> Iterator[tuple[int, Grid, Properties | None]]:
    """Each seed with its grid and, with a target, its properties; see `sample_grids`."""
    if target is not None:
        yield from nearest_grids(generator, seeds, samples, target, **settings)
        return
    for seed, grid in sample_grids(generator, seeds, samples, **settings):
        yield seed, grid, None


def nearest_grids(
    generator: Generator, seeds: Sequence[int], samples: int, target: Target, **settings: Any
) -> Iterator[tuple[int, Grid, Properties]]:
    """Each seed with the candidate nearest to the target, and its properties.

    A candidate follows from the seed and its number alone; the first has the seed itself. `settings` and errors are
    those of `sample_grids`.
    """
    together = max(1, MOST_ROWS // (target.best_of * target.conditioning.passes))
    for first in range(0, len(seeds), together):
        chosen = seeds[first : first + together]
        best: dict[int, tuple[tuple[bool, float], Grid, Properties]] = {}
        due = list(chosen)
        for turn in range(target.turns):
            numbers = range(turn * target.best_of, (turn + 1) * target.best_of)
            candidates = [candidate_seed(seed, number) for seed in due for number in numbers]
            drawn = sample_grids(generator, candidates, samples, conditioning=target.conditioning, **settings)
            for seed, (_, grid) in zip((seed for seed in due for _ in numbers), drawn, strict=True):
                missed, got = _measure(generator, grid, samples, target)
                # The label counts more than all knobs together.
                worth = (target.label not in (None, got.label), missed)
                if seed not in best or worth < best[seed][0]:
                    best[seed] = (worth, grid, got)
            due = [seed for seed in due if best[seed][0][0]]
            if not due:
                break
        for seed in chosen:
            _, grid, got = best[seed]
            yield seed, grid, got


def distance_to_target(got: Mapping[str, float | None], label: str | None, target: Target) -> float:
    """How far a sound with such knobs and label is from the target: the sum over knobs and label, from 0."""
    missed = 0.0
    for name, rank in target.ranks.items():
        value = got[name]
        found = math.nan if value is None else target.conditions.rank(name, value)
        missed += abs(found - rank) if found == found else 1.0
    return missed + (OTHER_LABEL if target.label not in (None, label) else 0.0)


def measured_again(got: Properties, samples: Samples, spectrogram: SpectrogramConfig) -> Properties:
    """The properties of a sound whose samples `[n]` or `[n, channels]` are no longer those that its grid gave."""
    mono = samples if samples.ndim == 1 else samples.mean(1)
    peak = max(float(np.abs(mono).max(initial=0.0)), 1e-9)
    log_mel = MelTransform(spectrogram).log_mel(torch.from_numpy(mono / peak)).numpy()
    values = dict(zip(KNOBS, knobs_of(log_mel, spectrogram).tolist(), strict=True))
    return got.model_copy(update={"knobs": {name: _rounded(values[name]) for name in got.knobs}})


def _measure(generator: Generator, grid: Grid, samples: int, target: Target) -> tuple[float, Properties]:
    """The distance of a sound from the target, and its properties."""
    spectrogram, conditions = generator.codec.spectrogram, target.conditions
    log_mel = generator.codec.decode_log_mel(grid)[:, : 1 + samples // spectrogram.hop_length]
    values = dict(zip(KNOBS, knobs_of(log_mel, spectrogram).tolist(), strict=True))
    label, far = None, 0.0
    if conditions.labels:
        timbre = timbre_of(log_mel, spectrogram)
        label = conditions.label_of(timbre)
        if target.label is not None:
            away = conditions.distances(timbre)
            far = min(1.0, float(away[conditions.labels.index(target.label)] / max(away.sum(), 1e-9)))
    return distance_to_target(values, label, target) + far, Properties(
        label=label, knobs={name: _rounded(values[name]) for name in conditions.knobs}
    )


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if value == value else None
