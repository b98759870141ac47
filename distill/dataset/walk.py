"""The files of a folder in one order, whatever the file system."""

import os
import stat
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from distill.dataset.labels import TABLE
from distill.errors import DataError


@dataclass(frozen=True)
class Found:
    """A file: where it is, its name below the source (POSIX, NFC), why it cannot be looked at, if so, and its bytes.

    No two files of a source have one name: of those whose names differ only in how accents are composed, or that hold
    bytes that are no UTF-8, the first keeps it. The others' last parts are written as escapes, or behind underscores.
    """

    path: Path
    name: str
    problem: str = ""
    size: int = 0


def find_files(source: Path) -> list[Found]:
    """Every file below a folder, or the one file that `source` is, sorted by the bytes of its name.

    Names that start with a dot are left out. Links are followed; a folder is entered once, under its own name rather
    than a link's, so that a loop of links ends.

    Raises:
        DataError: there is no such folder or file.
    """
    if source.is_file():
        return [Found(source, _name(source.name), size=source.stat().st_size)]
    if not source.is_dir():
        raise DataError(f"{source}: no such folder or file; give the folder of your sounds")
    found: list[Found] = []
    seen: set[tuple[int, int]] = set()
    folders: list[tuple[Path, str]] = [(source, "")]
    links: list[tuple[Path, str]] = []
    while folders or links:
        # Linked folders wait until all true ones are known.
        folder, prefix = folders.pop() if folders else links.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            found.append(Found(folder, prefix.rstrip("/") or ".", f"the folder cannot be listed: {error.strerror}"))
            continue
        for entry in entries:
            # The table beside the sounds is about them.
            if entry.name.startswith(".") or (not prefix and entry.name == TABLE):
                continue
            path, name = Path(entry.path), prefix + _name(entry.name)
            try:
                about = entry.stat()
            except OSError as error:
                found.append(Found(path, name, f"it cannot be opened: {error.strerror}"))
                continue
            if stat.S_ISDIR(about.st_mode):
                (links if entry.is_symlink() else folders).append((path, name + "/"))
            else:
                found.append(Found(path, name, size=about.st_size))
        links.sort(key=lambda item: item[1].encode())
    if len({item.name for item in found}) < len(found):
        found = list(_distinct(found))
    return sorted(found, key=lambda item: item.name.encode())


def count_files(source: Path, extensions: Collection[str]) -> int:
    """How many of the files that `find_files` gives can be looked at and have one of some extensions, such as .wav.

    It takes a tenth of the time, as it looks at no file itself.

    Raises:
        DataError: there is no such folder or file.
    """
    if source.is_file():
        return int(source.suffix.lower() in extensions)
    if not source.is_dir():
        raise DataError(f"{source}: no such folder or file; give the folder of your sounds")
    count, seen, folders = 0, set[tuple[int, int]](), [os.fspath(source)]
    while folders:
        folder = folders.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116, the same
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        folders.append(entry.path)
                    elif os.path.splitext(entry.name)[1].lower() in extensions:  # noqa: PTH122, ten times as fast
                        count += not entry.is_symlink() or Path(entry.path).exists()
        except OSError:
            continue
    return count


def _distinct(found: list[Found]) -> Iterator[Found]:
    names: set[str] = set()
    for item in sorted(found, key=lambda item: (item.name.encode(), os.fsencode(item.path))):
        name = item.name
        if name in names:
            # Its first folder is its label, and stays.
            folder, slash, _ = name.rpartition("/")
            own = item.path.name.encode("unicode_escape").decode()
            while (name := f"{folder}{slash}{own}") in names:
                own = f"_{own}"
        names.add(name)
        yield item if name == item.name else replace(item, name=name)


def _name(name: str) -> str:
    """A file's name as text that any file can hold: NFC, bytes that are not UTF-8 written as escapes."""
    return unicodedata.normalize("NFC", name.encode("utf-8", "backslashreplace").decode())
