"""Access secrets of servers: random ones, which a project keeps readable by its owner alone."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from distill.errors import StorageError, UsageError
from distill.files import storage_errors

# A shorter one can be guessed by trying.
LEAST_CHARACTERS = 16
# What others of the machine may do with a file.
_OTHERS = 0o077


def read_or_create(path: Path) -> str:
    """The secret in a file that only its owner may read; a new one where there is none, or where others could read it.

    Raises:
        StorageError: the file cannot be read or written.
    """
    with storage_errors(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if path.stat().st_mode & _OTHERS:
                path.unlink()
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(_created(fresh), "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(32))
            # The first process wins, and no one reads half of it.
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass
            except OSError:
                # As on FAT, which has no links.
                with suppress(FileExistsError), os.fdopen(_created(path), "w", encoding="ascii") as file:
                    file.write(fresh.read_text(encoding="ascii"))
        finally:
            fresh.unlink(missing_ok=True)
    with storage_errors(path, "read"):
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    try:
        return check_token(text, str(path))
    except UsageError as error:
        raise StorageError(f"{error}, or delete the file") from error


def _created(path: Path) -> int:
    """A new file that only its owner may read, open for writing."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def check_token(token: str, where: str) -> str:
    """A token that the user chose, which must be hard to guess.

    Raises:
        UsageError: it is empty, short, or has characters that do not fit into an address.
    """
    if len(token) < LEAST_CHARACTERS:
        raise UsageError(f"{where}: a token needs at least {LEAST_CHARACTERS} characters, this has {len(token)}")
    if not all(each.isascii() and (each.isalnum() or each in "-._~") for each in token):
        raise UsageError(f"{where}: a token is of letters, digits and - . _ ~ only")
    return token
