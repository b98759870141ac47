"""Changed code of a stage asks for a decision about its version."""

import runpy
from pathlib import Path

import pytest

from distill.files import read_json
from distill.stages.versions import CODE_VERSIONS

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "write_fingerprints.py"))


@pytest.mark.parametrize("stage", CODE_VERSIONS)
def test_the_code_of_a_stage_is_the_one_its_version_stands_for(stage: str) -> None:
    recorded = read_json(SCRIPT["FINGERPRINTS"], what="fingerprints", schema=SCRIPT["SCHEMA"])["stages"][stage]
    now = SCRIPT["fingerprints"]()[stage]
    assert recorded == now, (
        f"the code of {stage} changed: if it now writes other bytes, raise its version in distill/stages/versions.py "
        "and dvc.yaml; then run python scripts/write_fingerprints.py"
    )


def test_a_fingerprint_sees_code_and_not_words() -> None:
    found = SCRIPT["fingerprints"]()
    assert found.keys() == CODE_VERSIONS.keys()
    assert len({entry["digest"] for entry in found.values()}) == len(found)
