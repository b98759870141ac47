"""What every test runs under."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# isort: split
import hypothesis
import pytest
import torch

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from command_util import Command
    from distill.live.events import Event
    from distill.stages.workspace import Workspace
    from page_util import Served

IN_CI = bool(os.environ.get("CI"))

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.load_profile("ci" if IN_CI else "local")

# Children of the tests, too, compute on one thread: there are more of them than cores.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# Recording takes seconds a process; the tests that are about it switch it on.
os.environ["DISTILL_TRACKING"] = "off"

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
def _own_path() -> Iterator[None]:
    """MLflow lets Python find a loaded model's code first; no other test is to find it."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(scope="module")
def server(project: Path) -> "Iterator[Served]":
    """The page of the module's project."""
    from page_util import served

    with served(project) as server:
        yield server


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


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with sounds, a model that was trained on them, and four sounds that the model made."""
    from trained_util import make_trained

    return make_trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def _chromium() -> "Iterator[Browser]":
    from browser_util import browser

    with browser() as running:
        yield running


@pytest.fixture
def chromium(_chromium: "Browser") -> "Iterator[Browser]":
    """A browser for the tests of the page; no page stays open after a test, which would ask its server on and on."""
    yield _chromium
    for context in _chromium.contexts:
        context.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI a skip is a failure where the means that it asks for are there."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and os.environ.get("DISTILL_TEST_AUDIO"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped although DISTILL_TEST_AUDIO is set"
