"""The tempo of loops, as their names tell it or their lengths."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from distill.dataset.scan import FileReport

SLOWEST, FASTEST = 60, 190
BARS = (1, 2, 4, 8)
# A length of whole bars at a whole tempo is right to so many samples: others come near it by chance once in 200 times.
_SAMPLES = 1.0
_SAID = re.compile(r"(?<!\d)(\d{2,3}(?:\.\d+)?)[\s_-]*bpm(?![a-z])|bpm[\s_-]*(\d{2,3}(?:\.\d+)?)(?!\d)", re.IGNORECASE)
_NUMBER = re.compile(r"(?:^|[\s_-])(\d{2,3})(?=$|[\s_-])")


@dataclass(frozen=True)
class Tempo:
    """The tempo of a loop.

    Attributes:
        bpm: beats a minute.
        bars: how many bars of four beats it has; None: not a whole number of them.
        named: whether its name says so; else its length does.
    """

    bpm: float
    bars: int | None
    named: bool


def tempo_of(name: str, seconds: float, sample_rate: int) -> Tempo | None:
    """The tempo of a sound by its name, such as `funk_120bpm` or `funk_120_a`, or by a length of whole bars.

    >>> tempo_of("beats/funk_120bpm.wav", 4.0, 44100)
    Tempo(bpm=120.0, bars=2, named=True)
    >>> tempo_of("beat.wav", 4.0, 44100)
    Tempo(bpm=60.0, bars=1, named=False)
    >>> tempo_of("kick_01.wav", 0.4, 44100) is None
    True
    """
    stem = name.rpartition("/")[2].rpartition(".")[0]
    said = _SAID.search(stem)
    if said is not None and SLOWEST <= (bpm := float(said[1] or said[2])) <= FASTEST:
        return Tempo(bpm, _bars(bpm, seconds), named=True)
    fitting = [
        Tempo(float(bpm), bars, named=False)
        for bars in BARS
        if SLOWEST <= (bpm := round(240 * bars / max(seconds, 1e-9))) <= FASTEST
        and abs(240 * bars / bpm - seconds) * sample_rate <= _SAMPLES
    ]
    for number in _NUMBER.findall(stem):
        # A number alone may as well count files: the length has to agree.
        for each in fitting:
            if each.bpm == float(number):
                return Tempo(each.bpm, each.bars, named=True)
    return fitting[0] if fitting else None


def tempos(reports: Sequence[FileReport]) -> dict[str, Tempo]:
    """The tempo of each usable sound that has one, by its name."""
    found = {each.path: tempo_of(each.path, each.seconds, each.sample_rate) for each in reports if each.usable}
    return {name: tempo for name, tempo in found.items() if tempo is not None}


def in_words(found: Sequence[Tempo]) -> str:
    """What a list of tempos comes to, in one line."""
    bpm = [each.bpm for each in found]
    named = sum(each.named for each in found)
    reach = f"{min(bpm):g}" if min(bpm) == max(bpm) else f"{min(bpm):g} to {max(bpm):g}, median {median(bpm):g}"
    return f"{len(found)} at {reach} bpm ({named} by name, {len(found) - named} by a length of whole bars)"


def _bars(bpm: float, seconds: float) -> int | None:
    bars = round(seconds * bpm / 240)
    # A file name with the tempo is trusted, even if the end was rounded to milliseconds.
    return bars if bars and abs(240 * bars / bpm - seconds) <= 0.01 else None
