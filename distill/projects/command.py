"""Calling `dvc` as a command and saying in one line what it complained about."""

import subprocess
import sys
from pathlib import Path

from distill.errors import StorageError
from distill.projects.git import without_repository


def dvc(folder: Path, *arguments: str) -> str:
    """What a DVC command prints.

    Raises:
        StorageError: the command failed.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=without_repository(), capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it gave no reason"]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1]).removeprefix("ERROR: ")
        if "requires 'dvc-s3'" in reason:
            reason = "S3 needs pip install 'distill-audio[s3]'"
        raise StorageError(f"dvc {' '.join(arguments)} failed: {reason}")
    return done.stdout
