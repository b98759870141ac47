"""The verdict about copies in plain words, with the sounds that it is about: a new one beside the nearest of yours."""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from html import escape
from pathlib import Path

from distill.errors import DistillError
from distill.files import write_bytes
from distill.memorization.pairs import Pair, Side, read_pairs
from distill.ui.cards import render_template, sound_values
from distill.ui.context import Context

# Where no sound is close, those that come nearest are heard.
NEAREST = 3
GONE = "The sounds of this check are not here any more; distill check makes new ones."


def evidence(words: str, page: Path | None, context: Context) -> str:
    """A verdict with its sounds.

    Args:
        words: the verdict in plain words.
        page: the page of the check; None: it is gone.
        context: the page's surroundings.
    """
    pairs: Sequence[Pair] = ()
    if page is not None:
        status = page.stat()
        pairs = _pairs(page, status.st_mtime_ns, status.st_size)
    close = [pair for pair in pairs if pair.flagged]
    rows = "".join(_row(pair, context) for pair in close or pairs[:NEAREST])
    if not rows:
        said = GONE
    elif close:
        said = "Hear each beside the sound of yours that it is close to."
    else:
        said = "These come nearest; hear each beside the sound of yours that is nearest to it."
    return (
        f"<section class='d-evidence'><h4>{escape(words)}</h4><p class='d-hint'>{said}</p>"
        f"<div class='d-pairs'>{rows}</div></section>"
    )


@lru_cache(maxsize=32)
def _pairs(page: Path, _changed: int, _size: int) -> tuple[Pair, ...]:
    try:
        return tuple(read_pairs(page))
    except DistillError:
        return ()


def _row(pair: Pair, context: Context) -> str:
    sides = _side("New", pair.generated, context) + _side("Yours", pair.training, context)
    return f"<div class='d-close' role='group' aria-label='{escape(pair.generated.name)}'>{sides}</div>"


def _side(whose: str, side: Side, context: Context) -> str:
    path = context.files / "evidence" / f"{sha256(side.flac).hexdigest()[:32]}.flac"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, side.flac)
    sound = render_template("heard", name=f"{whose}: {side.name}", **sound_values(path, context))
    name = escape(side.name)
    return f"<figure><figcaption title='{name}'><b>{whose}</b> {name}</figcaption>{sound}</figure>"
