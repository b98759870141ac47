"""The journal of live changes to a training: JSON lines, each written before it takes effect, replayed at the start."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from distill.errors import ArtifactError, StorageError
from distill.files import canonical_json, storage_errors, write_bytes

SCHEMA = 1
ROLLBACK = "rollback"
# The stages that may be tuned while they run.
TUNABLE = ("train_vqvae", "train_prior")
# A journal without entries: DVC warns of files without a byte.
EMPTY = b"\n"


@dataclass(frozen=True)
class Entry:
    """A change that took effect when a training had done `step` steps.

    `change` names the new values; or it is `{"rollback": S}`: the training went back to step S, and `result` names as
    `kept` the sequence number of the last entry that still counts (0: none). Else `result` has (old, new) by parameter.
    """

    stage: str
    seq: int
    step: int
    who: str
    change: dict[str, Any]
    result: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def effect(self) -> dict[str, Any]:
        """What of it decides the outcome of the training."""
        return {"step": self.step, "change": self.change}

    def line(self) -> bytes:
        """The entry as it stands in a journal."""
        return canonical_json(asdict(self)) + b"\n"


class Journal:
    """The journal of one training, in a file that need not be there.

    A last line that was cut off when its writer died never took effect; it is left out.
    """

    def __init__(self, path: Path, stage: str) -> None:
        self.path, self.stage = path, stage

    def entries(self) -> list[Entry]:
        """All entries in order of sequence.

        Raises:
            ArtifactError: a line is no entry of this training's journal, or of a newer schema.
            StorageError: the file cannot be read.
        """
        return [entry for entry in read_entries(self.path) if self._mine(entry)]

    def effective(self) -> list[Entry]:
        """The entries that count, without those that a rollback abandoned, in the order of their steps."""
        return effective(self.entries())

    def append(self, step: int, who: str, change: Mapping[str, Any], result: Mapping[str, Any]) -> Entry:
        """Add an entry, which is on the disk when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        entries = self.entries()
        seq = entries[-1].seq + 1 if entries else 1
        entry = Entry(self.stage, seq, step, who, dict(change), dict(result))
        with storage_errors(self.path, "read"):
            data = self.path.read_bytes() if self.path.exists() else b""
        data = data[: _whole(data)]
        write_bytes(self.path, data + (b"\n" if data and not data.endswith(b"\n") else b"") + entry.line())
        return entry

    def replace(self, entries: Iterable[Entry]) -> None:
        """Make the journal hold these entries, those of other trainings left out.

        Raises:
            StorageError: it cannot be written.
        """
        write_bytes(self.path, b"".join(entry.line() for entry in entries if entry.stage == self.stage) or EMPTY)

    def _mine(self, entry: Entry) -> bool:
        if entry.stage != self.stage:
            raise ArtifactError(f"{self.path} holds changes to {entry.stage}, not to {self.stage}: put them elsewhere")
        return True


def read_entries(path: Path) -> list[Entry]:
    """The entries of a journal, of whatever trainings; none when the file is not there.

    Raises:
        ArtifactError: a line is no entry, or of a newer schema.
        StorageError: the file cannot be read.
    """
    try:
        with storage_errors(path, "read"):
            data = path.read_bytes()
    except StorageError:
        if path.exists():
            raise
        return []
    lines = [(number, line) for number, line in enumerate(data[: _whole(data)].splitlines(), 1) if line.strip()]
    return in_sequence([_entry(line, f"{path}, line {number}") for number, line in lines], str(path))


def in_sequence(entries: list[Entry], where: str) -> list[Entry]:
    """The entries, of which each training's must be numbered upward.

    Raises:
        ArtifactError: they are not.
    """
    last: dict[str, int] = {}
    for entry in entries:
        if entry.seq <= last.get(entry.stage, 0):
            raise ArtifactError(f"{where}: entry {entry.seq} of {entry.stage} stands behind {last[entry.stage]}")
        last[entry.stage] = entry.seq
    return entries


def effective(entries: Iterable[Entry]) -> list[Entry]:
    """The entries of one training that count, without those that a rollback abandoned."""
    kept: list[Entry] = []
    for entry in entries:
        if ROLLBACK in entry.change:
            kept = [each for each in kept if each.seq <= entry.result["kept"]]
        else:
            kept.append(entry)
    return kept


def effective_by_stage(paths: Iterable[Path]) -> dict[str, list[dict[str, Any]]]:
    """The entries that count in some journals, as model files carry them, by training.

    Raises:
        ArtifactError: a file is no journal of a training, or two hold changes to the same one.
        StorageError: a file is not there or cannot be read.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        if not path.is_file():
            raise StorageError(f"cannot read {path}: no such file")
        entries = read_entries(path)
        for stage in dict.fromkeys(entry.stage for entry in entries):
            if stage not in TUNABLE:
                raise ArtifactError(f"{path} holds changes to {stage}, which is none of {', '.join(TUNABLE)}")
            if stage in found:
                raise ArtifactError(f"{path} holds changes to {stage}, and so does a journal before it")
            found[stage] = for_model_file(effective(entry for entry in entries if entry.stage == stage))
    return found


def effects_of(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """What decides the outcome of a training: the steps and new values, without who made them."""
    return [entry.effect for entry in entries]


def for_model_file(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Effective entries for a model file: numbered from 1, without who made them."""
    return [asdict(Entry(entry.stage, seq, entry.step, "", entry.change)) for seq, entry in enumerate(entries, start=1)]


def parse_entry(value: Any, where: str) -> Entry:
    """An entry from its JSON object.

    Raises:
        ArtifactError: it is none, or of a newer schema.
    """
    if not isinstance(value, dict) or not isinstance(value.get("schema"), int):
        raise ArtifactError(f"{where}: not a journal entry (a JSON object with a schema): repair or empty the file")
    if value["schema"] > SCHEMA:
        raise ArtifactError(f"{where}: schema {value['schema']} is newer than {SCHEMA}: update distill")
    try:
        entry = Entry(**value)
    except TypeError as error:
        raise ArtifactError(f"{where}: not a journal entry: {error}") from error
    numbers = all(isinstance(each, int) and each >= 0 for each in (entry.seq, entry.step))
    dicts = isinstance(entry.change, dict) and isinstance(entry.result, dict)
    if not (numbers and dicts and entry.change and isinstance(entry.stage, str)):
        raise ArtifactError(f"{where}: not a journal entry: stage, seq, step or change is missing or wrong")
    if ROLLBACK in entry.change and not isinstance(entry.result.get("kept"), int):
        raise ArtifactError(f"{where}: a rollback that does not say which entries it kept")
    return entry


def _entry(line: bytes, where: str) -> Entry:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    return parse_entry(value, where)


def _whole(data: bytes) -> int:
    """The length of a journal without a last line that was cut off, in bytes."""
    end = data.rfind(b"\n") + 1
    try:
        json.loads(data[end:])
    except (ValueError, RecursionError):
        return end
    return len(data)
