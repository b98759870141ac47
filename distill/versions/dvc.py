"""Calling `dvc` as a command, and the sounds that it keeps behind pointer files."""

import subprocess
from pathlib import Path

from distill.errors import DataError, StorageError
from distill.programs import PYTHON, reason_in
from distill.versions.git import without_repository

# What a store says to keys, and what to do about it.
KEY_REASONS = {
    "InvalidAccessKeyId": "the S3 store does not know AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is wrong",
    "Unable to locate credentials": "the S3 store needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}
# The same of what DVC says of a remote that cannot be used.
_REASONS = {
    **KEY_REASONS,
    "requires 'dvc-s3'": "S3 needs pip install 'distill-audio[s3]'",
    "Could not connect to the endpoint": "the S3 store does not answer: start it, or correct AWS_ENDPOINT_URL",
    "NoSuchBucket": "the bucket does not exist: make it, or correct the remote's address (dvc remote list)",
}


def settings(folder: Path) -> dict[str, str]:
    """DVC's settings of a project by their dotted names; it names folders by their absolute paths.

    Raises:
        StorageError: it fails.
    """
    lines = (line.partition("=") for line in dvc(folder, "config", "--list").splitlines())
    return {name: value for name, _, value in lines}


def dvc(folder: Path, *arguments: str) -> str:
    """What a DVC command prints.

    Raises:
        StorageError: the command failed.
    """
    command = [*PYTHON, "-m", "dvc", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=without_repository(), capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        reason = reason_in(done.stderr, "ERROR: ")
        known = next((words for sign, words in _REASONS.items() if sign in reason), reason)
        raise StorageError(f"dvc {' '.join(arguments)} failed: {known}")
    return done.stdout


def pointer_of(root: Path, path: str) -> Path | None:
    """The pointer file that stands for the sounds at a path: theirs, or that of a folder around them.

    Args:
        root: the project folder.
        path: relative to it, or absolute.
    """
    root = root.absolute()
    target = root / path
    for each in (target, *target.parents):
        if each in (root, *root.parents):
            return None
        if (pointer := each.with_name(f"{each.name}.dvc")).is_file():
            return pointer
    return None


def check_out(root: Path, path: str, *, remote: bool = False) -> Path:
    """The sounds that `data.path` names, brought from DVC's cache where only their pointer is there.

    Args:
        root: the project folder.
        path: relative to it, or absolute.
        remote: also ask DVC's remote, which may be on the network.

    Raises:
        DataError: they are nowhere.
    """
    target = root / path
    if target.exists():
        return target
    pointer = pointer_of(root, path)
    if pointer is None:
        raise DataError(f"{target}: there are no such sounds, and no DVC file {target.name}.dvc beside them")
    if pointer.with_suffix("").exists():
        # What is there may have been changed by hand, which a checkout would undo.
        raise DataError(f"{target}: there are no such sounds in {pointer.with_suffix('').name}")
    try:
        dvc(pointer.parent, "checkout", f"./{pointer.name}")
    except StorageError as error:
        if not remote:
            raise DataError(f"the sounds of {path} are not in DVC's cache: run dvc pull {pointer}") from error
        try:
            dvc(pointer.parent, "pull", f"./{pointer.name}")
        except StorageError as failed:
            raise DataError(f"the sounds of {path} are neither in DVC's cache nor on a remote ({failed})") from failed
    if not target.exists():
        raise DataError(f"{target}: there are no such sounds in {pointer.with_suffix('').name}")
    return target
