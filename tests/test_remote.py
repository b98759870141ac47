"""Workers that share nothing but addresses: each with a home of its own, where there may be users of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from local import Services
from team_util import services

from pipeline_util import TINY
from project_util import PROJECT, call, commit
from sounds_util import folder_of_tones

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

# Users without accounts: the system knows them by number alone.
USERS = {"a": 52001, "b": 52002}
SECONDS = 420.0


@dataclass
class Team:
    """Servers, a bare repository, and the homes of two workers.

    Attributes:
        services: the servers.
        root: a folder that everybody may look into.
        project: the client's own.
        apart: whether each worker is another user, whose home the others cannot read.
    """

    services: Services
    root: Path
    project: Path
    apart: bool

    @property
    def client(self) -> dict[str, str]:
        return {**self.services.client(), "PYTHONPATH": str(PROJECT), "DISTILL_HOME": str(self.root / "client")}

    def home(self, name: str) -> Path:
        home = self.root / f"home-{name}"
        if not home.is_dir():
            home.mkdir(mode=0o700)
            # Whoever owns the repository, it is the team's.
            (home / ".gitconfig").write_text("[safe]\n    directory = *\n")
            if self.apart:
                os.chown(home, USERS[name], USERS[name])
        return home

    def own(self, name: str) -> dict[str, str]:
        """What is a worker's own in its environment."""
        return {
            "PYTHONPATH": str(PROJECT),
            "USER": name,
            "LOGNAME": name,
            "TMPDIR": str(self.home(name)),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DISTILL_PROJECT": "",
            "DISTILL_TRACKING": "on",
        }

    def start(self, name: str) -> None:
        user: Any = USERS[name] if self.apart else None
        self.services.worker(name, self.home(name), user=user, **self.own(name))

    def run(self, *parameters: str) -> str:
        """Start a run of the deployment; its id."""
        given = [word for each in parameters for word in ("--param", each)]
        said = self.prefect("deployment", "run", "train/remote", *given)
        return next(word.rsplit("/", 1)[1] for word in said.split() if "/runs/flow-run/" in word)

    def prefect(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "prefect", *arguments]
        return call(self.project, *command, **{**self.client, "COLUMNS": "300"}).stdout

    def ended(self, run: str) -> tuple[str, str]:
        """Wait for the end of a run; its state and what that says."""
        until = time.monotonic() + SECONDS
        while (state := self.state(run))[0] not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            assert time.monotonic() < until, f"{state}\n{self.prefect('flow-run', 'logs', run)[-3000:]}"
            time.sleep(1.0)
        return state

    def completed(self, run: str) -> None:
        state = self.ended(run)
        assert state[0] == "COMPLETED", f"{state}\n{self.prefect('flow-run', 'logs', run)[-4000:]}"

    def state(self, run: str) -> tuple[str, str]:
        try:
            found = json.loads(self.prefect("flow-run", "inspect", run, "--output", "json"))["state"]
        except AssertionError:
            # The server may be away.
            return "UNKNOWN", ""
        return found["type"], found["message"] or ""


def make_team(root: Path, found: Services) -> Team:
    """Deploy a project whose code, sounds and results have addresses alone."""
    call(root, "git", "init", "--quiet", "--bare", "--initial-branch=main", "team.git")
    folder_of_tones(root / "in", 6)
    environment = {**found.client(), "PYTHONPATH": str(PROJECT), "DISTILL_PROJECT": ""}
    call(root, sys.executable, "-m", "distill", "new", "kit", "--sounds", "in", **environment)
    project = root / "kit"
    params = yaml.safe_load((project / "params.yaml").read_text())
    params = {**params, **{name: {**params.get(name, {}), **section} for name, section in TINY.items()}}
    params["model"]["name"], params["data"]["path"] = "kit", "data/in"
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    call(project, "dvc", "remote", "add", "--default", "team", "s3://distill/dvc")
    commit(project, "Tiny")
    call(project, "git", "remote", "add", "origin", str(root / "team.git"))
    call(project, "git", "push", "--quiet", "origin", "HEAD:main")
    call(project, "dvc", "push", **environment)
    shutil.rmtree(root / "in")
    team = Team(found, root, project, can_be(USERS["a"]))
    team.prefect("work-pool", "create", "distill", "--type", "process")
    team.prefect("deploy", "--name", "train/remote", "--no-prompt")
    return team


def can_be(user: int) -> bool:
    """Whether processes can be another user's, who can run distill: Python may lie in a home that is closed."""
    if os.geteuid() != 0:
        return False
    command, environment = [sys.executable, "-c", "import distill"], {**os.environ, "PYTHONPATH": str(PROJECT)}
    try:
        done = subprocess.run(
            command, user=user, group=user, extra_groups=[], env=environment, capture_output=True, check=False
        )
    except PermissionError:
        return False
    return done.returncode == 0


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    with services() as found, tempfile.TemporaryDirectory(prefix="distill-team-") as temporary:
        Path(temporary).chmod(0o755)
        found.start()
        yield make_team(Path(temporary), found)


def test_a_worker_elsewhere_trains_and_everybody_has_the_result(team: Team) -> None:
    team.start("b")
    run = team.run()
    team.completed(run)
    said = team.prefect("deployment", "inspect", "train/remote")
    assert str(team.project) not in said
    # Whoever asked for it trains nothing.
    done = call(team.project, "dvc", "repro", "--pull", **team.client).stdout
    assert "Running stage" not in done
    assert "up to date" in call(team.project, "dvc", "status", **team.client).stdout
    assert (team.project / "models" / "kit.distill").is_file()
    command = [sys.executable, "-m", "distill", "model", "list", "--json"]
    (model,) = json.loads(call(team.project, *command, **team.client).stdout)["models"]
    assert "kit/1" in str(model["registered"])
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        for name, value in team.client.items():
            patch.setenv(name, value)
        client = mlflow.MlflowClient(team.client["MLFLOW_TRACKING_URI"])
        version = client.get_model_version("kit", "1")
        record = client.get_run(version.run_id)
        assert record.info.status == "FINISHED"
        sounds = [each.path for each in client.list_artifacts(version.run_id, "previews")]
    assert any(path.endswith(".flac") for path in sounds)
    assert record.data.tags["distill.project_commit"] == call(team.project, "git", "rev-parse", "HEAD").stdout.strip()
    # Another user builds the same bytes from the addresses.
    home = team.home("a")
    environment = {**team.client, **team.own("a"), "HOME": str(home), "DISTILL_HOME": str(home / "distill")}
    user: Any = USERS["a"] if team.apart else None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in (
        ["git", "clone", "--quiet", str(team.root / "team.git"), str(home / "kit")],
        [sys.executable, "-m", "distill", "reproduce", "models:/kit/1", "--project", str(home / "kit")],
    ):
        seen = subprocess.run(
            command,
            cwd=home,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            env={**os.environ, **environment, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert seen.returncode == 0, seen.stdout + seen.stderr
    assert "identical" in seen.stdout


def test_a_run_ends_well_while_servers_come_and_go(team: Team) -> None:
    """Prefect's server starts anew, and the store is away for a while, in the middle of a training."""
    if "b" not in team.services.running:
        team.start("b")
    run = team.run('vqvae={"epochs": 60}')
    wait_for_stage(team)
    team.services.stop("prefect")
    time.sleep(5.0)
    team.services.start_service("prefect")
    store = psutil.Process(team.services.running["s3"].pid)
    # It keeps its files in memory: it is held up, not ended.
    store.suspend()
    time.sleep(60.0)
    store.resume()
    team.completed(run)


def test_what_a_killed_worker_leaves_another_run_goes_on_with(team: Team) -> None:
    if "b" not in team.services.running:
        team.start("b")
    long = 'vqvae={"epochs": 80, "checkpoint_interval": 1}'
    known = checkpoints(team)
    team.run(long)
    wait_for_stage(team)
    # Of a training that goes on.
    until = time.monotonic() + 120
    while checkpoints(team) <= known:
        assert time.monotonic() < until
        time.sleep(0.2)
    team.services.stop("b", signal.SIGKILL)
    until = time.monotonic() + 60
    while stages(team):
        assert time.monotonic() < until
        time.sleep(0.2)
    team.start("b")
    again = team.run(long)
    team.completed(again)
    assert "resumes at step" in team.prefect("flow-run", "logs", again)


def test_a_sweep_spreads_over_the_workers(team: Team) -> None:
    for name in ("a", "b"):
        if name not in team.services.running:
            team.start(name)
    command = [sys.executable, "-m", "distill", "sweep", "run.seed=1,2", "--pool", "--workers", "2", "--json"]
    done = call(team.project, *command, timeout=900, **team.client)
    rows = json.loads(done.stdout)["runs"]
    assert sorted(row["settings"] for row in rows) == ["run.seed=1", "run.seed=2"]
    assert all(row["version"] for row in rows)
    # Each worker made one.
    assert {Path(row["workspace"]).is_relative_to(team.home("a")) for row in rows} == {True, False}


def stages(team: Team) -> list[psutil.Process]:
    """Processes that train for a worker."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        try:
            if "train_vqvae" in words and str(team.root) in process.environ().get("DVC_ROOT", ""):
                found.append(process)
        except psutil.Error:
            continue
    return found


def checkpoints(team: Team) -> set[Path]:
    """States that trainings of the worker b can go on from."""
    return set(team.home("b").glob("distill/clones/*/*/runs/*/.distill/state/train_vqvae/*/checkpoint-*"))


def wait_for_stage(team: Team) -> None:
    until = time.monotonic() + 240
    while not stages(team):
        assert time.monotonic() < until
        time.sleep(0.2)
    time.sleep(3.0)
