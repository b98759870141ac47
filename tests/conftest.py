"""What every test runs under."""

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# isort: split
import hypothesis
import pytest
import torch

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from starlette.testclient import TestClient

    from command_util import Command
    from distill.live.events import Event
    from distill.registry.signing import KeyPair
    from distill.stages.workspace import Workspace
    from page_util import Served

IN_CI = bool(os.environ.get("CI"))
# Files of tests that take longest begin first, so that no worker is left with one at the end.
LONGEST = (
    "test_dvc", "test_tracking", "test_foreign_site", "test_reproduce", "test_workspaces", "test_processes",
    "test_tutorial", "test_stereo_learned", "test_flows_together", "test_background", "test_steering", "test_run_cli",
    "test_training_faults", "test_cluster", "test_runs", "test_shared_record", "test_stages", "test_cli", "test_start",
    "test_check", "test_notebook",
    # Those in the browser.
    "test_ui_page", "test_ui_reload", "test_ui_start", "test_ui_defaults", "test_ui_library", "test_ui_studio",
)  # fmt: skip

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.load_profile("ci" if IN_CI else "local")

# Children of the tests, too, compute on one thread: there are more of them than cores.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# Recording takes seconds a process; the tests that are about it switch it on.
os.environ["DISTILL_TRACKING"] = "off"
# And wherever a developer records, these tests record in projects of their own.
os.environ.pop("MLFLOW_TRACKING_URI", None)

# Commands of the tests work in the folder that a test stands in, and never in the user's own.
os.environ["DISTILL_PROJECT"] = "."
os.environ["DISTILL_HOME"] = tempfile.mkdtemp(prefix="distill-home-")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Stages set threads and deterministic algorithms for their process; no test inherits another's."""
    torch.set_num_threads(1)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def _own_record() -> Iterator[None]:
    """MLflow tells its children by this where to record; no other test is to record there."""
    # What a module's fixture registers leaves it behind as well.
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(autouse=True)
def _own_path() -> Iterator[None]:
    """MLflow lets Python find a loaded model's code first; no other test is to find it."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Commands set up the log for their process; no other test is to inherit that."""
    logger = logging.getLogger("distill")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture(scope="module")
def server(project: Path) -> "Iterator[Served]":
    """The page of the module's project."""
    from page_util import served

    with served(project, forked=True) as server:
        yield server


@pytest.fixture(scope="module")
def client(project: Path) -> "Iterator[TestClient]":
    """The API of the module's project, asked without a server."""
    from api_util import client_of

    with client_of(project) as client:
        yield client


@pytest.fixture(name="distill")
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> "Command":
    """The command `distill`, run within this process, where the test is."""
    from command_util import Command

    return Command(monkeypatch, capfd)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> "Workspace":
    """A workspace that is ready to train; tests train in copies of it."""
    from steering_util import prepare

    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def plain(prepared: "Workspace", tmp_path_factory: pytest.TempPathFactory) -> "tuple[Workspace, list[Event]]":
    """A training that nobody touched and beside which nothing went wrong, and what happened in it."""
    from steering_util import copy, train

    workspace = copy(prepared, tmp_path_factory.mktemp("plain") / "run")
    return workspace, train(workspace)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that one process of the tests makes, and none changes."""
    from distill.locks import wait_for

    own = factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made, complete = common / name, common / f"{name}.complete"
    descriptor = wait_for(common / f"{name}.lock")
    try:
        if not complete.exists():
            shutil.rmtree(made, ignore_errors=True)
            make(made)
            complete.touch()
    finally:
        os.close(descriptor)
    return made


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with sounds, a model that was trained on them, and four sounds that the model made; a copy."""
    from trained_util import make_trained

    made = made_once(tmp_path_factory, "trained-once", make_trained)
    return shutil.copytree(made, tmp_path_factory.mktemp("trained") / "project")


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the results of its pipeline; tests work in copies of it."""
    from published_util import make_published

    return made_once(tmp_path_factory, "published-once", make_published)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> "KeyPair":
    """Keys to sign with."""
    from distill.registry.signing import make_keys

    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> "KeyPair":
    """The keys of somebody else."""
    from distill.registry.signing import make_keys

    return make_keys(tmp_path_factory.mktemp("others"))


@pytest.fixture(scope="session")
def _chromium() -> "Iterator[Browser]":
    from browser_util import browser

    with browser() as running:
        yield running


@pytest.fixture
def chromium(_chromium: "Browser") -> "Iterator[Browser]":
    """A browser for the tests of the page; no page stays open after a test, which would ask its server on and on."""
    yield _chromium
    from browser_util import usual

    for context in _chromium.contexts:
        if context is not usual(_chromium):
            context.close()
            continue
        for page in context.pages:
            page.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order of LONGEST, then the others."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI a skip is a failure where the means that it asks for are there."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and os.environ.get("DISTILL_TEST_AUDIO"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped although DISTILL_TEST_AUDIO is set"
