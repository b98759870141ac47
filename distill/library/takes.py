"""Takes: every generated sound of a project, and what the user thinks of each.

The sounds lie in the folder `generated/` with their sidecars. Which ones are kept or dropped, and what they are called,
is in `generated/takes.json`. A sound that is dropped stays where it is, and can be taken back.
"""

import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill.audio.downmix import place_of
from distill.audio.loudness import loudest_lufs
from distill.audio.samples import downmix
from distill.audio.sound import EXTENSIONS, SoundError, read_sound
from distill.audio.waveform import waveform_path
from distill.errors import ArtifactError, DistillError, StorageError, UsageError
from distill.files import free_name, plain_name, read_json, replacing, storage_errors, write_json
from distill.generation.sidecar import Sidecar, read_sidecar, sidecar_of
from distill.locks import acquire

FOLDER, NOTES, SCHEMA = "generated", "takes.json", 1
MOST_NAME = 80
WAVE_POINTS = 240
# Longest wait for the notes, in s; after it their owner counts as hung.
_WAIT_SECONDS, _WAIT_TRIES = 10.0, 500

Shown = Literal["all", "kept", "bin"]


class Note(BaseModel):
    """What the user thinks of a take: whether it is kept, whether it lies in the bin, and its name if it got one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kept: bool = False
    dropped: bool = False
    name: str = Field("", max_length=MOST_NAME)


@dataclass(frozen=True)
class Take:
    """A generated sound.

    Attributes:
        id: its file's path below the folder of generated sounds, with slashes.
        path: the file.
        note: what the user thinks of it.
        made: when the file was written, in s since 1970.
    """

    id: str
    path: Path
    note: Note
    made: float

    @property
    def name(self) -> str:
        """The name that the user gave it, or that of its file."""
        return self.note.name or self.path.stem

    def sidecar(self) -> Sidecar | None:
        """What made it; None where no usable sidecar lies beside it."""
        with suppress(DistillError):
            return read_sidecar(sidecar_of(self.path))
        return None


@dataclass(frozen=True)
class Heard:
    """What a sound is like.

    Attributes:
        seconds: duration.
        lufs: loudness of its loudest 400 ms.
        wave: outline of the waveform, scaled to the sound's own peak, as `waveform_path` gives it.
        place: where it lies between its two channels, and how wide it is, as `place_of` says; None: it is mono.
    """

    seconds: float
    lufs: float
    wave: str
    place: tuple[float, float] | None = None


class Takes:
    """The takes of a project.

    An id from outside is looked up among the existing takes; it is never used as a path.
    """

    def __init__(self, project: Path) -> None:
        self.folder = project / FOLDER

    def all(self) -> list[Take]:
        """Every take, the newest first.

        Raises:
            ArtifactError: the notes are damaged.
            StorageError: the notes cannot be read.
        """
        notes = self._notes()
        found = []
        for path in _sounds(self.folder):
            key = path.relative_to(self.folder).as_posix()
            with suppress(OSError):
                found.append(Take(key, path, notes.get(key, Note()), path.stat().st_mtime))
        return sorted(found, key=lambda take: (-take.made, take.id))

    def dropped(self) -> set[Path]:
        """The sounds in the bin.

        Raises:
            ArtifactError, StorageError: as `all`.
        """
        return {self.folder / key for key, note in self._notes().items() if note.dropped}

    def named(self, ids: Iterable[str]) -> list[Take]:
        """Those with these ids, in their order.

        Raises:
            UsageError: one is not there.
            ArtifactError, StorageError: as `all`.
        """
        known = {take.id: take for take in self.all()}
        wanted = list(dict.fromkeys(ids))
        if missing := [each for each in wanted if each not in known]:
            raise UsageError(f"{missing[0]} is not among the generated sounds any more: open the tab again")
        return [known[each] for each in wanted]

    def mark(
        self, ids: Iterable[str], *, kept: bool | None = None, dropped: bool | None = None, name: str | None = None
    ) -> None:
        """Note something about takes; None leaves a value unchanged, and an empty name stands for the file's own.

        Raises:
            UsageError: one is not there, or several shall have one name, or the name is too long.
            ArtifactError, StorageError: as `all`, or the notes cannot be written.
        """
        takes = self.named(ids)
        given = {"kept": kept, "dropped": dropped, "name": None if name is None else _clean(name)}
        changes = {key: value for key, value in given.items() if value is not None}
        if name is not None and len(takes) != 1:
            raise UsageError("choose one sound to name it")
        with self._alone():
            notes = self._notes()
            for take in takes:
                notes[take.id] = notes.get(take.id, Note()).model_copy(update=changes)
            known = {key: note.model_dump() for key, note in notes.items() if note != Note()}
            write_json(self.folder / NOTES, {"schema": SCHEMA, "takes": known})

    def _notes(self) -> dict[str, Note]:
        path = self.folder / NOTES
        if not path.is_file():
            return {}
        values = read_json(path, what="list of takes", schema=SCHEMA)
        try:
            return {str(key): Note.model_validate(note) for key, note in values["takes"].items()}
        except (KeyError, AttributeError, ValidationError) as error:
            raise ArtifactError(f"{path} is not a usable list of takes: move it away to start a new one") from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time, of all pages on the project."""
        tries = iter(range(_WAIT_TRIES))

        def wait() -> None:
            if next(tries, None) is None:
                raise StorageError(f"another page is using {self.folder / NOTES}: try again")
            time.sleep(_WAIT_SECONDS / _WAIT_TRIES)

        descriptor = acquire(self.folder / f".{NOTES}.lock", wait)
        try:
            yield
        finally:
            os.close(descriptor)


def filter_takes(takes: Iterable[Take], which: Shown, words: str = "") -> list[Take]:
    """Those in the bin, or those that are not, all or the kept ones, whose name or place has all the words."""
    wanted = words.casefold().split()
    return [
        take
        for take in takes
        if take.note.dropped == (which == "bin")
        and (which != "kept" or take.note.kept)
        and all(word in f"{take.name} {take.id}".casefold() for word in wanted)
    ]


def write_zip(takes: Sequence[Take], target: Path) -> None:
    """Write the sounds into a zip file under plain names, each once.

    Raises:
        UsageError: there are none.
        StorageError: a file cannot be read or written.
    """
    if not takes:
        raise UsageError("choose the sounds to export first")
    taken: set[str] = set()
    # A StorageError passes through: it names its own file. A zip has no dates before 1980, which files may have.
    with (
        replacing(target) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive,
    ):
        for take in takes:
            name = free_name(plain_name(take.name), take.path.suffix.lower(), taken)
            with storage_errors(take.path, "read"):
                archive.write(take.path, name)


def copy_takes(takes: Sequence[Take], parent: Path) -> Path:
    """Copy the sounds into a new folder below another one under plain names, each once; the folder.

    Raises:
        UsageError: there are none.
        StorageError: a file cannot be read or written.
    """
    if not takes:
        raise UsageError("choose the sounds to export first")
    taken: set[str] = set()
    with storage_errors(parent, "write"):
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=parent, prefix=".sounds-"))
    try:
        for take in takes:
            name = free_name(plain_name(take.name), take.path.suffix.lower(), taken)
            with storage_errors(take.path, "copy"):
                shutil.copyfile(take.path, temporary / name)
        with storage_errors(parent, "write"):
            temporary.chmod(0o755)
            return _rename_numbered(temporary, parent / "sounds")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_numbered(folder: Path, stem: Path) -> Path:
    """Rename a folder to the first of `STEM-1`, `STEM-2` and so on that is free."""
    for number in range(1, 1 << 31):
        target = stem.with_name(f"{stem.name}-{number}")
        try:
            # An empty folder is replaced by the other one.
            target.mkdir()
        except FileExistsError:
            continue
        return folder.rename(target)
    raise AssertionError("numbers do not end")


def _clean(name: str) -> str:
    cleaned = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    if len(cleaned) > MOST_NAME:
        raise UsageError(f"a name has at most {MOST_NAME} letters, not {len(cleaned)}")
    return cleaned


def _sounds(folder: Path) -> Iterator[Path]:
    """The generated sounds below a folder; those that the sidecars beside them name as given are not generated."""
    for place, _, names in os.walk(folder):
        known = set(names)
        sounds = [name for name in names if Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")]
        bare = [name for name in sounds if f"{name}.json" not in known]
        sidecars = [Path(place, f"{name}.json") for name in sounds if f"{name}.json" in known] if bare else []
        given = {name for sidecar in sidecars for name in _given_names(sidecar)}
        yield from (Path(place, name) for name in sounds if name not in given or name not in bare)


def _given_names(sidecar: Path) -> list[str]:
    """The names of the sounds that a sidecar says were given, if they lie beside it."""
    with suppress(DistillError):
        values: Any = read_json(sidecar, what="sidecar of a sound", schema=1 << 30)
        files = [each for each in (values.get("given_file"), values.get("other_file")) if isinstance(each, dict)]
        return [path for each in files if isinstance(path := each.get("path"), str) and "/" not in path]
    return []


def heard_of(path: Path) -> Heard:
    """What a sound is like, remembered until its file changes.

    Raises:
        OSError: it is gone.
    """
    status = path.stat()
    return _listen(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _listen(path: Path, _changed: int, _size: int) -> Heard:
    try:
        sound = read_sound(path)
    except (SoundError, OSError):
        return Heard(0.0, 0.0, "")
    mono = downmix(sound.samples)
    peak = float(abs(mono).max(initial=0.0)) or 1.0
    return Heard(
        sound.seconds,
        loudest_lufs([sound.samples.T], sound.sample_rate),
        waveform_path(mono / peak, WAVE_POINTS),
        place_of(sound.samples) if len(sound.samples) == 2 else None,
    )
