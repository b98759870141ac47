"""What one browser sees of the tab Library: the models that were read, what is open, what is compared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distill.errors import UsageError
from distill.registry.catalogue import Entry, compare
from distill.ui.cards import empty_hint
from distill.ui.shelf import differences_of, key_of, places_of


@dataclass(frozen=True)
class Shelf:
    """The models as they were last read, which takes a while."""

    entries: tuple[Entry, ...] = ()

    def entry(self, key: str) -> Entry | None:
        """The model with a key, if it is still there."""
        return next((entry for entry in self.entries if key_of(entry) == key), None)

    def opened(self, view: "View") -> Entry:
        """The model whose details are open.

        Raises:
            UsageError: there is none.
        """
        entry = self.entry(view.shown)
        if entry is None:
            raise UsageError("open the details of a model first")
        return entry

    def compared(self, view: "View") -> list[Entry]:
        """The models that are compared, of those that are still there."""
        return [entry for entry in map(self.entry, view.compared) if entry is not None]


@dataclass(frozen=True)
class View:
    """What is open in one browser; only what is pressed changes it.

    Attributes:
        shown: key of the model whose details are open; empty: none.
        compared: keys of up to two models that are compared.
        asked: what the open question is about: to delete or to promote all the same, and the reference.
    """

    shown: str = ""
    compared: tuple[str, ...] = ()
    asked: tuple[Literal["delete", "promote"], str] | None = None


def differences_shown(shelf: Shelf, view: View, project: Path) -> str:
    """How the two compared models differ; with one of them, that a second one is to be chosen."""
    entries = shelf.compared(view)
    if len(entries) < 2:
        return empty_hint("Choose a second model to compare with.") if entries else ""
    references = [places_of(entry, project)[0][1] for entry in entries]
    names = [f"{entry.manifest.metadata.name} ({places_of(entry, project)[0][0]})" for entry in entries]
    return differences_of(compare(references, project), names)
