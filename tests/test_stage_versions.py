"""Changed code of a stage asks for a decision about its version."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distill.files import read_json
from distill.stages.versions import CODE_VERSIONS

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "write_fingerprints.py"))


@pytest.fixture(scope="module")
def fingerprints() -> dict[str, Any]:
    """Those of the code as it is."""
    found: dict[str, Any] = SCRIPT["fingerprints"]()
    return found


@pytest.mark.parametrize("stage", CODE_VERSIONS)
def test_the_code_of_a_stage_is_the_one_its_version_stands_for(stage: str, fingerprints: dict[str, Any]) -> None:
    recorded = read_json(SCRIPT["FINGERPRINTS"], what="fingerprints", schema=SCRIPT["SCHEMA"])["stages"][stage]
    now = fingerprints[stage]
    assert recorded == now, (
        f"the code of {stage} changed: if it now writes other bytes, raise its version in distill/stages/versions.py "
        "and dvc.yaml; then run python scripts/write_fingerprints.py"
    )


def test_a_fingerprint_sees_code_and_not_words(tmp_path: Path, fingerprints: dict[str, Any]) -> None:
    """In a copy of the package a module that all stages use has other words, one of the prior other code."""
    before = fingerprints
    assert before.keys() == CODE_VERSIONS.keys()
    assert len({entry["digest"] for entry in before.values()}) == len(before)
    for name in ("distill", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shared = tmp_path / "distill" / "files.py"
    text = shared.read_text()
    # Every docstring begins with a word.
    changed, count = re.subn(r'"""(?=\w)', '"""Otherwise: ', text)
    assert count > 10
    shared.write_text(changed + "\n\n# The end.\n")
    code = tmp_path / "distill" / "models" / "prior.py"
    code.write_text(code.read_text() + "\n\nMORE = 1\n")

    def differing() -> set[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        subprocess.run([sys.executable, "scripts/write_fingerprints.py"], cwd=tmp_path, env=environment, check=True)
        written = tmp_path / SCRIPT["FINGERPRINTS"].relative_to(ROOT)
        after = read_json(written, what="fingerprints", schema=SCRIPT["SCHEMA"])["stages"]
        return {stage for stage in after if after[stage] != before[stage]}

    of_prior = differing()
    assert "train_prior" in of_prior
    assert not of_prior & {"prepare", "train_vqvae"}
    shared.write_text(text + "\n\nMORE = 1\n")
    assert differing() == {*CODE_VERSIONS}
