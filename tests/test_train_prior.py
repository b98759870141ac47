"""Another prior around the VQ-VAE of a finished model: what was said of the old prior is gone."""

import shutil
from pathlib import Path

import pytest
from space_util import stereo_folder

from distill.artifact.manifest import Manifest
from distill.artifact.model_file import read_manifest, read_model, write_model
from distill.errors import StorageError
from distill.live.events import Listeners
from distill.live.stop_request import StopRequest
from distill.params import parse_params
from distill.registry.promotion import worse
from distill.runs import local
from distill.runs.local import Options, Outcome, train_prior_for
from distill.stages import train_prior
from distill.stages.pipeline import STAGES
from distill.stages.workspace import Call
from pipeline_util import TINY, make_workspace, run

WARNING = "the prior begins to memorize its sounds"


def _entry(stage: str, step: int) -> dict[str, object]:
    return {"schema": 1, "stage": stage, "seq": 1, "step": step, "who": "test", "change": {"max_lr": 1e-4}}


@pytest.fixture(scope="module")
def stereo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of stereo sounds with two levels; both of its trainings were tuned, and the prior's warned."""
    root = tmp_path_factory.mktemp("stereo")
    workspace = make_workspace(
        root, data={"path": str(stereo_folder(root / "in"))}, vqvae={"num_quantizers": 2}, prior={"epochs": 1}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_prior, "STEPS", 20)
        run(workspace, *STAGES)
    model = read_model(workspace.model("tiny"))
    known = model.manifest
    assert known.prior_metadata is not None
    changed = {
        **dict(known),
        "metadata": known.metadata.model_copy(update={"warnings": ("dead codes", WARNING)}),
        "prior_metadata": known.prior_metadata.model_copy(update={"memorization_warnings": (WARNING,)}),
        "journal": [_entry("train_vqvae", 2), _entry("train_prior", 1)],
    }
    assert model.prior_state is not None
    path = root / "stereo.distill"
    write_model(path, Manifest(**changed), model.vqvae_state, model.prior_state, None, model.space_state)
    return path


def train_again(model: Path, project: Path, target: Path | None) -> Outcome:
    sections = ("data", "run", "prior", "memorization", "vocoder")
    params = parse_params({"schema": 1, **{name: TINY[name] for name in sections}}, where="test")
    params = params.model_copy(update={"data": params.data.model_copy(update={"path": "sounds"})})
    options = Options(project, None, target, fresh=False, emit=Listeners([]), stop=StopRequest())
    return train_prior_for(model, project / "sounds", params, options)


@pytest.fixture(scope="module")
def again(stereo: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The same model with a prior of mono sounds."""
    project = tmp_path_factory.mktemp("project")
    (project / ".dvc").mkdir()
    make_workspace(project)
    target = project / "again.distill"
    assert train_again(stereo, project, target).model == target
    # The same call brings the same model again, and may.
    assert train_again(stereo, project, target).model == target
    return read_manifest(target)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_another_model_that_lies_at_the_target_stays(
    stereo: Path, tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "other.distill"
    make_workspace(tmp_path)

    def trained(stage: str, call: Call) -> dict[str, object]:
        shutil.copyfile(stereo, target)
        return {"model": "made.distill", "digest": "0" * 64}

    monkeypatch.setattr(local, "run_stage", trained)
    if when == "before":
        shutil.copyfile(stereo, target)
        monkeypatch.setattr(local, "run_stage", None)
    with pytest.raises(StorageError, match=r"other\.distill exists and is another file.*with --force"):
        train_again(stereo, tmp_path, target)
    assert target.read_bytes() == stereo.read_bytes()
    assert (tmp_path / "runs").exists() == (when == "meanwhile")


def test_a_prior_of_mono_sounds_leaves_no_space(stereo: Path, again: Manifest) -> None:
    assert read_manifest(stereo).space_config is not None
    assert (again.space_config, again.space_metadata) == (None, None)


def test_changes_and_warnings_are_those_of_the_new_prior(again: Manifest) -> None:
    assert [entry["stage"] for entry in again.journal or ()] == ["train_vqvae"]
    assert "dead codes" in again.metadata.warnings
    assert WARNING not in again.metadata.warnings


def test_the_codes_stay_the_same_codes_and_a_worse_prior_of_them_is_told(stereo: Path, again: Manifest) -> None:
    before = read_manifest(stereo).lineage.parameters["vqvae_lineage"]
    assert again.lineage.parameters["vqvae_lineage"] == before
    assert again.prior_metadata is not None
    better = again.prior_metadata.perplexity.model_copy(update={"validation": 1.0})
    champion = again.model_copy(
        update={"prior_metadata": again.prior_metadata.model_copy(update={"perplexity": better})}
    )
    assert any("held-out perplexity" in reason for reason in worse(again, champion))


def test_it_is_planned_for_the_levels_of_the_model(again: Manifest) -> None:
    assert again.prior_config is not None
    assert again.prior_config.num_quantizers == 2
