"""The flows: what they take, what they refuse, and whole runs against Prefect's own server."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import jsonschema
import psutil
import pytest
import yaml
from pydantic import ValidationError

from distill.artifact.model_file import read_manifest
from distill.errors import UsageError
from distill.params import listed_settings
from flows.follow import MARK, SERVER
from page_util import free_port, wait
from project_util import PROJECT, call, distill, make_project

# Prefect's imports, on this Python.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::pydantic.warnings.PydanticDeprecatedSince20"
)


def test_only_what_is_given_takes_the_place_of_the_projects_parameters() -> None:
    from flows.parameters import SECTIONS, overrides_from, title_of

    sections = dict.fromkeys(SECTIONS)
    assert overrides_from(sections) == {}
    vqvae = SECTIONS["vqvae"].model_validate({"num_quantizers": 2})
    assert overrides_from({**sections, "vqvae": vqvae}) == {"vqvae": {"num_quantizers": 2}}
    assert title_of({"vqvae": {"num_quantizers": 2}}) == "vqvae.num_quantizers=2"
    for wrong in ({"num_quantisers": 2}, {"num_quantizers": 9}):
        with pytest.raises(ValidationError):
            SECTIONS["vqvae"].model_validate(wrong)


def test_a_server_knows_every_range_from_the_schema_alone() -> None:
    from flows.parameters import SECTIONS

    for section, wrong in (
        ("vqvae", {"num_quantizers": 9}),
        ("vqvae", {"num_quantisers": 2}),
        ("run", {"threads": 1000}),
        ("data", {"validation_fraction": 2.0}),
        ("data", {"speed_semitones": [40.0]}),
        ("model", {"name": "a b"}),
    ):
        schema = SECTIONS[section].model_json_schema()
        jsonschema.validate({}, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_generation_flow_takes_one_setting_or_one_for_each_level() -> None:
    from prefect.utilities.callables import parameter_schema

    from flows.generate import generate

    schema = parameter_schema(generate.fn).model_dump_for_openapi()
    for right in (
        {"temperature": 0.5},
        {"temperature": [0.5, 1]},
        {"top_k": [0, 3]},
        {"bits": "16"},
        {"natural": True},
    ):
        jsonschema.validate({"model": "a.distill", **right}, schema)
    for wrong in (
        {"temperature": [-1, 1]},
        {"top_p": 2},
        {"min_p": [0, 2]},
        {"format": "opus"},
        {"sample_rate": 8000},
        {"bits": "8"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"model": "a.distill", **wrong}, schema)


def test_a_sweep_is_every_combination_and_refuses_what_is_no_setting() -> None:
    from distill.runs.sweep import combine

    found = combine({"vqvae.num_quantizers": [2, 3], "run.seed": [0, 1]})
    assert len(found) == 4
    assert found[1] == {"vqvae": {"num_quantizers": 2}, "run": {"seed": 1}}
    for wrong in ({"seed": [1]}, {"run.seed": []}, {"a.b.c": [1]}):
        with pytest.raises(UsageError, match=r"section\.key"):
            combine(wrong)


def test_the_training_flow_takes_every_section_of_params() -> None:
    from inspect import signature

    from distill.params import Params
    from flows.parameters import SECTIONS
    from flows.train import train

    sections = set(Params.model_fields) - {"schema_number"}
    assert set(SECTIONS) == set(signature(train.fn).parameters) == sections
    assert {name: set(model.model_fields) for name, model in SECTIONS.items()} == {
        name: set(type(getattr(Params(), name)).model_fields) for name in sections
    }


def test_values_of_a_sweep_are_read_as_yaml_and_a_name_is_given_once() -> None:
    assert listed_settings(["vqvae.learning_rate=1e-3,0.01", "run.device=cpu", "vocoder.enabled=true,false"]) == {
        "vqvae.learning_rate": [0.001, 0.01],
        "run.device": ["cpu"],
        "vocoder.enabled": [True, False],
    }
    assert listed_settings(["data.speed_semitones=[1.0,2.0],[3.0],[]"]) == {
        "data.speed_semitones": [[1.0, 2.0], [3.0], []]
    }
    with pytest.raises(UsageError, match="given twice"):
        listed_settings(["run.seed=0,1", "run.seed=2"])
    for wrong in ("run.seed", "run.seed=", "run.seed=]1,2", "run.seed=1],[2", "=1"):
        with pytest.raises(UsageError, match=r"expected section\.key"):
            combine_listed(wrong)
    with pytest.raises(UsageError, match=r"^foo=1,2: expected section\.key"):
        combine_listed("foo=1,2")


def combine_listed(setting: str) -> None:
    from distill.runs.sweep import combine

    combine(listed_settings([setting]))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("runner", [(), ("--dask", "--workers", "2")], ids=["threads", "dask"])
def test_a_sweep_trains_every_combination(tmp_path: Path, runner: tuple[str, ...]) -> None:
    if runner:
        pytest.importorskip("prefect_dask")
    project = make_project(
        tmp_path / "project", vocoder={"enabled": True, "epochs": 1, "steps_per_epoch": 1, "blocks": 1}
    )
    done = distill(project, "sweep", "vocoder.hidden=16,24", "memorization.sounds=2", *runner, "--json", timeout=850)
    rows = json.loads(done.stdout)["runs"]
    assert sorted(row["settings"] for row in rows) == [
        f"memorization.sounds=2 vocoder.hidden={hidden}" for hidden in (16, 24)
    ]
    assert all("error" not in row for row in rows)
    assert "Traceback" not in done.stderr


def test_every_deployment_names_a_flow_that_is_there() -> None:
    from prefect import Flow

    deployments = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    for deployment in deployments:
        path, name = deployment["entrypoint"].split(":")
        assert isinstance(getattr(import_module(path.removesuffix(".py").replace("/", ".")), name), Flow)
        assert deployment["schedules"] == []
        assert deployment["concurrency_limit"]["limit"] >= 1


def test_flows_outside_of_the_repository_are_one_line(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").write_text("schema: 1\n")
    said = call(tmp_path, sys.executable, "-m", "distill", "sweep", "run.seed=0,1", code=2, PYTHONPATH="").stderr
    assert "flows/ and prefect.yaml" in said
    assert "Traceback" not in said


def in_project(project: Path) -> list[psutil.Process]:
    """Processes of stages in a project."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if "stage" in words and str(project) in environment.get("DVC_ROOT", ""):
            found.append(process)
    return found


def test_a_temporary_server_ends_when_nobody_holds_the_pipe_of_its_follower() -> None:
    def sleeper(mark: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)", SERVER], env={**os.environ, MARK: mark}
        )

    with sleeper("a run") as server, sleeper("another run") as other:
        follow = [sys.executable, str(PROJECT / "flows" / "follow.py"), "a run"]
        with subprocess.Popen(follow, stdin=subprocess.PIPE) as follower:
            with pytest.raises(subprocess.TimeoutExpired):
                server.wait(1.0)
            assert follower.stdin is not None
            follower.stdin.close()
            assert server.wait(60) == -signal.SIGTERM
        assert follower.returncode == 0
        assert other.poll() is None
        other.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_temporary_server_of_a_flow_that_is_killed_at_once_is_gone(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"PYTHONPATH": str(project), "PREFECT_HOME": str(tmp_path / "prefect")}
    command = [sys.executable, "-c", "from flows.train import train; train()"]
    with subprocess.Popen(command, cwd=project, env=environment) as flow:
        children = psutil.Process(flow.pid).children
        servers = wait(lambda: [each for each in children() if SERVER in each.cmdline()])
        flow.kill()
    _, left = psutil.wait_procs(servers, timeout=30)
    assert not left


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestServer:
    """Everything on a server that `distill serve-flows` started."""

    @pytest.fixture(scope="class")
    def project(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return make_project(tmp_path_factory.mktemp("flows") / "project")

    @pytest.fixture(scope="class")
    def server(self, project: Path) -> "Iterator[tuple[subprocess.Popen[str], dict[str, str]]]":
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            "PYTHONPATH": str(project),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DISTILL_TRACKING": "on",
        }
        command = [sys.executable, "-m", "distill", "serve-flows", "--port", str(port)]
        process = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert address in process.stdout.readline()
        login = f"distill:{(project / '.distill' / 'prefect' / 'password').read_text()}"
        yield process, {"PREFECT_API_URL": f"{address}/api", "PREFECT_API_AUTH_STRING": login}
        process.send_signal(signal.SIGINT)
        process.wait(60)
        process.stdout.close()
        with pytest.raises(URLError):
            urlopen(f"{address}/api/health", timeout=2)

    def run(self, project: Path, api: dict[str, str], *arguments: str, code: int | None = 0) -> str:
        done = call(project, sys.executable, "-m", "prefect", "deployment", "run", *arguments, code=code, **api)
        return done.stdout + done.stderr

    def test_a_deployment_runs_and_is_published_and_recorded(self, project: Path, server: Any) -> None:
        self.run(project, server[1], "train/local", "--watch")
        assert "up to date" in call(project, "dvc", "status").stdout
        listed = json.loads(distill(project, "model", "list", "--json").stdout)["models"]
        (model,) = [entry for entry in listed if "tiny/1" in entry["registered"]]
        assert str(project / "models" / "tiny.distill") in model["files"]
        manifest = read_manifest(project / "models" / "tiny.distill")
        info = json.loads(distill(project, "model", "info", "tiny/1", "--run", "--json").stdout)
        assert info["runs"][0]["started_by"] == "prefect"
        assert info["lineage"]["id"] == manifest.lineage.id

    def test_a_mistake_is_refused_before_there_is_a_run(self, project: Path, server: Any) -> None:
        for wrong in ('vqvae={"num_quantisers": 2}', 'vqvae={"num_quantizers": 99}', "vqva={}"):
            said = self.run(project, server[1], "train/local", "--param", wrong, code=1)
            assert "Traceback" not in said

    def test_a_cancelled_run_stops_within_seconds_and_leaves_nothing(self, project: Path, server: Any) -> None:
        long = 'vqvae={"epochs": 2000, "checkpoint_interval": 1}'
        said = self.run(project, server[1], "train/local", "--param", long)
        wait(lambda: in_project(project))
        identity = next(word.rsplit("/", 1)[1] for word in said.split() if "/runs/flow-run/" in word)
        call(project, sys.executable, "-m", "prefect", "flow-run", "cancel", identity, **server[1])
        begun = time.monotonic()
        wait(lambda: not in_project(project), seconds=30)
        assert time.monotonic() - begun < 30

    def test_a_killed_worker_leaves_nothing_running(self, project: Path, server: Any) -> None:
        long = 'vqvae={"epochs": 2001, "checkpoint_interval": 1}'
        self.run(project, server[1], "train/local", "--param", long)
        wait(lambda: in_project(project))
        started = psutil.Process(server[0].pid).children(recursive=True)
        (worker,) = [p for p in started if p.cmdline()[2:5] == ["-m", "prefect", "worker"]]
        worker.kill()
        wait(lambda: not in_project(project), seconds=30)
        # Another one has taken its place, and the run does not count as running for ever.
        said = self.run(project, server[1], "train/local", "--watch")
        assert "Completed" in said
        listed = call(project, sys.executable, "-m", "prefect", "flow-run", "ls", "--state", "RUNNING", **server[1])
        assert "train" not in listed.stdout
