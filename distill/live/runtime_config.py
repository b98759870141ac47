"""The settings of a running training in a file that people and programs change; its content alone decides."""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.configs import TrainingConfig, VQVAEConfig
from distill.errors import ArtifactError, DistillError, StorageError, UsageError
from distill.files import read_json, write_bytes, write_json
from distill.live.parameters import Settings
from distill.locks import wait_for
from distill.params import resolve

logger = logging.getLogger(__name__)

SCHEMA = 1

# Who wrote what a training itself wrote, or took up.
TRAINING = "training"

# By parameter: what it was and what it is.
Changes = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class ConfigSnapshot:
    """The settings at a step, and those of them that differ from the start: (start, then)."""

    step: int
    values: dict[str, Any]
    changed: Changes


class RuntimeConfigManager:
    """Reads and changes the settings of a running training; safe across threads and processes.

    Every change is one transaction: it is checked as a whole, together with what the file already holds, and either
    all of it is written or nothing. A key that the file leaves out has its value of the start.

    Args:
        config_path: the file; it is made, with every key, where there is none. Beside it lie its lock, a status file
            that says what became of the last edit by hand, and the folder of snapshots.
        base_config: the parameters that the training started with, or a mapping of those of a VQ-VAE.

    Raises:
        StorageError: the file cannot be read or written.
        UsageError: `base_config` is a mapping of no valid parameters.
    """

    def __init__(self, config_path: Path | str, base_config: TrainingConfig | Mapping[str, Any]) -> None:
        self.path = Path(config_path)
        if isinstance(base_config, TrainingConfig):
            self.base = Settings(base_config)
        else:
            self.base = Settings(resolve(VQVAEConfig, dict(base_config), where="base_config"))
        self._guard = threading.RLock()
        self._seen: tuple[bytes, Settings | None] = (b"", None)
        self._good = self.base
        with self._locked():
            if not self.path.exists():
                self._write(self.base.values())
        self._known = self.settings().values()
        self._checked = self._read()

    @property
    def status_path(self) -> Path:
        """The file that tells what became of the last edit by hand."""
        return self.path.with_name(f"{self.path.stem}.status.json")

    @property
    def snapshot_folder(self) -> Path:
        """Where snapshots of the settings lie."""
        return self.path.with_name(f"{self.path.stem}.snapshots")

    def settings(self) -> Settings:
        """What the file holds, or held when it was last right."""
        with self._guard:
            try:
                self._good = self._parsed(self._read())
            except (ArtifactError, UsageError, StorageError):
                logger.debug("%s is not right; what it held before counts", self.path)
            return self._good

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a parameter; `default` where there is no such parameter."""
        return self.settings().values().get(key, default)

    def set(self, key: str, value: Any, validate: bool = True) -> Changes:
        """Change one parameter; see `update`. Without `validate` the value is written as it is.

        The training checks the file in any case; so values that only fit together can be written one after the other.

        Raises:
            UsageError: the change is wrong; nothing is written.
        """
        return self._change({key: value}, validate=validate, who="python")

    def update(self, changes: Mapping[str, Any], *, who: str = "python") -> Changes:
        """Change several parameters at once; what changed, as (old, new).

        Raises:
            UsageError: the changes are wrong; nothing is written.
            ArtifactError: the file was left broken by an edit by hand.
            StorageError: it cannot be written.
        """
        return self._change(dict(changes), validate=True, who=who)

    def reset(self, settings: Settings) -> None:
        """Write the settings of a training whatever the file holds; they count as known.

        An edit that was not taken up yet is lost, which the status file and the log say.

        Raises:
            StorageError: the file cannot be written.
        """
        with self._guard, self._locked():
            lost = self._unseen()
            self._write(settings.values(), TRAINING)
            self._known, self._checked = settings.values(), self._read()
        if lost:
            self.refuse(f"something else was changed at the same time: make it again ({lost})")

    def expect(self, settings: Settings) -> None:
        """Let these settings count as known: the next look reports in what the file differs from them."""
        with self._guard:
            self._known, self._checked = settings.values(), b""

    def check_for_updates(self) -> Changes:
        """What others changed in the file since this manager last looked, as (old, new).

        An edit that is wrong changes nothing; the reason goes to the status file and the log.
        """
        with self._guard:
            try:
                data = self._read()
            except StorageError as error:
                # Reported once.
                if self._checked:
                    self.refuse(str(error))
                self._checked = b""
                return {}
            if data == self._checked:
                return {}
            self._checked = data
            try:
                self._good = self._parsed(data)
            except (ArtifactError, UsageError) as error:
                self.refuse(str(error))
                return {}
            values = self._good.values()
            changes = difference(self._known, values)
            self._known = values
            self._tell(accepted=True, problem=None, changes=changes)
            return changes

    def writer(self) -> str:
        """Who wrote what the file holds: `training`, `python` for another manager, `file` for an edit by hand."""
        try:
            with self._guard, self._locked():
                data, note = self._read(), read_json(self._note, what="note about a writer", schema=SCHEMA)
        except DistillError:
            return "file"
        return str(note["who"]) if note.get("digest") == _digest(data) else "file"

    def save_snapshot(self, step: int) -> Path:
        """Keep the settings as they are, under a step; the file.

        Raises:
            StorageError: it cannot be written.
        """
        path = self._snapshot(step)
        write_json(path, {"schema": SCHEMA, "step": step, "values": self.settings().values()})
        return path

    def load_snapshot(self, step: int) -> Changes:
        """Make the settings those of a snapshot; what changed, as (old, new).

        Raises:
            UsageError: there is no such snapshot, or it does not fit these parameters.
        """
        return self.update(self._read_snapshot(step).values)

    def list_snapshots(self) -> list[ConfigSnapshot]:
        """All snapshots in the order of their steps."""
        steps = sorted(int(path.stem.rpartition("-")[2]) for path in self.snapshot_folder.glob("step-*.json"))
        return [self._read_snapshot(step) for step in steps]

    def compare_snapshots(self, a: int, b: int) -> Changes:
        """What differs between two snapshots, as (in a, in b).

        Raises:
            UsageError: one of them is not there.
        """
        return difference(self._read_snapshot(a).values, self._read_snapshot(b).values)

    def _change(self, changes: dict[str, Any], *, validate: bool, who: str) -> Changes:
        with self._guard, self._locked():
            if validate:
                before = self._parsed(self._read())
                after = before.changed(changes).values()
                old = before.values()
            else:
                old = self._raw(self._read())
                after = {**old, **changes}
            if after != old:
                self._write(after, who)
            # What others changed in between stays to be reported by check_for_updates.
            self._known |= {name: after[name] for name in changes}
            return difference(old, after)

    def _raw(self, data: bytes) -> dict[str, Any]:
        try:
            values = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{self.path} is not JSON ({error}): repair it, or put back what it held") from error
        if not isinstance(values, dict):
            raise ArtifactError(f"{self.path} holds no JSON object: repair it, or put back what it held")
        schema = values.pop("schema", SCHEMA)
        if not isinstance(schema, int) or schema > SCHEMA:
            raise ArtifactError(f"{self.path} has schema {schema!r}; this version reads up to {SCHEMA}")
        return {**self.base.values(), **values}

    def _parsed(self, data: bytes) -> Settings:
        if self._seen[0] == data and self._seen[1] is not None:
            return self._seen[1]
        self._seen = (data, None)
        settings = self.base.changed(self._raw(data))
        self._seen = (data, settings)
        return settings

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return self._text(self._good.values())
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror}") from error

    def _write(self, values: Mapping[str, Any], who: str = "python") -> None:
        # The note comes last: where it is missing, the file holds what is wanted and counts as edited by hand.
        text = self._text(values)
        write_bytes(self.path, text)
        self._sign(text, who)

    def _sign(self, text: bytes, who: str) -> None:
        write_json(self._note, {"schema": SCHEMA, "who": who, "digest": _digest(text)})

    def _unseen(self) -> str:
        """What others wrote into the file since this manager last looked, in words; empty when they did not."""
        try:
            data = self._read()
            if data == self._checked or not self.path.exists():
                return ""
            changes = difference(self._known, self._parsed(data).values())
        except (ArtifactError, UsageError, StorageError) as error:
            return str(error)
        return ", ".join(f"{name} {old} -> {new}" for name, (old, new) in changes.items())

    def _text(self, values: Mapping[str, Any]) -> bytes:
        # In the order of the table, which keeps what belongs together on neighbouring lines.
        try:
            return json.dumps({"schema": SCHEMA, **values}, indent=2, allow_nan=False).encode() + b"\n"
        except (TypeError, ValueError) as error:
            raise UsageError(f"a value that JSON cannot hold: {error}") from error

    def acknowledge(self, changes: Changes, step: int) -> None:
        """Say in the status file that an edit took effect when the training had done `step` steps; it is taken up."""
        self._tell(accepted=True, problem=None, changes=changes, step=step)
        try:
            with self._guard, self._locked():
                # What somebody has written meanwhile is signed by them.
                if self._read() == self._checked:
                    self._sign(self._checked, TRAINING)
        except StorageError as error:
            logger.warning("%s", error)

    def refuse(self, problem: str) -> None:
        """Say in the status file and the log why an edit is not applied."""
        logger.warning("a change of %s is not applied: %s", self.path, problem)
        self._tell(accepted=False, problem=problem, changes={})

    def _tell(self, *, accepted: bool, problem: str | None, changes: Changes, step: int | None = None) -> None:
        values = {"schema": SCHEMA, "accepted": accepted, "problem": problem, "step": step, "changes": changes}
        try:
            write_json(self.status_path, values)
        except StorageError as error:
            logger.warning("%s", error)

    @property
    def _note(self) -> Path:
        return self.path.with_name(f".{self.path.stem}.writer.json")

    def _snapshot(self, step: int) -> Path:
        return self.snapshot_folder / f"step-{step:09d}.json"

    def _read_snapshot(self, step: int) -> ConfigSnapshot:
        path = self._snapshot(step)
        if not path.is_file():
            raise UsageError(f"{self.snapshot_folder} has no snapshot of step {step}")
        values = read_json(path, what="snapshot of settings", schema=SCHEMA)["values"]
        return ConfigSnapshot(step, values, difference(self.base.values(), values))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the one writer among threads and processes; the system frees what a dead one held."""
        descriptor = wait_for(self.path.with_name(f".{self.path.stem}.lock"))
        try:
            yield
        finally:
            os.close(descriptor)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    """The values that are not the same, as (before, after); None stands for a missing one."""
    names = [*before, *(name for name in after if name not in before)]
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
