"""Which versions may be champion, and what holds others off."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from distill.errors import ArtifactError, DataError, UsageError
from distill.registry.promotion import Refused, promote
from distill.registry.registration import register
from distill.registry.registry import find_version, resolve
from distill.tracking.address import client_of
from registry_util import model_file, with_model

# MLflow uses what SQLAlchemy will remove.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_model(tmp_path_factory.mktemp("promotion") / "project")


def promoted(name: str, project: Path, folder: Path, *, force: bool = False, **kind: Any) -> str:
    version = register(model_file(folder / f"{name}.distill", **kind), project)
    try:
        promote(version.reference, project, force=force)
    except Refused as error:
        return str(error)
    assert find_version(f"{name}@champion", project).version == version.version
    return "promoted"


def test_only_what_memorized_nothing_and_is_not_worse_becomes_champion(project: Path, tmp_path: Path) -> None:
    assert "a reason" in promoted("gate", project, tmp_path, verdict="fail", weights=1)
    assert "a reason" in promoted("gate", project, tmp_path, verdict="fail", weights=2, force=True)
    assert "warn" in promoted("gate", project, tmp_path, verdict="warn", weights=3)
    assert "never checked" in promoted("gate", project, tmp_path, verdict=None, weights=4)
    assert promoted("gate", project, tmp_path, distance=4.0, weights=5) == "promoted"
    assert "4.5" in promoted("gate", project, tmp_path, distance=4.5, weights=6)
    assert "other sounds" in promoted("gate", project, tmp_path, distance=3.0, weights=7, data="cd")
    assert promoted("gate", project, tmp_path, distance=4.5, weights=8, force=True) == "promoted"
    assert promoted("gate", project, tmp_path, distance=3.9, weights=9) == "promoted"


def test_an_unknown_quality_compares_by_loss_or_not_at_all(project: Path, tmp_path: Path) -> None:
    assert promoted("blind", project, tmp_path, distance=None, weights=1) == "promoted"
    assert "not known" in promoted("blind", project, tmp_path, distance=3.0, weights=2)
    known = {"distance": None, "best_val_loss": 0.5}
    assert promoted("blind", project, tmp_path, weights=3, force=True, **known) == "promoted"
    assert "loss is 0.6" in promoted("blind", project, tmp_path, weights=4, distance=None, best_val_loss=0.6)
    assert promoted("blind", project, tmp_path, weights=5, distance=None, best_val_loss=0.4) == "promoted"


def test_a_tag_that_somebody_edits_does_not_open_the_gate(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "edited.distill", verdict="fail"), project)
    client_of(project).set_model_version_tag(version.name, str(version.version), "distill.verdict", "pass")
    with pytest.raises(Refused, match="memorized"):
        promote(version.reference, project)


def test_a_file_that_was_exchanged_or_damaged_is_no_champion(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "changed.distill", verdict="fail"), project)
    stored = resolve(version.reference, project)
    shutil.copy(model_file(tmp_path / "other" / "changed.distill", weights=1), stored)
    with pytest.raises(ArtifactError, match="is not the model that was registered"):
        promote(version.reference, project)
    data = bytearray(model_file(tmp_path / "again" / "changed.distill").read_bytes())
    data[-1] ^= 1
    stored.write_bytes(data)
    with pytest.raises(ArtifactError, match="damaged"):
        promote(version.reference, project)


def test_a_file_is_registered_before_it_is_promoted(project: Path) -> None:
    with pytest.raises(UsageError, match="distill model register"):
        promote(str(project / "models" / "bells.distill"), project)


def test_a_file_that_is_in_no_registry_is_told_how_it_gets_there(project: Path) -> None:
    file = shutil.copy(project / "models" / "bells.distill", project / "models" / "kit.distill")
    with pytest.raises(DataError, match=rf"{file} is a file: distill model register {file} registers it"):
        promote("kit", project)
    file.unlink()
