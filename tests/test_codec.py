"""A model in use: sound to codes and back, and loading it from a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import asking_util
from distill.artifact.architecture import SpaceArchitecture
from distill.artifact.manifest import SpaceMetadata
from distill.artifact.model_file import read_model, write_model
from distill.artifact.prior_file import PriorFile, SpacePart
from distill.codec.codec import Codec, normalize
from distill.codec.load import build_networks
from distill.codec.unchanged_codes import keep_codes
from distill.configs import STRIDE
from distill.dataset.store import PreparedDataset
from distill.errors import ArtifactError, DataError
from distill.models.edges import Edges
from distill.models.grid import (
    CONTEXT_COLUMNS,
    PIECE_COLUMNS,
    columns_of_frames,
    decode_grid,
    encode_pieces,
    grid_to_indices,
    indices_to_grid,
    vector_pieces,
)
from model_example import BANDS, LEVELS, SIZE, codec, encode_grid, load_codec, prior, vqvae, write_example
from pipeline_util import make_workspace, run


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32)


def test_the_grid_is_time_band_level() -> None:
    bands, columns, levels = 3, 5, 2
    indices = torch.arange(bands * columns * levels).view(1, bands * columns, levels)
    grid = indices_to_grid(indices, bands)
    assert grid.shape == (1, columns, bands, levels)
    for band in range(bands):
        for column in range(columns):
            assert torch.equal(grid[0, column, band], indices[0, band * columns + column])
    assert torch.equal(grid_to_indices(grid), indices)


@pytest.mark.parametrize("samples", [1, 511, 8192, 48_000, 100_001])
def test_encoding_gives_the_codes_of_the_network_for_the_whole_sound(samples: int) -> None:
    model = codec()
    grid = model.encode(noise(samples))
    assert grid.shape == (columns_of_frames(model.spectrogram.frames_of(samples)), BANDS, LEVELS)
    assert grid.dtype == np.int64
    log_mel = model.mel.log_mel(torch.from_numpy(noise(samples)))[None, None]
    with torch.inference_mode():
        reconstruction, indices, _ = model.vqvae(log_mel)
    for column in range(len(grid)):
        for band in range(BANDS):
            assert grid[column, band].tolist() == indices[0, band * len(grid) + column].tolist()
    decoded = model.decode_log_mel(grid)
    assert decoded.shape == (128, 16 * len(grid))
    np.testing.assert_allclose(decoded[:, : log_mel.shape[-1]], reconstruction[0, 0].numpy(), atol=1e-4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Codec, PreparedDataset]:
    workspace = make_workspace(tmp_path_factory.mktemp("trained"), vqvae={"epochs": 8, "dropout": 0.0})
    run(workspace, "prepare", "configure", "train_vqvae")
    file, dataset = read_model(workspace.vqvae), PreparedDataset(workspace.prepared)
    return Codec(build_networks(file, workspace.vqvae).vqvae, dataset.spectrogram), dataset


def test_codes_stay_like_those_of_a_grid_where_the_sound_is_what_it_was(trained: tuple[Codec, PreparedDataset]) -> None:
    model, dataset = trained
    every = dataset.segments_of("train") + dataset.segments_of("validation")
    rows = {dataset.segment_name(row)[:5]: row for row in every}
    first, other = (model.encode_log_mel(dataset.segment(rows[name])) for name in ("tone0", "noise"))
    rebuilt = model.decode_log_mel(first)
    heard = model.log_mel(model.waveform(rebuilt))
    kept = keep_codes(model, heard, model.encode_log_mel(heard), first)
    assert np.mean(kept[: len(first)] != first) < 0.05
    longer = np.concatenate([rebuilt, rebuilt], axis=1)
    kept = keep_codes(model, longer, model.encode_log_mel(longer), first)
    assert np.array_equal(kept[: len(first) - 1], first[:-1])
    # Where the sound is another one, they give way.
    target = model.decode_log_mel(other)
    kept = keep_codes(model, target, model.encode_log_mel(target), first)
    error = np.abs(model.decode_log_mel(kept) - target).mean()
    plain = np.abs(rebuilt[:, : target.shape[1]] - target[:, : rebuilt.shape[1]]).mean()
    assert error < 0.5 * plain, (error, plain)


@settings(deadline=None, max_examples=30)
@given(samples=st.integers(1, 200_000))
def test_columns_suffice_for_the_samples_and_are_no_more_than_needed(samples: int) -> None:
    model = codec()
    columns = model.columns_of(samples)
    hop = model.spectrogram.hop_length
    assert (16 * columns - 1) * hop >= samples
    assert columns == 1 or (16 * (columns - 1) - 1) * hop < samples


def test_grids_of_equal_length_decode_together_as_alone() -> None:
    model = codec()
    grids = [np.random.default_rng(seed).integers(0, SIZE, (4, BANDS, LEVELS)) for seed in range(3)]
    together = model.decode_log_mels(grids)
    for grid, log_mel in zip(grids, together, strict=True):
        np.testing.assert_allclose(model.decode_log_mel(grid), log_mel, atol=1e-5)
    batch = torch.from_numpy(np.stack(grids))
    assert torch.equal(decode_grid(model.vqvae, batch), torch.from_numpy(together))
    assert encode_grid(model.vqvae, torch.from_numpy(together)).shape == batch.shape


@pytest.mark.parametrize("frames", [1, 16 * 128, 16 * 130 - 5, 16 * 300 + 1])
def test_encoding_in_pieces_is_encoding_whole_and_asks_for_little_at_a_time(frames: int) -> None:
    model = codec(vqvae())
    log_mels = torch.from_numpy(np.random.default_rng(1).uniform(0, 6, (2, 16 * BANDS, frames)).astype(np.float32))
    asked: list[int] = []

    def part(first: int, last: int) -> torch.Tensor:
        assert 0 <= first < last <= frames
        asked.append(last - first)
        return log_mels[..., first:last]

    pieces = list(encode_pieces(model.vqvae, part, frames))
    # Sums of another order may take another one of two codes that are equally near.
    whole = encode_grid(model.vqvae, log_mels)
    assert (torch.cat(pieces, dim=1) == whole).float().mean() > 0.999
    with torch.inference_mode():
        vectors = model.vqvae.encode(log_mels[:, None])
    torch.testing.assert_close(
        torch.cat(list(vector_pieces(model.vqvae, part, frames)), -1), vectors, atol=1e-4, rtol=0
    )
    assert max(asked) <= STRIDE * (PIECE_COLUMNS + 2 * CONTEXT_COLUMNS)
    assert np.mean(model.encode_log_mel(log_mels[1].numpy()) == whole[1].numpy()) > 0.999


@pytest.mark.parametrize("columns", [129, 300])
def test_decoding_in_pieces_is_decoding_whole(columns: int) -> None:
    model = codec()
    grids = np.random.default_rng(0).integers(0, SIZE, (2, columns, BANDS, LEVELS))
    whole = decode_grid(model.vqvae, torch.from_numpy(grids)).numpy()
    np.testing.assert_allclose(model.decode_log_mels(list(grids)), whole, atol=1e-4)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (np.zeros((4, BANDS), np.int64), "does not fit the model"),
        (np.zeros((4, LEVELS, BANDS), np.int64), "does not fit the model"),
        (np.zeros((0, BANDS, LEVELS), np.int64), "does not fit the model"),
        (np.full((4, BANDS, LEVELS), SIZE), f"codes from {SIZE} to {SIZE}; the model has 0 to {SIZE - 1}"),
        (np.full((4, BANDS, LEVELS), -1), "codes from -1"),
    ],
)
def test_a_grid_of_another_model_is_refused(grid: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        codec().decode_log_mel(grid)


def test_normalizing_brings_the_peak_to_1_and_says_by_how_much() -> None:
    quiet = normalize(0.25 * noise(1000) / np.abs(noise(1000)).max())
    assert np.abs(quiet.samples).max() == pytest.approx(1.0)
    assert quiet.samples.dtype == np.float32
    assert quiet.gain_db == pytest.approx(12.04, abs=0.01)
    for silent in (np.zeros(100, np.float32), np.zeros(0, np.float32)):
        with pytest.raises(DataError, match="silent"):
            normalize(silent)


def test_a_model_file_gives_the_networks_that_were_written(tmp_path: Path) -> None:
    path = write_example(tmp_path / "a.distill")
    loaded, sound = load_codec(path), noise(20_000)
    assert np.array_equal(loaded.encode(sound), codec().encode(sound))
    assert not loaded.vqvae.training
    from_file, original = build_networks(read_model(path), path).prior, prior()
    assert not from_file.training
    for name, weight in original.state_dict().items():
        assert torch.equal(from_file.state_dict()[name], weight), name


def test_a_model_without_a_prior_says_what_to_do(tmp_path: Path) -> None:
    path = write_example(tmp_path / "a.distill", with_prior=False)
    load_codec(path)
    with pytest.raises(ArtifactError, match=r"a\.distill has no prior: train one with distill train-prior"):
        _ = build_networks(read_model(path), path).prior


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = write_example(tmp_path / "a.distill")
    model = read_model(path)
    state: dict[str, Any] = dict(model.vqvae_state)
    state["encoder.project.weight"] = torch.zeros(3, 3)
    write_model(path, model.manifest, state, model.prior_state)
    with pytest.raises(ArtifactError, match=r"encoder\.project\.weight has the shape \[3, 3\]"):
        load_codec(path)
    config, metadata = model.manifest.prior_config, model.manifest.prior_metadata
    assert config is not None
    assert metadata is not None
    trained = PriorFile(config, metadata, model.digest, model.prior_state or {})
    other = replace(trained, config=config.model_copy(update={"codebook_size": SIZE + 1}))
    with pytest.raises(ArtifactError, match="codes of another model"):
        build_networks(model, path, trained=other)
    lacking = {name: tensor for name, tensor in trained.state.items() if name != "trained_columns"}
    with pytest.raises(ArtifactError, match="tensor trained_columns is missing"):
        build_networks(model, path, trained=replace(trained, state=lacking))
    huge = replace(trained, config=config.model_copy(update={"hidden": 4096, "layers": 48}))
    with pytest.raises(ArtifactError, match="too few weights for a prior of 48 layers, 4096 wide"):
        build_networks(model, path, trained=huge)
    space = SpacePart(SpaceArchitecture(hidden=4), SpaceMetadata(), {"entries": torch.zeros(1)})
    with pytest.raises(ArtifactError, match="tensor entries has the shape"):
        build_networks(model, path, trained=replace(trained, space=space))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"knobs": {"foo": (0.0, 1.0)}, "drawn": ()}, "has a knob that no sound is measured by: foo"),
        ({"centres": ((0.0,) * 5,) * 2, "spreads": (1.0,) * 5}, "centres are no timbres"),
    ],
)
def test_conditions_that_no_sound_is_measured_by_are_refused(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = asking_util.write_askable(tmp_path / "a.distill")
    model = read_model(path)
    build_networks(model, path)
    config = model.manifest.prior_config
    assert config is not None
    config = config.model_copy(update={"conditions": asking_util.conditions().model_copy(update=change)})
    with pytest.raises(ArtifactError, match=words):
        build_networks(replace(model, manifest=model.manifest.model_copy(update={"prior_config": config})), path)


def test_a_file_need_not_say_how_sounds_begin_and_end(tmp_path: Path) -> None:
    path = write_example(tmp_path / "a.distill")
    model = read_model(path)
    unsaid = ("shortest_columns", "limits")
    state = {name: tensor for name, tensor in (model.prior_state or {}).items() if name not in unsaid}
    write_model(path, model.manifest, model.vqvae_state, state)
    found = build_networks(read_model(path), path).prior
    assert int(found.shortest_columns) == 1
    assert found.edges == Edges()


def test_damaged_weights_are_named_on_decoding() -> None:
    model = codec(vqvae())
    with torch.no_grad():
        model.vqvae.decoder.project.bias[0] = torch.nan
    with pytest.raises(ArtifactError, match="not finite"):
        model.decode_log_mel(np.zeros((2, BANDS, LEVELS), np.int64))
