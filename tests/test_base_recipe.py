"""The recipe of the base that distill ships: what `base/dvc.lock` says is of the files as they are."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

BASE = Path(__file__).parents[1] / "base"


def test_the_recorded_sounds_are_those_of_the_scripts() -> None:
    stages = yaml.safe_load((BASE / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    for dependency in stages["sounds"]["deps"]:
        assert hashlib.md5((BASE / dependency["path"]).read_bytes()).hexdigest() == dependency["md5"], dependency


def test_the_sounds_are_computed_alike_on_all_processors() -> None:
    pytest.importorskip("fluidsynth", reason="the base needs its packages", exc_type=ImportError)
    command = [sys.executable, "-c", "import sounds; from distill.instructions import in_force; print(in_force())"]
    done = subprocess.run(command, cwd=BASE, capture_output=True, text=True, check=True)
    assert done.stdout == "portable\n"
