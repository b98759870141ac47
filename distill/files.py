"""Files that are replaced whole or not at all, canonical JSON, and content digests."""

import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

from distill.errors import ArtifactError, StorageError, UsageError


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no blanks, UTF-8, numbers as Python's shortest repr.

    Raises:
        ValueError: a number is not finite (see `finite`).
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def finite(value: Any) -> Any:
    """A copy of nested dicts and lists in which every number that is not finite is None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def digest_json(value: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        StorageError: the file cannot be read.
    """
    with storage_errors(path, "read"), path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def storage_errors(path: Path, verb: str) -> Iterator[None]:
    """Turn an OSError about `path` into one line for the user."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {verb} {path}: {error.strerror or error}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place, synced to disk, when the block ends well.

    What may read a file that is replaced stays as it was; its owner may also write it.

    When the block raises, `path` is as it was and the temporary file is gone.

    Raises:
        StorageError: the folder or the file cannot be written (permissions, a full disk).
    """
    with storage_errors(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = stat.S_IMODE(path.stat().st_mode) | stat.S_IWUSR if path.is_file() else None
        temporary = path.parent / f".{path.name[:64]}.{secrets.token_hex(8)}.tmp{path.suffix}"
        # The system takes the umask off the mode of a new file.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if kept is None else 0o600))
        try:
            yield temporary
            if kept is not None:
                temporary.chmod(kept)
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file by `data`, whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file (sorted keys, indented), whole or not at all; numbers must be finite.

    Raises:
        StorageError: the file cannot be written.
        ValueError: a number is not finite.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def read_json(path: Path, *, what: str, schema: int) -> dict[str, Any]:
    """Read a JSON object of ours whose `schema` number is at most `schema`.

    Raises:
        StorageError: the file cannot be read.
        ArtifactError: the file is not JSON, not an object, or of a newer schema.
    """
    with storage_errors(path, "read"):
        data = path.read_bytes()
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path} is not a readable {what}: it is no text") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is not a readable {what}: {error}") from error
    except RecursionError as error:
        raise ArtifactError(f"{path} is not a readable {what}: it is nested too deep") from error
    if not isinstance(value, dict) or not isinstance(value.get("schema"), int):
        raise ArtifactError(f"{path} is not a {what}: no schema number in it")
    if value["schema"] > schema:
        raise ArtifactError(
            f"{path} is a {what} of schema {value['schema']}; this version reads up to {schema}: update distill"
        )
    return value


def require_suffix(path: Path | None, suffix: str) -> None:
    """Make sure that a file to write has the ending of its kind, so that it replaces no file of another.

    Raises:
        UsageError: it has not.
    """
    if path is not None and path.suffix.lower() != suffix:
        raise UsageError(f"{path}: the file name must end in {suffix}")


def require_folder(path: Path) -> None:
    """Make sure, before any work, that no file lies where a folder is to be written.

    Raises:
        UsageError: one does.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file: name a folder")


def require_absent(path: Path, hint: str) -> None:
    """Make sure that nothing is where a file or folder is to be written, not even a link that leads nowhere.

    Raises:
        StorageError: something is; `hint` says what to do.
    """
    if os.path.lexists(path):
        raise StorageError(f"{path} exists: {hint}")


def free_path(path: Path) -> Path:
    """The path if nothing is there, else the first of those with `-2`, `-3` and so on behind the stem."""
    paths = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(each for each in chain([path], paths) if not os.path.lexists(each))


def plain_name(text: str) -> str:
    """A name of letters, digits, - and _ only, which every system and sampler takes for a file.

    >>> plain_name("../my kick!"), plain_name("..")
    ('my-kick', 'sound')
    """
    return re.sub(r"[^\w-]+", "-", text).strip("-_")[:60] or "sound"


def free_name(stem: str, suffix: str, taken: set[str]) -> str:
    """A free name, compared without regard to case; it is added to `taken`."""
    number, name = 1, f"{stem}{suffix}"
    while name.casefold() in taken:
        number += 1
        name = f"{stem}_{number}{suffix}"
    taken.add(name.casefold())
    return name


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some file systems cannot sync a folder; the replacement itself is still whole there.
        if not path.is_dir():
            raise
    finally:
        with suppress(OSError):
            os.close(descriptor)
