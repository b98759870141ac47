"""The page's JSON API: plain HTTP calls to a real server with a real training."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from distill.cli.main import app
from distill.errors import DistillError, UsageError
from distill.live.folder import RunFolder
from distill.runs.background import start
from distill.runs.folder import Order
from distill.runs.progress import alive
from distill.runs.stopping import stop
from page_util import Served, free_port, make_sounds, require_described, served, settings, wait

pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("project")
    make_sounds(project / "kit")
    return project


@pytest.fixture(scope="module")
def page(project: Path) -> Iterator[Served]:
    with served(project) as page:
        yield page


@pytest.fixture(scope="module")
def root(project: Path, page: Served) -> Iterator[Path]:
    """A training that goes on for long, and begins once the page is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        changes = {"vqvae_epochs": 3000, "vqvae_preview_interval": 3000}
        root = start(project, Order(str(project / "kit"), settings(**changes), "long", "train_vqvae"))
        folder = RunFolder(root, "train_vqvae")
        wait(folder.running)
        yield root
        with suppress(DistillError):
            stop(root)
        wait(lambda: not alive(root))


def test_a_training_is_read_tuned_measured_and_rolled_back(page: Served, root: Path) -> None:
    (run,) = page.get("/api/runs")["runs"]
    assert (run["run"], run["state"]) == (root.name, "running")
    state = wait(lambda: (state := page.get("/api/state"))["training"]["terms"] and state)
    assert state["training"]["step"] <= state["training"]["total_steps"] == 9000
    config = page.get(f"/api/config?run={root.name}&stage=train_vqvae")
    rows = {row["name"]: row for row in config["parameters"]}
    assert rows["max_lr"] | {"description": ""} == {
        "name": "max_lr",
        "class": "SAFE",
        "type": "float",
        "value": 1e-3,
        "low": 1e-5,
        "high": 1e-2,
        "below_high": False,
        "unit": "",
        "reason": "",
        "description": "",
    }
    assert rows["epochs"]["class"] == "STARTUP_ONLY"
    assert rows["epochs"]["reason"]
    answer = page.post("/api/config", {"changes": {"max_lr": 5e-4, "decay": 0.9}, "validate": "slow", "after": 1})
    assert answer["changes"]["max_lr"] == [1e-3, 5e-4]
    code, said = page.refused("/api/config", {"changes": {"weight_full": 0.9, "max_lr": 1e-3}})
    assert (code, "sum to 0.95 to 1.05" in said) == (400, True)
    assert page.get("/api/config")["parameters"][0]["value"] == 5e-4
    assert page.post("/api/pause", {})["paused"]
    assert wait(lambda: page.get("/api/state")["state"] == "paused")
    saved = page.post("/api/checkpoint", {"run": root.name})
    measured = page.post("/api/validation", {"name": "now"})
    assert measured["metrics"]["validation_lsd_db"] > 0
    assert not page.post("/api/resume", {"stage": "train_vqvae"})["paused"]
    found = page.get("/api/snapshots")
    assert saved["step"] in [each["step"] for each in found["checkpoints"]]
    assert {"slow-before", "now"} <= {each["name"] for each in found["validations"]}
    compared = page.get("/api/compare?a=slow-before&b=now")
    assert compared["settings"]["max_lr"] == [1e-3, 5e-4]
    page.post("/api/config", {"changes": {"decay": 0.5}})
    back = page.post("/api/rollback", {"step": saved["step"]})
    assert (back["to"], back["abandoned"]) == (saved["step"], 1)
    (entry, *_) = page.get("/api/state")["training"]["journal"]
    assert entry["change"] == {"decay": 0.9, "max_lr": 5e-4}


def test_what_is_answered_of_a_training_is_as_described(page: Served, root: Path) -> None:
    openapi = page.get("/openapi.json")
    state = wait(lambda: (state := page.get("/api/state"))["training"]["levels"] and state)
    assert [stage["title"] for stage in state["stages"]] == ["Prepare the sounds", "Configure", "Train the VQ-VAE"]
    require_described(openapi, "/api/state", state)
    for path in ("/api/runs", "/api/config", "/api/snapshots"):
        require_described(openapi, path, page.get(path))
    for path, values in (
        ("/api/config", {"changes": {"max_lr": 4e-4}, "validate": "described", "after": 1}),
        ("/api/checkpoint", {}),
        ("/api/validation", {"name": "described"}),
        ("/api/pause", {}),
        ("/api/resume", {}),
        ("/api/config", {"changes": {"max_lr": 4e-4}}),
    ):
        require_described(openapi, path, page.post(path, values), "post")
    (checkpoint, *_) = page.get("/api/snapshots")["checkpoints"]
    for only in (True, False):
        back = page.post("/api/rollback", {"step": checkpoint["step"], "config_only": only})
        assert ("abandoned" in back) is not only
        require_described(openapi, "/api/rollback", back, "post")


def test_the_server_stays_as_it_is_over_1000_updates(page: Served, root: Path) -> None:
    """Both live views read `/api/state`; what it answers has several kB, so that keeping each would show."""
    server = psutil.Process(page.process.pid)
    wait(lambda: page.get("/api/state")["training"]["history"]["epoch"])

    def updates(count: int) -> tuple[int, int]:
        for _ in range(count):
            page.get("/api/state?stage=train_vqvae")
        return server.memory_info().rss, server.num_fds()

    # As much is told of a training that waits, and it leaves the processor to others.
    page.post("/api/pause", {})
    memory, files = updates(200)
    later_memory, later_files = updates(1000)
    page.post("/api/resume", {})
    assert later_memory - memory < 2 * 2**20
    assert later_files - files < 5


@pytest.mark.slow
def test_a_watched_training_stays_as_it_is_over_1000_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its previews are figures of several MB each, eighty of them, so that a figure that is not closed would show."""
    make_sounds(tmp_path / "kit")
    monkeypatch.chdir(tmp_path)
    changes = {
        "vqvae_epochs": 3000,
        "vqvae_preview_interval": 4,
        "vqvae_preview_count": 1,
        "vqvae_checkpoint_interval": 40,
    }
    root = start(tmp_path, Order(str(tmp_path / "kit"), settings(**changes), "long", "train_vqvae"))
    try:
        with served(tmp_path) as page:

            def at(step: int) -> dict[str, Any]:
                def there() -> Any:
                    training = page.get("/api/state")["training"]
                    return training and (training["step"] or 0) >= step and training

                return dict(wait(there, 280))

            training = psutil.Process(at(400)["pid"])
            before = training.memory_info().rss, training.num_fds()
            at(1400)
            after = training.memory_info().rss, training.num_fds()
        assert after[0] - before[0] < 40 * 2**20
        assert after[1] - before[1] < 5
    finally:
        stop(root)
        wait(lambda: not alive(root))


def test_what_is_asked_wrongly_gets_one_line(page: Served, root: Path) -> None:
    assert page.refused("/api/state?run=../kit") == (
        404,
        '{"error":"there is no run \'../kit\'; there are: ' + page.get("/api/runs")["runs"][0]["run"] + '"}',
    )
    assert page.refused("/api/state?stage=nothing")[0] == 400
    assert page.refused("/api/config", {"changes": 3})[0] == 400
    assert "did you mean max_lr" in page.refused("/api/config", {"changes": {"max_lrr": 1}})[1]
    assert page.refused("/api/rollback", {"step": 77777})[0] == 400
    assert page.refused("/api/pause", {"which": 1}) == (400, '{"error":"which: Extra inputs are not permitted"}')
    for which in ("x", "%C2%B2", "..%2Fx", "%00", "9" * 5000):
        assert page.refused(f"/api/compare?a={which}&b=y")[0] == 400
    for body in (b"\xff{", b"[" * 100_000):
        kind = {"Content-Type": "application/json"}
        address = urllib.request.Request(f"{page.url}/api/pause", body, {**page.bearer, **kind})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address)
        assert (refused.value.code, list(json.load(refused.value))) == (400, ["error"])
    for path in ("/api/state?stage=x", "/api/nothing", "/api/config"):
        code, said = page.refused(path, None if path != "/api/config" else [])
        assert code in (400, 404)
        assert "Traceback" not in said


def test_a_page_that_cannot_be_loaded_ends_its_server_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "gradio.py").write_text("raise RuntimeError('half installed')\n")
    ended = subprocess.run(
        [sys.executable, "-m", "distill", "ui", "--port", str(free_port()), "--project", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert "half installed" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_gradio_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in [name for name in sys.modules if name.startswith("distill.ui.")]:
        monkeypatch.delitem(sys.modules, name)
    result = CliRunner().invoke(app, ["ui", "--port", str(free_port())])
    assert isinstance(result.exception, UsageError)
    assert "pip install 'distill-audio[ui]'" in str(result.exception)
