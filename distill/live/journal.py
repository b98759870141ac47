"""The journal of live changes to a training: JSON lines, read before the training starts."""

import json
from pathlib import Path
from typing import Any

from distill.errors import ArtifactError, StorageError
from distill.files import storage_errors


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All entries of a journal; none when the file is not there.

    Raises:
        ArtifactError: a line is not a JSON object.
        StorageError: the file cannot be read.
    """
    try:
        with storage_errors(path, "read"):
            lines = path.read_text(encoding="utf-8").splitlines()
    except StorageError:
        if path.exists():
            raise
        return []
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise ArtifactError(f"{path}, line {number}: not a journal entry (a JSON object): repair or empty the file")
        entries.append(entry)
    return entries


def require_empty(path: Path) -> None:
    """Make sure that a journal asks for no change.

    Raises:
        ArtifactError: there are entries, which this version cannot replay.
    """
    if read_journal(path):
        raise ArtifactError(f"{path} holds live changes, which this version cannot replay: empty it")
