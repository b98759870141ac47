"""Which sounds lie on which pads: names, keys, and what cuts off what."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count

from distill.errors import UsageError

MOST_PADS = 64
DEFAULT_PADS = 16
# Pads that belong to no part of a drum kit lie from here on.
FIRST_NOTE, LAST_NOTE = 36, 127
# By the words that name a part of a drum kit, its keys in General MIDI, the usual one first.
_PARTS: tuple[tuple[str, tuple[str, ...], tuple[int, ...]], ...] = (
    ("open hat", ("openhat", "open hat", "open-hat", "oh", "ohh"), (46,)),
    ("hat", ("hat", "hats", "hihat", "hi-hat", "hi hat", "hh", "closedhat", "ch", "chh"), (42, 46, 44)),
    ("kick", ("kick", "kicks", "kik", "bd", "bassdrum", "bass drum", "bass"), (36, 35)),
    ("snare", ("snare", "snares", "sd", "sn", "sna"), (38, 40)),
    ("rim", ("rim", "rims", "rimshot", "rs", "sidestick", "stick"), (37,)),
    ("clap", ("clap", "claps", "cp", "handclap"), (39,)),
    ("tom", ("tom", "toms", "lt", "mt", "ht", "floortom"), (41, 43, 45, 47, 48, 50)),
    ("crash", ("crash", "crashes", "cr", "cymbal", "cymbals", "cy"), (49, 57)),
    ("ride", ("ride", "rides", "rd"), (51, 59, 53)),
    ("cowbell", ("cowbell", "cowbells", "cb"), (56,)),
    ("tambourine", ("tambourine", "tamb"), (54,)),
    ("shaker", ("shaker", "shakers", "maracas", "cabasa"), (70, 69, 82)),
    ("conga", ("conga", "congas"), (63, 64, 62)),
    ("bongo", ("bongo", "bongos"), (60, 61)),
)
_CHOKED = {"hat", "open hat"}


@dataclass(frozen=True)
class Pad:
    """A pad.

    Attributes:
        name: what people call it, such as `snare 2`.
        label: what a model is asked for to fill it; None: any sound.
        note: the key that plays it, from 0 to 127.
        choked: whether it cuts off the other pads that are, as a closed hat does an open one.
    """

    name: str
    label: str | None
    note: int
    choked: bool


def pads_of(text: str | None, labels: Sequence[str]) -> list[Pad]:
    """The pads of a text such as `kick:2,snare:2,hat:3` or a number; 16 without a text.

    A name is one of the labels, or the word for the same part of a drum kit. Pads of a number alone are spread over all
    labels.

    Args:
        text: the option of the user.
        labels: those of the model; without any the text is a number.

    Raises:
        UsageError: a name is none of the labels, or a number is out of its range.
    """
    wanted = (text or str(DEFAULT_PADS)).strip()
    if wanted.isdecimal():
        return _keyed(_spread(_number(wanted, wanted), labels))
    found: list[tuple[str, str | None]] = []
    whole = {label.casefold() for label in labels}
    for each in map(str.strip, wanted.split(",")):
        # A label may have a colon.
        name, number = (each, "1") if each.casefold() in whole or ":" not in each else each.rsplit(":", 1)
        label = _label_of(name.strip(), labels)
        found += [(label, label)] * _number(number.strip(), each)
    if len(found) > MOST_PADS:
        raise UsageError(f"a kit has at most {MOST_PADS} pads, not {len(found)}")
    return _keyed(found)


def pads_named(names: Sequence[str]) -> list[Pad]:
    """The pads of sounds with these names: on the keys of the parts that the names say, the others behind them.

    Raises:
        UsageError: there are none, or too many.
    """
    if not 1 <= len(names) <= MOST_PADS:
        raise UsageError(f"a kit has 1 to {MOST_PADS} pads, not {len(names)}")
    return _keyed([(name, None) for name in names], numbered=False)


def part_of(name: str) -> str:
    """The part of a drum kit that a name tells of; empty for none.

    >>> [part_of(name) for name in ("Kicks", "my open hat", "snare_03", "stick", "bell")]
    ['kick', 'open hat', 'snare', 'rim', '']
    """
    words = re.sub(r"[^a-z]+", " ", name.casefold()).strip()
    for part, spoken, _ in _PARTS:
        if any(re.search(rf"\b{re.escape(re.sub('[^a-z]+', ' ', word))}\b", words) for word in spoken):
            return part
    return ""


def _label_of(name: str, labels: Sequence[str]) -> str:
    if name in labels:
        return name
    known = {label.casefold(): label for label in labels}
    if name.casefold() in known:
        return known[name.casefold()]
    alike = [label for label in labels if part_of(label) and part_of(label) == part_of(name)]
    if len(alike) == 1:
        return alike[0]
    said = f"the model's labels: {', '.join(labels)}" if labels else "the model knows no labels: ask for a number"
    raise UsageError(f"there is no label {name or '(none)'}; {said}")


def _number(text: str, of: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PADS:
        raise UsageError(f"pads {of}: expected a number from 1 to {MOST_PADS}, or NAME:NUMBER divided by commas")
    return int(text)


def _spread(number: int, labels: Sequence[str]) -> list[tuple[str, str | None]]:
    if not labels:
        return [("pad", None)] * number
    share, rest = divmod(number, len(labels))
    return [(label, label) for place, label in enumerate(labels) for _ in range(share + (place < rest))]


def _keyed(wanted: Sequence[tuple[str, str | None]], *, numbered: bool = True) -> list[Pad]:
    """Pads with keys of their own."""
    names = [name for name, _ in wanted]
    pads, taken, numbers = list[Pad](), set[int](), dict[str, int]()
    keys = [_notes(part_of(name)) for name in names]
    # What has a usual key gets it before others lie there, and the first key of each part is that part's alone.
    usual, first = {note for notes in keys for note in notes}, {note for notes in keys for note in notes[:1]}
    for (name, label), notes in zip(wanted, keys, strict=True):
        numbers[name] = numbers.get(name, 0) + 1
        title = f"{name} {numbers[name]}" if numbered and names.count(name) > 1 else name
        barred = taken | first.difference(notes[:1])
        note = next(each for each in chain(notes, _others(usual), count()) if each not in barred)
        taken.add(note)
        pads.append(Pad(title, label, note, part_of(name) in _CHOKED))
    return pads


def _notes(part: str) -> tuple[int, ...]:
    return next((notes for name, _, notes in _PARTS if name == part), ())


def _others(usual: set[int]) -> Iterator[int]:
    return (note for note in range(FIRST_NOTE, LAST_NOTE + 1) if note not in usual)
