"""The recipe of the base that distill ships: what `base/dvc.lock` says is of the files as they are."""

import hashlib
import subprocess
import sys
from pathlib import Path

import yaml

BASE = Path(__file__).parents[1] / "base"
# Of a sound whose last bits depend on the instructions that numpy takes, as 24 bits.
CHIRP = "a0447f6842cfff7f6f893d8f1822c63a020b7a7b5a88dd4bfdf097c1fe905dc9"


def test_the_recorded_sounds_are_those_of_the_scripts() -> None:
    stages = yaml.safe_load((BASE / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    for dependency in stages["sounds"]["deps"]:
        assert hashlib.md5((BASE / dependency["path"]).read_bytes()).hexdigest() == dependency["md5"], dependency


def test_the_sounds_are_computed_alike_on_all_processors() -> None:
    # What fluidsynth renders is not asked for, and not every machine has it.
    program = """
import hashlib, itertools, sys, types
sys.modules["fluidsynth"] = types.SimpleNamespace(Synth=object)
import sounds
import numpy as np
found = {name: samples for name, samples in itertools.islice(sounds.synthesized(), 299)}
ready = np.round(sounds.finished(found["298-chirp"]) * 2**23).astype("<i4")
print(hashlib.sha256(ready.tobytes()).hexdigest())
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=BASE, capture_output=True, text=True, check=False)
    assert done.stdout == f"{CHIRP}\n", done.stderr
