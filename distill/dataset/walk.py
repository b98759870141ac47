"""The files of a folder in one order, whatever the file system, with work on them spread over threads."""

import os
import stat
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from distill.dataset.labels import TABLE
from distill.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Found:
    """A file: where it is, its name below the source (POSIX, NFC), and why it cannot be looked at, if so.

    No two files of a source have one name: of those whose names differ only in how accents are composed, or that hold
    bytes that are no UTF-8, the first keeps it and the others are named by escapes.
    """

    path: Path
    name: str
    problem: str = ""


def find_files(source: Path) -> list[Found]:
    """Every file below a folder, or the one file that `source` is, sorted by the bytes of its name.

    Names that start with a dot are left out. Links are followed; a folder is entered once, under its own name rather
    than a link's, so that a loop of links ends.

    Raises:
        DataError: there is no such folder or file.
    """
    if source.is_file():
        return [Found(source, _name(source.name))]
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
                kind = entry.stat().st_mode
            except OSError as error:
                found.append(Found(path, name, f"it cannot be opened: {error.strerror}"))
                continue
            if stat.S_ISDIR(kind):
                (links if entry.is_symlink() else folders).append((path, name + "/"))
            else:
                found.append(Found(path, name))
        links.sort(key=lambda item: item[1].encode())
    return sorted(_distinct(found, source), key=lambda item: item.name.encode())


def _distinct(found: list[Found], source: Path) -> Iterator[Found]:
    names: set[str] = set()
    for item in sorted(found, key=lambda item: (item.name.encode(), os.fsencode(item.path))):
        name = item.name
        if name in names:
            name = item.path.relative_to(source).as_posix().encode("unicode_escape").decode()
        while name in names:
            name = f"_{name}"
        names.add(name)
        yield replace(item, name=name)


def _name(name: str) -> str:
    """A file's name as text that any file can hold: NFC, bytes that are not UTF-8 written as escapes."""
    return unicodedata.normalize("NFC", name.encode("utf-8", "backslashreplace").decode())


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Results in the order of the items, computed by so many threads, few of them waiting at any time.

    Threads and not processes: decoding, resampling, hashing and Fourier transforms all release the interpreter's lock,
    and a process would first spend seconds on importing torch.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    import torch

    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def single_threaded_torch() -> Iterator[None]:
    """Let torch use one thread for each call, so that results depend on no number of workers."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
