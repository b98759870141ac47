"""Work on many items: whoever does it, the results come in order, and nothing is lost with a process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import work_util
from distill.errors import DataError, UsageError
from distill.workers.choice import ADDRESS, PROCESS_SECONDS, place_for
from distill.workers.place import SHARD_ITEMS, Here, Place, mapped
from distill.workers.processes import MOST_DEATHS, Processes
from page_util import wait

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes find the tests' own work."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))


@pytest.fixture
def two() -> Iterator[Processes]:
    with Processes(2) as place:
        yield place


@pytest.mark.parametrize("place", [Here(1), Here(3), Processes(1), Processes(2)], ids=lambda each: type(each).__name__)
def test_results_come_in_the_order_of_the_items(place: Place) -> None:
    count = 5 * SHARD_ITEMS + 3
    with place:
        results = list(mapped(place, work_util.where, "item ", range(count), lambda _item: 1))
    assert [text for _, text in results] == [f"item {number}" for number in range(count)]
    others = {process for process, _ in results} - {os.getpid()}
    assert 1 <= len(others) <= place.workers if isinstance(place, Processes) else not others
    assert not any(map(psutil.pid_exists, others))


def test_what_is_larger_than_a_shard_is_worked_on_in_this_process(two: Processes) -> None:
    sizes = [1, two.shard_bytes + 1, 1]
    results = list(mapped(two, work_util.where, "", range(3), lambda item: sizes[item]))
    assert [process == os.getpid() for process, _ in results] == [False, True, False]


def test_a_process_that_dies_costs_its_shard_alone(two: Processes, tmp_path: Path) -> None:
    count = 6 * SHARD_ITEMS
    results = list(mapped(two, work_util.dies_at, (tmp_path, 100, 1), range(count), lambda _item: 1))
    assert results == [2 * item for item in range(count)]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_process_that_is_killed_from_outside_loses_nothing(two: Processes) -> None:
    results = []
    for item in mapped(two, work_util.slowly, None, range(8), lambda _item: two.shard_bytes):
        results.append(item)
        if len(results) == 2:
            next(each for each in psutil.Process().children() if "distill.workers.child" in each.cmdline()).kill()
    assert results == list(range(8))


def test_over_what_every_process_dies_ends_in_one_line(two: Processes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^{MOST_DEATHS} processes died, one after the other, over the same .* files"):
        list(mapped(two, work_util.dies_at, (tmp_path, 3, 100), range(10), lambda _item: 1))
    assert len(list(tmp_path.iterdir())) == MOST_DEATHS


def test_what_goes_wrong_is_raised_here_and_what_is_printed_is_no_answer(
    two: Processes, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="item 0"):
        list(mapped(two, work_util.fails, None, range(3), lambda _item: 1))
    assert list(mapped(two, work_util.prints, None, range(3), lambda _item: 1)) == [0, 1, 2]
    assert capfd.readouterr().out == ""


def test_no_process_outlives_the_one_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import time, work_util\n"
        "from distill.workers.place import mapped\n"
        "from distill.workers.processes import Processes\n"
        "with Processes(2) as place:\n"
        "    list(mapped(place, work_util.slowly, None, range(4), lambda item: place.shard_bytes))\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    workers = psutil.Process(owner.pid).children()
    assert len(workers) == 2
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    wait(lambda: all(not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE for worker in workers), 20)


def test_processes_are_started_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)
    assert isinstance(place_for(PROCESS_SECONDS - 1, 8), Here)
    assert isinstance(place_for(PROCESS_SECONDS, 8), Processes)
    assert isinstance(place_for(PROCESS_SECONDS, 1), Here)
    assert place_for(PROCESS_SECONDS, 8).workers == 8


def test_an_address_at_which_nobody_answers_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("distill.workers.cluster.CONNECT_SECONDS", 1.0)
    for address in ("tcp://127.0.0.1:1", "nonsense://here", "tcp://no.such.host.invalid:8786"):
        with pytest.raises(UsageError, match=f"^no Dask scheduler answers at {address}: start one"):
            place_for(0, 1, address)
    monkeypatch.setenv(ADDRESS, "tcp://127.0.0.1:2")
    with pytest.raises(UsageError, match=r"at tcp://127\.0\.0\.1:2"):
        place_for(0, 1)
