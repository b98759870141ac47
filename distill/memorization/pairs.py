"""What the page of a check holds, read back: each generated sound with the training sound it comes nearest to."""

from base64 import b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from distill.errors import ArtifactError
from distill.files import storage_errors


@dataclass(frozen=True)
class Side:
    """A piece of a sound: what the sound is called, and what is heard of it, a FLAC file."""

    name: str
    flac: bytes = field(repr=False)


@dataclass(frozen=True)
class Pair:
    """A generated sound beside the training sound that it comes nearest to, and whether it may be a copy."""

    flagged: bool
    generated: Side
    training: Side


def read_pairs(page: Path) -> list[Pair]:
    """The pairs of a page that `write_page` wrote: those that may be copies first, then the nearest.

    Raises:
        ArtifactError: it is no such page.
        StorageError: it cannot be read.
    """
    with storage_errors(page, "read"):
        text = page.read_bytes()
    reader = _Reader()
    try:
        reader.feed(text.decode())
    except (UnicodeDecodeError, NotBase64) as error:
        raise ArtifactError(f"{page} is not the page of a check: check the model again") from error
    return [Pair(flagged, *sides) for flagged, sides in reader.sections if len(sides) == 2]


class _Reader(HTMLParser):
    """Collects the sections of a page, each with its sides."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: list[tuple[bool, list[Side]]] = []
        self._caption: str | None = None
        self._name = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "section":
            self.sections.append((values.get("class") == "flagged", []))
        elif tag == "figcaption":
            self._caption = ""
        elif tag == "audio" and self.sections:
            flac = b64decode((values.get("src") or "").partition("base64,")[2], validate=True)
            self.sections[-1][1].append(Side(self._name, flac))

    def handle_data(self, data: str) -> None:
        if self._caption is not None:
            self._caption += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "figcaption" and self._caption is not None:
            # Behind the name stands the place of the piece.
            self._name, self._caption = self._caption.rpartition(", ")[0], None
