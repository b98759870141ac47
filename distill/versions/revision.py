"""The sounds of a project as they were in one of its commits, in a temporary worktree."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from distill.errors import DataError, StorageError
from distill.projects.project import find_project
from distill.versions.dvc import check_out, dvc, pointer_of
from distill.versions.git import git


def has_commit(project: Path, commit: str) -> bool:
    """Whether a commit is in the repository of a project."""
    try:
        git(project, "cat-file", "-e", f"{commit}^{{commit}}")
    except StorageError:
        return False
    return True


@contextmanager
def worktree(project: Path, commit: str) -> Iterator[Path]:
    """The project's folder in a temporary worktree of a commit.

    Raises:
        StorageError: the commit is not in the repository, or git fails.
    """
    below = git(project, "rev-parse", "--show-prefix").strip()
    if not has_commit(project, commit):
        raise StorageError(f"commit {commit} is not in this repository: git fetch it first")
    # Behind links Python names its code otherwise than it was asked for.
    folder = Path(tempfile.mkdtemp(prefix="distill-commit-")).resolve()
    try:
        # A hook of the project, such as the one of `dvc install`, is for its own folder: `reset` calls none.
        git(project, "worktree", "add", "--no-checkout", "--detach", "--force", str(folder / "tree"), commit)
        git(folder / "tree", "reset", "--hard", "--quiet")
        yield folder / "tree" / below
    finally:
        # `prune` would also forget the user's own worktrees whose folders are not there now, as on a drive.
        with suppress(StorageError):
            git(project, "worktree", "remove", "--force", "--force", str(folder / "tree"))
        shutil.rmtree(folder, ignore_errors=True)


def share_cache(project: Path, root: Path) -> None:
    """Let a worktree of a project use the project's cache of DVC.

    Raises:
        StorageError: DVC fails.
    """
    dvc(root, "cache", "dir", "--local", dvc(project, "cache", "dir").strip())


@contextmanager
def sounds_at(reference: str, project: Path) -> Iterator[Path]:
    """The sounds that a reference names: a folder or a file that is there, or `REVISION:PATH` of a project.

    Those of a revision lie in a temporary folder, from git or from DVC's cache; no remote is asked.

    Args:
        reference: of a revision the path is that below the project.
        project: a folder in the project.

    Raises:
        DataError: there are no such sounds, no such revision, or DVC's cache does not have them.
        UsageError: `project` lies in no project.
        StorageError: git or DVC fails.
    """
    revision, colon, path = reference.partition(":")
    if Path(reference).exists() or not (colon and revision):
        yield Path(reference)
        return
    project = find_project(project)
    if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise DataError(f"{reference}: after the colon, name the sounds by their path below {project}")
    try:
        commit = git(project, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").strip()
    except StorageError as error:
        raise DataError(f"{reference}: there is no such file or folder, and no revision {revision} in git") from error
    with worktree(project, commit) as root:
        if not (root / path).exists():
            pointer = pointer_of(root, path)
            if pointer is None:
                raise DataError(f"{reference}: commit {commit[:12]} holds neither {path} nor {path}.dvc")
            share_cache(project, root)
            try:
                check_out(root, str(pointer.with_suffix("")))
            except DataError as error:
                raise DataError(
                    f"{reference}: its sounds are not in DVC's cache; dvc fetch --all-commits "
                    f"{pointer.relative_to(root)} fetches them from a remote"
                ) from error
            if not (root / path).exists():
                raise DataError(f"{reference}: commit {commit[:12]} holds no {path}")
        yield root / path
