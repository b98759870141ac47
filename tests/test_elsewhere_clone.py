"""A project that is cloned on a worker: what a deployment says of it, and what a worker makes of that."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distill import __version__
from distill.errors import DataError, StorageError, UsageError
from distill.versions.worker_clone import Origin, clone, described, origin_of
from page_util import free_port
from project_util import call, commit, make_project

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::pydantic.warnings.PydanticDeprecatedSince20"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository with a project in it, whose remote of DVC is a folder."""
    root = tmp_path_factory.mktemp("team")
    project = make_project(root / "project")
    shutil.move(project / "sounds", root / "sounds")
    commit(project, "without sounds")
    call(project, "git", "branch", "-M", "main")
    call(root, "git", "clone", "--quiet", "--bare", str(project), str(root / "kit.git"))
    return root / "kit.git"


@pytest.fixture
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_HOME", str(tmp_path / "home"))


def origin(repository: Path, version: str = __version__) -> Origin:
    return Origin(str(repository), "main", "", version)


@pytest.mark.usefixtures("_home")
def test_a_clone_is_made_once_for_each_commit_in_the_users_own_folder(repository: Path, tmp_path: Path) -> None:
    first = Path(clone(str(repository), "main", "", __version__)["directory"])
    assert first.is_relative_to(tmp_path / "home")
    assert origin_of(first) == origin(repository)
    (first / "runs").mkdir()
    assert Path(clone(str(repository), "main", "", __version__)["directory"]) == first
    assert (first / "runs").is_dir()
    work = tmp_path / "work"
    call(tmp_path, "git", "clone", "--quiet", str(repository), str(work))
    (work / "more.txt").write_text("more")
    commit(work, "more")
    call(work, "git", "push", "--quiet")
    second = Path(clone(str(repository), "main", "", __version__)["directory"])
    assert second != first
    assert (second / "more.txt").is_file()
    # One cache serves both.
    caches = [call(each, "dvc", "cache", "dir").stdout for each in (first, second)]
    assert caches[0] == caches[1]
    assert not call(second, "git", "status", "--porcelain").stdout


@pytest.mark.usefixtures("_home")
def test_what_cannot_be_cloned_is_one_line(repository: Path, tmp_path: Path) -> None:
    for address, branch in ((str(tmp_path / "nothing.git"), "main"), (str(repository), "nothing")):
        with pytest.raises(StorageError, match="ls-remote failed") as failed:
            clone(address, branch, "", __version__)
        assert "\n" not in str(failed.value)
    assert not list((tmp_path / "home").glob("clones/*/.clone-*"))


def test_a_deployment_names_addresses_only(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "mine"
    call(tmp_path, "git", "clone", "--quiet", str(repository), str(project))
    monkeypatch.chdir(project)
    assert described() == {"repository": str(repository), "branch": "main", "folder": "", "version": __version__}
    monkeypatch.setenv("DISTILL_REPOSITORY", "https://me:secret@git.example.org/kit.git")
    with pytest.raises(UsageError, match=r"https://git\.example\.org/kit\.git") as failed:
        described()
    assert "secret" not in str(failed.value)
    monkeypatch.delenv("DISTILL_REPOSITORY")
    call(project, "git", "remote", "remove", "origin")
    with pytest.raises(UsageError, match="git remote add origin"):
        described()


@pytest.mark.usefixtures("_home")
def test_a_worker_that_cannot_do_it_says_so_in_one_line(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.elsewhere import fetch_sounds, require_shared

    project = Path(clone(str(repository), "main", "", __version__)["directory"])
    monkeypatch.setenv("DISTILL_TRACKING", "on")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(UsageError, match=f"this worker has distill {__version__}, and 99.0 made the deployment"):
        require_shared(project, origin(repository, "99.0"))
    with pytest.raises(UsageError, match="dvc remote add"):
        require_shared(project, origin(repository))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(UsageError, match="set MLFLOW_TRACKING_URI"):
        require_shared(project, origin(repository))
    # The pointer is there, and no remote has what it points to.
    digest = "0" * 32
    (project / "sounds.dvc").write_text(f"outs:\n- md5: {digest}.dir\n  size: 1\n  hash: md5\n  path: sounds\n")
    with pytest.raises(DataError, match="neither in DVC's cache nor on a remote"):
        fetch_sounds(project, "sounds")
    call(project, "dvc", "remote", "add", "--default", "--local", "team", str(tmp_path / "empty"))
    with pytest.raises(DataError, match="neither in DVC's cache nor on a remote"):
        fetch_sounds(project, "sounds")


def test_a_machine_that_is_away_is_asked_again_and_one_that_refuses_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import elsewhere

    class Said:
        def warning(self, *_words: object) -> None: ...

    monkeypatch.setattr(elsewhere, "_DELAYS", (0, 0, 0))
    monkeypatch.setattr(elsewhere, "get_run_logger", Said)
    for said, tries in (("the S3 store does not answer", 4), ("the bucket does not exist", 1)):
        asked: list[int] = []

        def act(said: str = said, asked: list[int] = asked) -> None:
            asked.append(1)
            raise StorageError(said)

        with pytest.raises(StorageError, match=said):
            elsewhere.persistently(act)
        assert len(asked) == tries


def test_what_was_done_counts_where_the_prefect_server_goes_away_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    from flows import elsewhere

    @contextmanager
    def away(*_names: object, **_settings: object) -> Iterator[None]:
        yield
        raise httpx.ConnectError("All connection attempts failed")

    monkeypatch.setattr(elsewhere, "persistently", lambda act: None)
    monkeypatch.setattr(elsewhere, "concurrency", away)
    with elsewhere.across_hosts("kit"):
        pass
    with pytest.raises(httpx.ConnectError, match="within"), elsewhere.across_hosts("kit"):
        raise httpx.ConnectError("within the stage")


def test_a_prefect_server_that_is_away_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.pool import require_pool, require_server

    with (
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}),
        pytest.raises(StorageError, match=r"Prefect's server at \S+ does not answer") as failed,
    ):
        require_server()
    assert "\n" not in str(failed.value)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        require_server()
        with pytest.raises(UsageError, match="set PREFECT_API_URL"):
            require_pool()
