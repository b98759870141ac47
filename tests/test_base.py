"""The base that the trainings of a VQ-VAE and of a vocoder start from."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.artifact.model_file import read_manifest, read_model
from distill.configs import SpectrogramConfig, VocoderConfig
from distill.errors import ArtifactError, DataError, Interrupted, UsageError
from distill.live.events import Event, Listeners, StepDone
from distill.live.stop_request import StopRequest
from distill.models.vocoder import Vocoder
from distill.params import Params, parse_params
from distill.stages.base import (
    DIGEST,
    SHIPPED,
    SHIPPED_VOCODER,
    VOCODER_DIGEST,
    base_file,
    base_weights,
    has_base,
    vocoder_base,
    vocoder_weights,
)
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace, read_config
from pipeline_util import bytes_of, make_workspace, run

BEFORE = ("prepare", "configure")
# So low that hardly anything is learned: what is there is what was there at the start.
STILL = {"learning_rate": 1e-5, "epochs": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file that fits the tiny parameters."""
    workspace = make_workspace(tmp_path_factory.mktemp("base"), vqvae={"learning_rate": 1e-2})
    run(workspace, *BEFORE, "train_vqvae")
    return workspace.vqvae


def based(root: Path, base: object, **vqvae: Any) -> Workspace:
    return make_workspace(root, vqvae={"base": str(base), **vqvae})


def distance(path: Path, base: Path) -> float:
    """How far encoder and decoder of a model are from those of another."""
    mine, its = (read_model(each).vqvae_state for each in (path, base))
    names = [name for name in mine if name.startswith(("encoder.", "decoder.")) and name.endswith("weight")]
    return float(sum((mine[name] - its[name]).square().sum() for name in names))


def test_a_training_starts_from_encoder_and_decoder_of_the_base_and_places_its_own_codes(
    tmp_path: Path, trained: Path
) -> None:
    workspace = based(tmp_path, trained, codebook_size=4, **STILL)
    run(workspace, *BEFORE, "train_vqvae")
    other = based(tmp_path / "other", "none", **STILL)
    run(other, *BEFORE, "train_vqvae")
    assert distance(workspace.vqvae, trained) < distance(other.vqvae, trained) / 100
    state = read_model(workspace.vqvae).vqvae_state
    assert {tensor.shape[-2] for name, tensor in state.items() if name.endswith("embed")} == {4}


def test_what_it_starts_from_is_part_of_what_a_model_follows_from(tmp_path: Path, trained: Path) -> None:
    workspace = based(tmp_path, trained, **STILL)
    report = run(workspace, *BEFORE, "train_vqvae")
    digest = read_manifest(trained).tensor_digest
    assert report["base"] == digest
    first = read_manifest(workspace.vqvae)
    assert first.lineage.parameters["base"] == digest
    assert "base" not in first.training_config
    # Another base is another training: nothing of the first is gone on with.
    shutil.copyfile(workspace.vqvae, tmp_path / "own.distill")
    based(tmp_path, "own.distill", **STILL)
    run(workspace, "configure", "train_vqvae")
    second = read_manifest(workspace.vqvae)
    assert second.lineage.id != first.lineage.id
    assert second.tensor_digest != first.tensor_digest


def test_without_a_base_everything_is_as_if_there_were_none(tmp_path: Path) -> None:
    # The tiny parameters have shorter code vectors than the base that comes with distill.
    for base in ("auto", "none"):
        run(based(tmp_path / base, base), *BEFORE, "train_vqvae")
    left, right = (bytes_of(tmp_path / base) for base in ("auto", "none"))
    del left["params.yaml"], right["params.yaml"]
    assert left == right
    assert "base" not in read_config(Workspace(tmp_path / "none"), "train_vqvae")


def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path: Path, trained: Path) -> None:
    whole, parts = (based(tmp_path / name, trained) for name in ("whole", "parts"))
    run(whole, *BEFORE, "train_vqvae")
    run(parts, *BEFORE)
    stop = StopRequest()

    def ask(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 2:
            stop.ask()

    with pytest.raises(Interrupted):
        run_stage("train_vqvae", Call(parts, Listeners([ask]), stop))
    run(parts, "train_vqvae")
    assert parts.vqvae.read_bytes() == whole.vqvae.read_bytes()


def test_the_shipped_base_fits_what_is_planned_by_default() -> None:
    assert SHIPPED.stat().st_size < 8 << 20
    manifest = read_manifest(SHIPPED)
    assert manifest.spectrogram_config == SpectrogramConfig()
    assert manifest.prior_config is None
    weights = base_weights(Params(), Path(), DIGEST)
    assert weights is not None
    assert all(torch.isfinite(tensor.float()).all() for tensor in weights.values())
    for settings, starts in (
        ({}, True),
        ({"run": {"preset": "sketch"}}, True),
        ({"run": {"preset": "sharp"}}, True),
        ({"spectrogram": {"hop_length": 1024}}, True),
        ({"spectrogram": {"sample_rate": 44100}}, False),
        ({"run": {"preset": "reference"}}, False),
        ({"vqvae": {"base": "none"}}, False),
        ({"vqvae": {"codebook_dim": 64}}, False),
        ({"spectrogram": {"n_mels": 64}}, False),
        ({"run": {"preset": "reference"}, "vqvae": {"base": "a.distill"}}, True),
    ):
        assert has_base(parse_params({"schema": 1, **settings}, where="here")) is starts


def test_the_shipped_vocoder_belongs_to_the_shipped_base() -> None:
    assert SHIPPED.stat().st_size + SHIPPED_VOCODER.stat().st_size < 8 << 20
    assert vocoder_base(Params(), Path()) == (SHIPPED_VOCODER, VOCODER_DIGEST)
    weights = vocoder_weights(SHIPPED_VOCODER, VOCODER_DIGEST)
    network = Vocoder(VocoderConfig().hidden, VocoderConfig().blocks, SpectrogramConfig())
    network.load_state_dict(weights)
    assert all(torch.isfinite(tensor).all() and tensor.dtype == torch.float32 for tensor in weights.values())
    for settings in (
        {"run": {"preset": "reference"}},
        {"run": {"preset": "sharp"}},
        {"vqvae": {"base": "none"}},
        {"vocoder": {"blocks": 3}},
        {"spectrogram": {"hop_length": 256}},
    ):
        assert vocoder_base(parse_params({"schema": 1, **settings}, where="here"), Path()) is None


def test_a_base_is_found_from_the_workspace_or_a_folder_above(tmp_path: Path, trained: Path) -> None:
    root = tmp_path / "runs" / "one"
    root.mkdir(parents=True)
    shutil.copyfile(trained, tmp_path / "own.distill")
    params = parse_params({"schema": 1, "vqvae": {"base": "own.distill", "codebook_dim": 16}}, where="here")
    assert base_file(params, root) == tmp_path / "own.distill"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"no model", "own.distill"),
        ("cut", "own.distill"),
    ],
)
def test_a_base_that_cannot_be_used_is_said_in_one_line(
    tmp_path: Path, trained: Path, content: Any, words: str
) -> None:
    workspace = based(tmp_path, "own.distill")
    whole = trained.read_bytes()
    if content is not None:
        (tmp_path / "own.distill").write_bytes(whole[: len(whole) // 2] if content == "cut" else content)
    run(workspace, "prepare")
    with pytest.raises(ArtifactError, match=rf"^vqvae\.base: .*{words}") as error:
        run(workspace, "configure")
    assert "\n" not in str(error.value)
    assert not workspace.config("train_vqvae").exists()


def test_a_base_for_other_spectrograms_or_vectors_is_refused(tmp_path: Path, trained: Path) -> None:
    for changes, words in (
        ({"vqvae": {"base": str(trained), "codebook_dim": 32}}, "vqvae.codebook_dim 16, not 32"),
        ({"vqvae": {"base": str(trained), "codebook_dim": 16}, "spectrogram": {"n_mels": 64}}, "n_mels 128, not 64"),
    ):
        params = parse_params({"schema": 1, **changes}, where="here")
        with pytest.raises(UsageError, match=re.escape(words)):
            base_file(params, tmp_path)
    with pytest.raises(UsageError, match=r"vqvae\.base"):
        parse_params({"schema": 1, "vqvae": {"base": "a model"}}, where="here")


def test_a_base_that_changed_since_is_not_used(tmp_path: Path, trained: Path) -> None:
    shutil.copyfile(trained, tmp_path / "own.distill")
    workspace = based(tmp_path, "own.distill", **STILL)
    run(workspace, *BEFORE, "train_vqvae")
    shutil.copyfile(workspace.vqvae, tmp_path / "own.distill")
    with pytest.raises(DataError, match="has changed: run the stage configure again"):
        run(workspace, "train_vqvae")
