"""Sounds that are asked for on the page: each as a result, in a folder of its own below the generated sounds."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

from distill.audio.sound import SoundError, SoundReader
from distill.errors import UsageError
from distill.generation.export import ExportSettings
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, Written, morph, produce
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.models import Models
from distill.ui.results import HEARD, Result, batch_folder, given_file

MOST_COUNT = 32
MOST_SECONDS = 300.0
# How many sounds "more like this" are made at once, and how much of them is new.
MORE, MORE_STRENGTH = 4, 0.5
# How many lie between one sound and the next.
BETWEEN, MOST_ENDS = 4, 8


@dataclass(frozen=True)
class SoundOrder:
    """What somebody asked for.

    Attributes:
        model: what the page calls the model.
        request: what to make.
        count: number of sounds.
        seed: of the first; each further one has the next. None: behind those that are in the folder.
        settings: how the files are written.
        upload: the sound to go on from, or to make a part of anew, as it came from the browser.
        like: a generated sound that is varied where it lies.
        between: sounds, of which what lies between each and the next is made.
    """

    model: str
    request: Request
    count: int
    seed: int | None = 0
    settings: ExportSettings = field(default_factory=ExportSettings)
    upload: str | None = None
    like: Path | None = None
    between: tuple[Path, ...] = ()


def make(order: SoundOrder, context: Context, models: Models, desk: Desk) -> Generator[Result]:
    """Make what is asked for, one sound after the other; a folder in which nothing was made is not left.

    Raises:
        UsageError: something cannot be, or no sound was given where one is needed.
        ArtifactError, DataError, StorageError, TrackingError: the model or the sound cannot be used.
    """
    require_few(order.count, order.request)
    model = models.maker(order.model)
    # What the tab Library makes of a model stays by itself.
    beside = order.like is not None and not order.like.parent.name.startswith(HEARD)
    folder = order.like.parent if order.like is not None and beside else batch_folder(context)
    source = order.like
    if order.request.action in ("continue", "fill", "vary") and source is None:
        source = given_file(order.upload, context, folder)
    destination = Destination(folder, order.settings)
    try:
        for written in _written(order, model, destination, source):
            words = f"{written.seconds:.2f} s · {order.model}"
            if not order.between:
                words = f"seed {written.seed} · {words}"
            if written.got is not None and written.got.distance is not None:
                words = f"{written.got.distance:.2f} from the given one · {words}"
            yield Result.of(written, order.request, model, order.model, words, desk)
    finally:
        if source is not None and order.like is None and not any(folder.glob("*.json")):
            source.unlink(missing_ok=True)
            folder.rmdir()


def require_few(count: int, request: Request) -> None:
    """Make sure that no more is asked for at once than a page waits for.

    Raises:
        UsageError: it is more.
    """
    if count > MOST_COUNT or (request.seconds or 0.0) > MOST_SECONDS:
        raise UsageError(f"at most {MOST_COUNT} sounds of {MOST_SECONDS:g} s at once here; distill generate makes more")


def _written(order: SoundOrder, model: Path, destination: Destination, source: Path | None) -> Iterator[Written]:
    if not order.between:
        yield from produce(model, order.request, destination, count=order.count, seed=order.seed, source=source)
        return
    for place, (sound, other) in enumerate(pairwise(order.between)):
        first = 1 + BETWEEN * place
        yield from morph(
            model, sound, other, destination, steps=BETWEEN, ends=False, first=first, request=order.request
        )


def order_like(sound: Path, model: str) -> SoundOrder:
    """An order for variations of a generated sound."""
    request = Request(action="vary", strength=MORE_STRENGTH, channels=channels_like([sound]))
    return SoundOrder(model, request, MORE, None, like=sound)


def order_between(sounds: Sequence[Path], model: str) -> SoundOrder:
    """An order for what lies between each sound and the next.

    Raises:
        UsageError: there are fewer than two, or more than are taken.
    """
    if not 2 <= len(sounds) <= MOST_ENDS:
        raise UsageError(f"choose 2 to {MOST_ENDS} sounds to make a series between them")
    request = Request(action="morph", weight=0.5, channels=channels_like(sounds))
    return SoundOrder(model, request, BETWEEN * (len(sounds) - 1), between=tuple(sounds))


def channels_like(sounds: Sequence[Path]) -> Literal[1] | None:
    """The channels of what is made of sounds: one where all of them are mono, else as the model makes them."""
    mono = True
    for sound in sounds:
        with suppress(SoundError), SoundReader(sound) as reader:
            mono &= reader.channels == 1
    return 1 if mono else None


def part_of(seconds: float) -> tuple[float, float]:
    """Which part of a sound is made anew unless somebody says otherwise: its second half, in s.

    >>> part_of(0.49), part_of(12.0)
    ((0.24, 0.49), (6.0, 12.0))
    """
    # Rounded down, so that the part never ends behind the sound.
    return int(50 * seconds) / 100, int(100 * seconds) / 100
