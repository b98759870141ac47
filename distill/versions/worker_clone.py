"""A project on a worker that shares nothing but addresses with its deployer: cloned by git into a user's home.

`described` and `clone` are steps of a deployment (prefect.yaml): the first runs at the deployment, the second on a
worker before each run.
"""

import os
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from distill import __version__
from distill.errors import StorageError, UsageError
from distill.files import digest_json, read_json, storage_errors, write_json
from distill.locks import wait_for
from distill.projects.project import find_project, home
from distill.versions.dvc import dvc, settings
from distill.versions.git import git

# The address that workers clone from, where it is not that of the remote `origin`.
REPOSITORY = "DISTILL_REPOSITORY"
SCHEMA = 1
_NOTE = Path(".distill") / "clone.json"


@dataclass(frozen=True)
class Origin:
    """What a deployment says of its project.

    Attributes:
        repository: address that git clones from.
        branch: whose newest commit is trained.
        folder: of the project in the repository; empty where it is the repository itself.
        version: of the distill that deployed it.
    """

    repository: str
    branch: str
    folder: str
    version: str


def described() -> dict[str, str]:
    """What workers need to clone the project of the current folder; the values of an `Origin`.

    Raises:
        UsageError: there is no project, no address or no branch, or the address has a password in it.
        StorageError: it is not under git.
    """
    project = find_project()
    repository = os.environ.get(REPOSITORY) or _origin(project)
    if bare := _with_secret(repository):
        raise UsageError(
            f"the address of the repository has a password or token in it, which Prefect would show: set {REPOSITORY} "
            f"to {bare}, and give workers a credential helper of git"
        )
    branch = git(project, "rev-parse", "--abbrev-ref", "HEAD").strip()
    if branch == "HEAD":
        raise UsageError(f"{project} is on no branch that workers could clone: git switch BRANCH, then deploy again")
    folder = git(project, "rev-parse", "--show-prefix").strip()
    return asdict(Origin(repository, branch, folder, __version__))


def clone(repository: str, branch: str, folder: str, version: str) -> dict[str, str]:
    """Clone a project at the newest commit of a branch, once for each commit; its folder as `directory`.

    Clones lie in the user's own folder and share one cache of DVC, so a run that was killed resumes on the same worker.

    Args:
        repository, branch, folder, version: as in `Origin`.

    Raises:
        StorageError: git or DVC fails, or the folder cannot be written.
    """
    place = home() / "clones" / f"{PurePosixPath(repository).stem or 'project'}-{digest_json(repository)[:8]}"
    with storage_errors(place, "write into"):
        place.mkdir(parents=True, exist_ok=True)
    descriptor = wait_for(place / "lock")
    try:
        known = git(place, "ls-remote", "--exit-code", repository, f"refs/heads/{branch}").split()[0]
        project = place / known / folder
        if not (project / _NOTE).is_file():
            project = _clone_anew(place, repository, branch) / folder
            dvc(project, "cache", "dir", "--local", str(place / "cache"))
        write_json(project / _NOTE, {"schema": SCHEMA, **asdict(Origin(repository, branch, folder, version))})
    finally:
        os.close(descriptor)
    return {"directory": str(project)}


def origin_of(project: Path) -> Origin | None:
    """Where a project was cloned from for a deployment; None: it is no such clone.

    Raises:
        ArtifactError: the note about it is damaged or of a newer schema.
    """
    if not (project / _NOTE).is_file():
        return None
    values = read_json(project / _NOTE, what="note about a clone", schema=SCHEMA)
    return Origin(values["repository"], values["branch"], values["folder"], values["version"])


def require_same_version(origin: Origin) -> None:
    """Make sure that this distill is the one that deployed a project.

    Raises:
        UsageError: it is not.
    """
    if origin.version != __version__:
        raise UsageError(
            f"this worker has distill {__version__}, and {origin.version} made the deployment: install "
            f"distill-audio=={origin.version} on the worker, or deploy again with {__version__}"
        )


def require_remote(project: Path) -> None:
    """Make sure that a project says where its sounds and results are kept.

    Raises:
        UsageError: DVC has no default remote.
        StorageError: DVC fails.
    """
    if "core.remote" not in settings(project):
        raise UsageError(
            "the project names no remote of DVC, which workers take sounds from and put results into: "
            "dvc remote add -d team s3://BUCKET/PATH, commit .dvc/config and push it"
        )


def _with_secret(address: str) -> str | None:
    """An address without its credentials; None: it has none.

    >>> _with_secret("https://token@git.example.org/kit"), _with_secret("ssh://git@git.example.org/kit")
    ('https://git.example.org/kit', None)
    """
    bare = re.sub(r"^(https?://)[^/@]*@", r"\1", address)
    return bare if bare != address else None


def _origin(project: Path) -> str:
    try:
        return git(project, "remote", "get-url", "origin").strip()
    except StorageError as error:
        raise UsageError(
            f"workers have no address to clone {project} from: git remote add origin ADDRESS, or set {REPOSITORY}"
        ) from error


def _clone_anew(place: Path, repository: str, branch: str) -> Path:
    """The folder of a new clone, named by its commit; whole or not there."""
    temporary = Path(tempfile.mkdtemp(prefix=".clone-", dir=place))
    try:
        tree = temporary / "tree"
        git(place, "clone", "--quiet", "--single-branch", "--branch", branch, repository, str(tree))
        target = place / git(tree, "rev-parse", "HEAD").strip()
        with storage_errors(target, "write"):
            # One that stopped halfway has no note.
            shutil.rmtree(target, ignore_errors=True)
            tree.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
