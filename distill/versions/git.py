"""What git says of a project and of the running code: the commit, and whether what decides a model differs from it."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import distill
from distill.errors import StorageError
from distill.programs import reason_in

# Whatever else changes in a project, such as its lock, its models and its reports, follows from these.
SOURCES = ("distill", "flows", "pyproject.toml", "constraints.txt", "params.yaml", "dvc.yaml", "*.dvc", "journal")


# By these git names a repository; in a hook they name one that is none of ours.
_REPOSITORY = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX"),
        *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE"),
    }
)


@dataclass(frozen=True)
class SourceState:
    """The commit that is checked out (None outside of git) and whether code, parameters or data differ from it."""

    commit: str | None
    dirty: bool


def source_state(project: Path, data: str | None = None) -> SourceState:
    """The state of a project's sources; `data` names a folder of sounds, relative to it, that git tracks itself."""
    done = _git(project, "rev-parse", "HEAD")
    if done.returncode:
        return SourceState(None, dirty=True)
    tracked = [*SOURCES, *([data] if data and not Path(data).is_absolute() and ".." not in Path(data).parts else [])]
    changed = _git(project, "status", "--porcelain", "--untracked-files=normal", "--", *tracked)
    return SourceState(done.stdout.strip(), dirty=bool(changed.returncode or changed.stdout.strip()))


def code_state() -> SourceState:
    """The state of the code of distill that runs here; an installed package has no commit."""
    package = Path(distill.__file__).resolve().parent
    if _git(package, "ls-files", "--error-unmatch", "__init__.py").returncode:
        return SourceState(None, dirty=False)
    changed = _git(package, "status", "--porcelain", "--untracked-files=normal", "--", ".")
    commit = _git(package, "rev-parse", "HEAD").stdout.strip()
    return SourceState(commit or None, dirty=bool(changed.returncode or changed.stdout.strip()))


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints.

    Raises:
        StorageError: git is not there or the command failed.
    """
    done = _git(folder, *arguments)
    if done.returncode:
        verb = next((each for each in arguments if not each.startswith("-") and "=" not in each), "")
        reason = reason_in(done.stderr, "fatal: ", "error: ")
        raise StorageError(f"git {verb} failed in {folder}: {reason}")
    return done.stdout


def without_repository() -> dict[str, str]:
    """The environment without what git tells the programs that it starts, such as hooks, of its own repository."""
    return {name: value for name, value in os.environ.items() if name not in _REPOSITORY}


def merge(folder: Path, mine: bytes, base: bytes, theirs: bytes) -> tuple[bytes, bool]:
    """A text with the changes of two sides since their base, and whether they merge cleanly; conflicts are marked.

    Raises:
        StorageError: git is not there or cannot merge them.
    """
    with tempfile.TemporaryDirectory(prefix="distill-merge-") as temporary:
        paths = [Path(temporary) / name for name in ("yours", "before", "distill")]
        for path, content in zip(paths, (mine, base, theirs), strict=True):
            path.write_bytes(content)
        done = _git(folder, "merge-file", "-L", "yours", "-L", "before", "-L", "distill", *map(str, paths))
        # It exits with the number of conflicts, or with 255 where it could not read.
        if not 0 <= done.returncode < 128:
            raise StorageError(f"git merge-file failed: {done.stderr.strip()}")
        return paths[0].read_bytes(), done.returncode == 0


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", *arguments]
    try:
        return subprocess.run(
            command,
            cwd=folder,
            # There is no one to answer a prompt.
            env={**without_repository(), "GIT_TERMINAL_PROMPT": "0"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", "git is not installed")
