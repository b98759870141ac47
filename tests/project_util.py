"""A small project folder with the pipeline's own files, under git."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from database_util import put_database
from pipeline_util import TINY
from sounds_util import folder_of_tones

PROJECT = Path(__file__).parents[1]
FILES = (
    "dvc.yaml",
    "prefect.yaml",
    "prefect.toml",
    ".dvcignore",
    ".gitignore",
    "pyproject.toml",
    ".dvc/config",
    ".dvc/.gitignore",
    "journal/train_vqvae.jsonl",
    "journal/train_prior.jsonl",
)


def call(
    project: Path, *command: str, code: int | None = 0, timeout: float = 280, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a project whose own code comes first."""
    inherited = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment = {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(project), os.environ.get("PYTHONPATH")])),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "DVC_NO_ANALYTICS": "1",
        "DISTILL_TRACKING": "on",
        **more,
    }
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


def distill(
    project: Path, *arguments: str, code: int | None = 0, timeout: float = 280, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the `distill` command of a project."""
    done = call(project, sys.executable, "-m", "distill", *arguments, code=code, timeout=timeout, **more)
    assert "Traceback" not in done.stderr
    return done


def git(folder: Path, *arguments: str) -> str:
    """What git says, to somebody who told it a name."""
    return call(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments).stdout


def commit(project: Path, message: str) -> None:
    """Commit everything."""
    git(project, "add", "-A")
    git(project, "commit", "-qm", message)


def make_project(root: Path, **changes: dict[str, Any]) -> Path:
    """A project with its own code, little sounds and the parameters of TINY, with `changes` by section."""
    put_database(root)
    for name in FILES:
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, root / name)
    for name in ("distill", "flows"):
        # With what was compiled: it is as old as its source there, too.
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("*.pyc.*"))
    folder_of_tones(root / "sounds", 6)
    values: dict[str, Any] = {name: dict(section) for name, section in TINY.items()}
    values["data"]["path"] = "sounds"
    # What a stage lists under `params` in dvc.yaml must stand in params.yaml.
    values["run"] |= {"seed": 0}
    values["spectrogram"] = {"floor_db": -20.0}
    for name, section in changes.items():
        values[name] = {**values.get(name, {}), **section}
    (root / "params.yaml").write_text(yaml.safe_dump({"schema": 1, **values}))
    git(root, "init", "-q")
    commit(root, "first")
    return root
