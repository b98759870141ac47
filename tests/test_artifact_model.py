"""The model file: manifest, weights, adding a prior, its schema, and damage of every kind."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifact_example import LINEAGE, PRIOR, PRIOR_METADATA, equal, manifest, prior_state, vqvae_state
from distill.artifact.container import KEY, METADATA, read_document, write_container
from distill.artifact.lineage import lineage_id
from distill.artifact.model_file import check_state, layout, read_manifest, read_model, write_model
from distill.artifact.schema import schema_text
from distill.configs import SpectrogramConfig
from distill.errors import ArtifactError, StorageError

ROOT = Path(__file__).resolve().parent.parent
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def with_prior(tmp_path: Path) -> Path:
    path = tmp_path / "model.distill"
    write_model(path, manifest(prior_config=PRIOR, prior_metadata=PRIOR_METADATA), vqvae_state(), prior_state())
    return path


def test_a_model_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "bells.distill"
    written = manifest()
    digest = write_model(path, written, vqvae_state())
    model = read_model(path)
    assert model.digest == digest == model.manifest.tensor_digest
    assert model.manifest == written.model_copy(update={"tensor_digest": digest}) == read_manifest(path)
    assert model.prior_state is None
    assert equal(model.vqvae_state, vqvae_state())
    assert model.vqvae_state["1.num_batches_tracked"].dtype == torch.int64
    assert isinstance(model.manifest.spectrogram_config, SpectrogramConfig)
    document = read_document(path, format="distill_model", version=2)
    assert document["model_type"] == "vqvae"
    assert document["minor"] == 0
    assert not {"prior_config", "prior_metadata", "memorization", "journal"} & set(document)


def test_a_model_with_a_prior_comes_back(with_prior: Path) -> None:
    model = read_model(with_prior)
    assert model.manifest.prior_config == PRIOR
    assert model.manifest.prior_metadata == PRIOR_METADATA
    assert model.prior_state is not None
    assert equal(model.prior_state, prior_state())
    assert model.manifest.prior_config.arguments()["context"] == 128
    assert "n_mels" not in model.manifest.vqvae_config.arguments()
    again = with_prior.with_name("again.distill")
    write_model(again, model.manifest, model.vqvae_state, model.prior_state)
    assert again.read_bytes() == with_prior.read_bytes()


def test_the_name_is_not_part_of_the_digest(tmp_path: Path) -> None:
    metadata = manifest().metadata.model_copy(update={"name": "gongs"})
    first = write_model(tmp_path / "a", manifest(), vqvae_state())
    second = write_model(tmp_path / "b", manifest(metadata=metadata), vqvae_state())
    assert first == second
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_a_prior_of_other_codes_is_refused() -> None:
    for change in ({"codebook_size": 32}, {"num_quantizers": 3}, {"bands": 4}):
        with pytest.raises(ValueError, match=r"equal|sixteenth"):
            manifest(prior_config=PRIOR.model_copy(update=change), prior_metadata=PRIOR_METADATA)


def test_manifest_and_weights_must_belong_together(tmp_path: Path, with_prior: Path) -> None:
    full = read_model(with_prior)
    for state, prior, text in (({}, None, "without weights"), (vqvae_state(), prior_state(), "belong together")):
        with pytest.raises(ValueError, match=text):
            write_model(tmp_path / "x", manifest(), state, prior)
    halves = {
        "weights of the prior is missing": ({"vqvae.a": torch.zeros(1)}, full.manifest),
        "a prior_config is missing": ({"vqvae.a": torch.zeros(1), "prior.a": torch.zeros(1)}, manifest()),
        "no weights of a VQ-VAE": ({"later.a": torch.zeros(1)}, manifest()),
    }
    for text, (tensors, half) in halves.items():
        write_container(tmp_path / "x", tensors, half.document())
        with pytest.raises(ArtifactError, match=text):
            read_model(tmp_path / "x")


def test_numbers_that_are_not_finite_become_null_with_a_warning(tmp_path: Path) -> None:
    odd = manifest(
        loss_curve_history={"train_losses": [1.0, NAN, INF], "val_losses": [0.5]},
        metadata={"name": "x", "best_val_loss": -INF, "warnings": ["a loud file"]},
        training_config={"nested": [{"rate": NAN}]},
    )
    assert odd.loss_curve_history.train_losses == (1.0, None, None)
    assert odd.metadata.best_val_loss is None
    assert odd.training_config == {"nested": [{"rate": None}]}
    assert odd.metadata.warnings == (
        "a loud file",
        "training_config.nested.rate was not finite and is null",
        "loss_curve_history.train_losses was not finite and is null",
        "metadata.best_val_loss was not finite and is null",
    )
    write_model(tmp_path / "x", odd, vqvae_state())
    assert read_manifest(tmp_path / "x").metadata == odd.metadata


def test_keys_of_a_later_minor_version_are_ignored(tmp_path: Path) -> None:
    plain = manifest(prior_config=PRIOR, prior_metadata=PRIOR_METADATA)
    document = plain.document()

    def extend(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: extend(item) for key, item in value.items()} | {"from_later": {"x": [1]}}
        return [extend(item) for item in value] if isinstance(value, list) else value

    open_keys = ("training_config", "codebook_health_snapshot")
    later = {key: item if key in open_keys else extend(item) for key, item in document.items()}
    later["lineage"] = {**document["lineage"], "from_later": 1}
    later["prior_metadata"] = {**document["prior_metadata"], "from_later": 1}
    later |= {"minor": 7, "from_later": [None]}
    tensors = {"vqvae.a": torch.zeros(1), "prior.a": torch.zeros(1), "later.a": torch.zeros(1)}
    digest = write_container(tmp_path / "x", tensors, later)
    model = read_model(tmp_path / "x")
    assert model.manifest == plain.model_copy(update={"minor": 7, "tensor_digest": digest})
    assert set(model.vqvae_state) == {"a"}


def test_manifests_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    document = manifest().document()
    for change, words in (
        ({"vqvae_config": {**document["vqvae_config"], "codebook_size": 10**9}}, "vqvae_config.codebook_size"),
        ({"vqvae_config": {**document["vqvae_config"], "n_mels": 64}}, "must be equal"),
        ({"spectrogram_config": {"hop_length": -1}}, "spectrogram_config.hop_length"),
        ({"codebook_health_snapshot": {"first": {}}}, "codebook_health_snapshot"),
        ({"metadata": {}}, "metadata.name"),
        ({"model_type": "gan"}, "model_type"),
        ({"prior_config": PRIOR.model_dump()}, "belong together"),
    ):
        write_container(tmp_path / "x", {"vqvae.a": torch.zeros(1)}, {**document, **change})
        with pytest.raises(ArtifactError) as caught:
            read_manifest(tmp_path / "x")
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_weights_of_another_shape(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_model(path, manifest(), vqvae_state())
    state = read_model(path).vqvae_state
    expected = layout({name: tensor.to("meta") for name, tensor in state.items()})
    check_state(expected, state, path)
    for change, words in (
        ({"codebook.embed": torch.zeros(32, 8)}, r"codebook.embed has the shape \[32, 8\], expected \[16, 8\]"),
        ({"0.bias": torch.zeros(4).double()}, "0.bias holds torch.float64, expected torch.float32"),
        ({"extra": torch.zeros(4)}, "tensor extra is unknown"),
    ):
        with pytest.raises(ArtifactError, match=words):
            check_state(expected, {**state, **change}, path)
    del state["0.weight"]
    with pytest.raises(ArtifactError, match=r"0\.weight is missing"):
        check_state(expected, state, path)


def test_the_lineage_id_follows_everything_but_the_models_name() -> None:
    values = LINEAGE.model_dump(mode="json")
    assert lineage_id(values) == LINEAGE.id
    renamed = {**values["parameters"], "model": {"name": "gongs"}}
    assert lineage_id({**values, "parameters": renamed}) == LINEAGE.id
    changes: list[dict[str, Any]] = [
        {"seed": 8},
        {"data_digest": "cd" * 32},
        {"code_versions": {"prepare": 2}},
        {"parameters": {}},
        {"environment": {**values["environment"], "threads": 1}},
    ]
    assert len({LINEAGE.id} | {lineage_id({**values, **change}) for change in changes}) == 6


def test_the_committed_schema_is_current() -> None:
    committed = (ROOT / "docs" / "reference" / "distill-file.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run python scripts/write_schema.py"


def test_written_documents_follow_the_schema(with_prior: Path) -> None:
    import jsonschema

    header = with_prior.read_bytes()
    size = int.from_bytes(header[:8], "little")
    document = json.loads(json.loads(header[8 : 8 + size])[METADATA][KEY])
    check = jsonschema.Draft202012Validator(json.loads(schema_text()))
    check.validate(document)
    check.validate({**document, "minor": 4, "metadata": {**document["metadata"], "from_later": 1}})
    for broken in ({**document, "version": 3}, {k: v for k, v in document.items() if k != "lineage"}):
        assert not check.is_valid(broken)


def test_the_documented_six_lines_read_the_metadata(with_prior: Path) -> None:
    page = (ROOT / "docs" / "reference" / "file-format.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line]) == 6
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=with_prior.parent, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "bells {'level_0': {'dead_codes': 8, 'perplexity': 6.5, 'utilization': 0.5}, " + (
        "'level_1': {'dead_codes': 8, 'perplexity': 6.5, 'utilization': 0.5}}\n"
    )


def test_a_manifest_is_read_without_torch(with_prior: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from distill.artifact.model_file import read_manifest;"
        "assert read_manifest(Path(sys.argv[1])).metadata.file_count == 5;"
        "assert not {'torch', 'numpy', 'safetensors'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script, str(with_prior)], env=environment, check=True, timeout=60)


LOSSES = st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=5)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(), losses=LOSSES, parameters=st.dictionaries(st.text(), JSON, max_size=4), tags=st.lists(st.text()))
def test_any_manifest_comes_back(
    tmp_path: Path, name: str, losses: list[float | None], parameters: dict[str, Any], tags: list[str]
) -> None:
    written = manifest(
        metadata={"name": name, "description": name, "tags": tags, "seconds": 2.5},
        loss_curve_history={"train_losses": losses, "val_losses": losses},
        training_config=parameters,
        journal=[parameters],
    )
    digest = write_model(tmp_path / "x", written, {"a": torch.zeros(1)})
    assert read_manifest(tmp_path / "x") == written.model_copy(update={"tensor_digest": digest})


def test_results_are_frozen(with_prior: Path) -> None:
    model = read_model(with_prior)
    assert replace(model, digest="x").digest == "x"
    with pytest.raises(AttributeError):
        model.digest = "x"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        model.manifest.minor = 3  # type: ignore[misc]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        write_model(tmp_path / "file" / "x.distill", manifest(), vqvae_state())
