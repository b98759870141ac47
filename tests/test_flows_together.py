"""Runs beside each other: turns at equal work, stopping all of a process, and a flow that ends at the first mistake."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill.errors import Interrupted
from distill.locks import lock, reopen
from distill.processes.dvc_stage import repro, stop_running
from distill.runs.dvc_project import inputs_of, taking_turns
from project_util import make_project
from published_util import made
from registry_util import model_file

# Prefect's imports, and the server that its harness starts, on this Python.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::pydantic.warnings.PydanticDeprecatedSince20", "ignore::ResourceWarning"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("together") / "project")


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=240):
        yield


@pytest.fixture
def stopped() -> Iterator[None]:
    stop_running()
    yield
    reopen()


def test_runs_share_the_stages_whose_inputs_are_equal(project: Path) -> None:
    first = made(project, {})
    prior, seed = made(project, {"prior": {"hidden": 32}}), made(project, {"run": {"seed": 5}})
    assert inputs_of(first.root, "prepare") == inputs_of(prior.root, "prepare")
    assert inputs_of(first.root, "configure") != inputs_of(prior.root, "configure")
    assert inputs_of(first.root, "prepare") != inputs_of(seed.root, "prepare")


def test_equal_work_is_done_by_one_at_a_time_and_other_work_beside_it(project: Path) -> None:
    first = made(project, {})
    prior, seed = made(project, {"prior": {"hidden": 32}}), made(project, {"run": {"seed": 5}})
    order: list[str] = []

    def second() -> None:
        with taking_turns(prior, "prepare", lambda: order.append("waits")):
            order.append("second")

    with taking_turns(first, "prepare", lambda: None):
        with taking_turns(seed, "prepare", lambda: order.append("never")):
            pass
        thread = threading.Thread(target=second)
        thread.start()
        while not order:
            time.sleep(0.01)
        order.append("first ends")
    thread.join()
    assert order == ["waits", "first ends", "second"]


def test_a_stopped_process_starts_no_stage(project: Path, stopped: None) -> None:
    with pytest.raises(Interrupted):
        repro(project, "prepare", environment={}, on_line=lambda _line: None, on_wait=lambda: None)


def test_stopping_wakes_whoever_waits_for_a_lock(tmp_path: Path) -> None:
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            with lock(tmp_path / "a.lock", lambda: None):
                pass
        except Interrupted as error:
            ended.append(error)

    with lock(tmp_path / "a.lock", lambda: None):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        stop_running()
        thread.join(10)
        reopen()
    assert len(ended) == 1


def test_a_flow_stops_at_the_first_mistake_and_says_it_in_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: None
) -> None:
    from flows.train import train

    monkeypatch.chdir(project)
    (project / "empty").mkdir()
    state: Any = train(data={"path": "empty"}, return_state=True)  # type: ignore[call-overload]
    assert state.is_failed()
    assert state.message == "empty: the folder is empty; put your sounds into it"
    (workspace,) = (path for path in (project / "runs").iterdir() if path.name.startswith("empty-"))
    assert not (workspace / "config").exists()


def test_a_flow_makes_no_sounds_outside_of_its_project(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: None
) -> None:
    from flows.generate import generate

    monkeypatch.chdir(project)
    model = model_file(project / "models" / "bells.distill")
    outside = tmp_path / "outside"
    made: Any = generate(model=str(model), count=1, seconds=0.2, output=str(outside), return_state=True)  # type: ignore[call-overload]
    assert made.is_failed()
    assert "leads out of the project" in made.message
    assert not outside.exists()


def test_a_sweep_runs_every_combination_and_a_failed_one_is_a_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], prefect_server: None
) -> None:
    from flows.sweep import sweep

    monkeypatch.chdir(project)
    for name in ("hollow", "void"):
        (project / name).mkdir()
    ran: Any = sweep(settings={"data.path": ["hollow", "void"]}, return_state=True)  # type: ignore[call-overload]
    wrong: Any = sweep(settings={"vocoder.hiden": [16]}, return_state=True)  # type: ignore[call-overload]
    assert ran.is_failed()
    assert ran.message.startswith("every combination failed: ")
    assert "the folder is empty" in ran.message
    assert {path.name.split("-")[0] for path in (project / "runs").iterdir()} >= {"hollow", "void"}
    assert wrong.message == "parameters: unknown parameter vocoder.hiden; did you mean hidden?"
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
