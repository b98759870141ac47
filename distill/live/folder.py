"""The folder by which a running training is steered: its settings, requests and answers."""

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.errors import DistillError, StorageError, TrainingError, UsageError
from distill.files import read_json, storage_errors, write_json
from distill.locks import is_held, tried

SCHEMA = 1
POLL_SECONDS = 0.02
# How long people wait for the answer of a training, in s, unless they say otherwise.
WAIT_SECONDS = 120.0
# Of a measurement: its file's name is longer, and file systems have limits.
LONGEST_NAME = 100
# Of a file's name file systems take 255, with its ending and that of what replaces it.
_MOST_BYTES = 200
# A check whether a training runs holds the lock for a moment.
LOCK_SECONDS = 2.0


@dataclass(frozen=True)
class Request:
    """A command for a running training, its arguments, and who sent it."""

    id: str
    command: str
    arguments: dict[str, Any]
    who: str


class RunFolder:
    """The folder `.distill/live/STAGE` of a workspace."""

    def __init__(self, workspace: Path, stage: str) -> None:
        self.workspace, self.stage = workspace, stage
        self.root = workspace / ".distill" / "live" / stage

    @property
    def config_file(self) -> Path:
        """The settings that may be changed; see `RuntimeConfigManager`."""
        return self.root / "runtime_config.json"

    @property
    def validations(self) -> Path:
        """Measurements that commands asked for."""
        return self.root / "validations"

    def note(self, state: Path, start: Mapping[str, Any]) -> None:
        """Note which folder of checkpoints the training uses, and its settings at the start."""
        folder = os.path.relpath(state, self.workspace)
        write_json(self._note, {"schema": SCHEMA, "state": folder, "start": dict(start)})

    def noted(self) -> tuple[Path, dict[str, Any]]:
        """What `note` noted: the folder of checkpoints, and the settings at the start.

        Raises:
            StorageError: nothing has been trained here.
            ArtifactError: the note is damaged or of a newer schema.
        """
        values = read_json(self._note, what="note about a training", schema=SCHEMA)
        return self.workspace / values["state"], values["start"]

    def begun(self) -> bool:
        """Whether a training has begun here; one that only holds the folder so far has nothing to tell."""
        return self._note.is_file()

    def running(self) -> bool:
        """Whether a training holds this folder; the system lets go of it when the training dies."""
        return is_held(self._lock)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold this folder for a training; requests to an earlier one are removed.

        Raises:
            StorageError: another training is, or the folder cannot be written.
        """
        with storage_errors(self.root, "write into"):
            self._requests.mkdir(parents=True, exist_ok=True)
            self._answers.mkdir(exist_ok=True)
        with tried(self._lock, LOCK_SECONDS) as alone:
            if not alone:
                raise StorageError(f"another process is training in {self.workspace}: wait for it")
            for path in (*self._requests.iterdir(), *self._answers.iterdir()):
                path.unlink(missing_ok=True)
            yield

    def pending(self) -> list[Request]:
        """The requests that wait, in order."""
        try:
            names = sorted(os.listdir(self._requests))  # noqa: PTH208, it is asked at every step
        except OSError:
            # Without the folder no request can come; that is no reason to end a training.
            return []
        found = []
        for name in names:
            path = self._requests / name
            if not name.endswith(".json") or name.startswith("."):
                continue
            try:
                value = read_json(path, what="request", schema=SCHEMA)
                found.append(Request(path.stem, value["command"], value["arguments"], value["who"]))
            except (DistillError, KeyError):
                # Requests are written whole: this one is none, or it was given up.
                with suppress(OSError):
                    path.unlink()
        return found

    def take(self, request: Request) -> bool:
        """Take up a request, which nobody can withdraw from then on; False: it was withdrawn, or cannot be taken."""
        try:
            self._request(request.id).replace(self._taken(request.id))
        except OSError:
            # Whatever stands in the way, it is no reason to end a training.
            return False
        return True

    def answer(self, request: Request, *, refused: str | None = None, **values: Any) -> None:
        """Answer a request, as done or refused."""
        write_json(self._answers / f"{request.id}.json", {"schema": SCHEMA, "refused": refused, **values})
        self._taken(request.id).unlink(missing_ok=True)

    def ask(
        self, command: str, arguments: Mapping[str, Any], *, who: str, timeout: float = WAIT_SECONDS
    ) -> dict[str, Any]:
        """Send the training a command and wait for its answer, at most `timeout` s.

        Raises:
            UsageError: the training refuses.
            TrainingError: no training runs here, or it does not answer.
            StorageError: the folder cannot be written.
        """
        if not self.running():
            raise TrainingError(f"{self.stage} of {self.workspace} is not running")
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        request, answer = self._request(name), self._answers / f"{name}.json"
        write_json(request, {"schema": SCHEMA, "command": command, "arguments": dict(arguments), "who": who})
        until = time.monotonic() + timeout
        try:
            while not answer.exists():
                # In this order: it may answer and end between two looks.
                if not self.running() and not answer.exists():
                    raise TrainingError(f"{self.stage} of {self.workspace} ended before it answered")
                if time.monotonic() > until:
                    raise TrainingError(
                        f"{self.stage} of {self.workspace} has not answered for {timeout:g} s: {self._withdrawn(name)}"
                    )
                time.sleep(POLL_SECONDS)
            values = read_json(answer, what="answer", schema=SCHEMA)
        finally:
            with suppress(OSError):
                request.unlink(missing_ok=True)
                answer.unlink(missing_ok=True)
        if values["refused"] is not None:
            raise UsageError(values["refused"])
        return {key: value for key, value in values.items() if key not in ("schema", "refused")}

    def _withdrawn(self, name: str) -> str:
        """What has become of a request that nobody waits for any more, in words."""
        try:
            self._request(name).unlink()
        except FileNotFoundError:
            return "it has begun to carry out the request, and distill run list shows what comes of it"
        return "nothing was changed; it may be in a long evaluation, so wait longer (--wait)"

    def validation(self, name: str) -> Path:
        """The file of a named measurement.

        Raises:
            UsageError: it cannot be a name.
        """
        # A number alone means the checkpoint of a step.
        short = 0 < len(name) <= LONGEST_NAME and len(name.encode(errors="surrogateescape")) <= _MOST_BYTES
        usable = short and all(each.isalnum() or each in "._-" for each in name)
        if not usable or name.startswith(".") or name.isdigit():
            raise UsageError(
                f"{name[:LONGEST_NAME]!r} is no name: use at most {LONGEST_NAME} letters, digits, dots and dashes, "
                f"of at most {_MOST_BYTES} bytes, and not digits alone"
            )
        return self.validations / f"{name}.json"

    @property
    def _note(self) -> Path:
        return self.root / "state.json"

    @property
    def _lock(self) -> Path:
        return self.root / ".lock"

    @property
    def _requests(self) -> Path:
        return self.root / "requests"

    def _request(self, name: str) -> Path:
        return self._requests / f"{name}.json"

    def _taken(self, name: str) -> Path:
        return self._requests / f".{name}.taken"

    @property
    def _answers(self) -> Path:
        return self.root / "answers"


def value_of(text: str) -> Any:
    """A value as it is typed: a number, or true and false, else the text itself.

    >>> value_of("1e-4"), value_of("20"), value_of("fast"), value_of("NaN")
    (0.0001, 20, 'fast', 'NaN')
    """
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except ValueError:
        return text
    return value
