"""The VQ-VAE: shapes, padding, quantization, losses and codebook health."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from distill.models.codebooks import nearest_codes
from distill.models.grid import decode_grid, grid_to_indices, indices_to_grid
from distill.models.health import health_of_counts, rate, usage_counts, utilization_warnings
from distill.models.losses import log_spectral_distance, spectral_terms, total_loss
from distill.models.vqvae import ConvVQVAE, QuantizerWrapper, VQDecoder, VQEncoder
from model_example import encode_grid


def small(**options: float) -> ConvVQVAE:
    torch.manual_seed(0)
    return ConvVQVAE(codebook_dim=16, codebook_size=8, dropout=0.0, **options)  # type: ignore[arg-type]


def trained_a_little(levels: int = 3) -> ConvVQVAE:
    model = small(num_quantizers=levels)
    for seed in range(3):
        model(torch.rand(4, 1, 128, 94, generator=torch.Generator().manual_seed(seed)))
    return model.eval()


def test_a_quantizer_that_was_not_tried_is_not_installed() -> None:
    """Private attributes of it are used, which any release may change."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    asked = {each.name: each.specifier for each in map(Requirement, project["dependencies"])}
    assert "999" not in asked["vector-quantize-pytorch"]


def test_the_documented_shapes() -> None:
    torch.manual_seed(0)
    model = ConvVQVAE()
    mel = torch.rand(2, 1, 128, 94)
    reconstruction, indices, commitment = model(mel)
    assert reconstruction.shape == mel.shape
    assert indices.shape == (2, 48, 3)
    assert commitment.shape == ()
    assert (reconstruction >= 0).all()
    assert (model.codebook_dim, model.codebook_size, model.num_quantizers) == (128, 256, 3)
    assert isinstance(model.encoder, VQEncoder)
    assert isinstance(model.decoder, VQDecoder)
    assert isinstance(model.quantizer, QuantizerWrapper)
    assert sum(parameter.numel() for parameter in model.parameters()) == 842_753


@settings(max_examples=12)
@given(st.integers(1, 200), st.integers(1, 2))
def test_any_number_of_frames_comes_back(frames: int, batch: int) -> None:
    model = trained_a_little()
    with torch.no_grad():
        reconstruction, indices, _ = model(torch.rand(batch, 1, 128, frames))
    assert reconstruction.shape == (batch, 1, 128, frames)
    assert indices.shape == (batch, 8 * -(-frames // 16), 3)


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_decoding_the_indices_gives_what_the_forward_pass_gave(levels: int) -> None:
    model = trained_a_little(levels)
    mel = torch.rand(2, 1, 128, 94)
    with torch.no_grad():
        reconstruction, indices, _ = model(mel)
        spatial = model.codes_to_embeddings(indices, (8, 6))
        assert torch.allclose(model.decode(spatial, (128, 94)), reconstruction, atol=1e-5)
        assert model.quantizer.get_output_from_indices(indices).shape == (2, 48, 16)
        library = model.quantizer.rvq.get_output_from_indices(indices)
        assert torch.allclose(model.quantizer.get_output_from_indices(indices), library, atol=1e-6)


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 48), (3, 700)])
@pytest.mark.parametrize(("size", "levels"), [(8, 1), (64, 4), (256, 3)])
def test_codes_are_searched_as_the_library_does(size: int, levels: int, batch: int, length: int) -> None:
    torch.manual_seed(0)
    quantizer = QuantizerWrapper(
        dim=16, codebook_size=size, num_quantizers=levels, decay=0.9, threshold_ema_dead_code=0
    )
    quantizer.place_codes(torch.randn(2 * size, 16))
    vectors = torch.randn(batch, length, 16)
    # As near as a vector can be, and as near to two codes.
    vectors[0, 0] = quantizer.codebooks[0, 1]
    quantizer.rvq.layers[0]._codebook.embed[0, 3] = quantizer.codebooks[0, 2]
    quantizer.eval()
    of_the_library, indices, _ = quantizer.rvq(vectors)
    found, searched = nearest_codes(vectors, quantizer.codebooks)
    assert torch.equal(found, of_the_library)
    assert torch.equal(searched, indices)


def test_a_model_that_is_only_used_is_the_trained_one() -> None:
    trained = trained_a_little()
    used = ConvVQVAE(codebook_dim=16, codebook_size=8, dropout=0.0, trainable=False).eval()
    used.load_state_dict(trained.state_dict())
    assert list(used.state_dict()) == list(trained.state_dict())
    with torch.no_grad():
        mel = torch.rand(2, 1, 128, 94)
        for one, other in zip(used(mel), trained(mel), strict=True):
            assert torch.equal(one, other)


def test_commitment_is_the_same_in_training_and_in_evaluation() -> None:
    model = trained_a_little()
    encoded = torch.randn(2, 16, 8, 6)
    quantizer = model.quantizer
    for layer in quantizer.rvq.layers:
        layer._codebook.threshold_ema_dead_code = 0
    with torch.no_grad():
        in_evaluation = model.quantize(encoded)
        model.train()
        in_training = model.quantize(encoded)
    assert torch.equal(in_evaluation[1], in_training[1])
    assert torch.allclose(in_evaluation[2], in_training[2], rtol=1e-5)
    assert in_evaluation[2] > 0


def test_commitment_does_not_depend_on_its_weight() -> None:
    distances = []
    for weight in (0.1, 1.0):
        model = small(commitment_weight=weight)
        distances.append(
            float(model(torch.rand(2, 1, 128, 94, generator=torch.Generator().manual_seed(1)))[2].detach())
        )
    assert distances[0] == distances[1]


def test_codes_are_placed_on_the_data() -> None:
    torch.manual_seed(0)
    quantizer = QuantizerWrapper(
        dim=4, codebook_size=6, num_quantizers=2, decay=0.9, threshold_ema_dead_code=0, kmeans_iters=20
    )
    assert not quantizer.codebooks.any()
    centres = 10 * torch.eye(6, 4)
    centres[4:] = torch.tensor([[10.0, 10, 0, 0], [0, 10, 10, 0]])
    vectors = centres.repeat(50, 1) + 0.01 * torch.randn(300, 4)
    quantizer.place_codes(vectors)
    assert quantizer.codebooks.any()
    quantizer.eval()
    quantized = quantizer(vectors[None])
    assert quantized.commitment < 10
    assert (quantized.vectors[0] - vectors).square().mean() < 5


def test_a_dead_code_comes_to_life() -> None:
    torch.manual_seed(0)
    quantizer = QuantizerWrapper(dim=4, codebook_size=16, num_quantizers=2, decay=0.5, threshold_ema_dead_code=1)
    vectors = torch.randn(1, 256, 4)
    quantizer(vectors)
    quantizer.rvq.layers[0]._codebook.embed.data[0, 8:] = 1e3
    for _ in range(8):
        used = quantizer(vectors + 0.01 * torch.randn_like(vectors)).indices[..., 0].unique()
    assert len(used) > 8


def test_the_model_runs_on_the_device_of_its_input() -> None:
    with torch.device("meta"):
        model = ConvVQVAE(codebook_dim=16, codebook_size=8)
        encoded = model.encode(torch.empty(2, 1, 128, 94))
        decoded = model.decode(encoded, (128, 94))
        vectors = model.codes_to_embeddings(torch.zeros(2, 48, 3, dtype=torch.int64), (8, 6))
    assert {encoded.device.type, decoded.device.type, vectors.device.type} == {"meta"}


def test_the_grid_is_in_time_order() -> None:
    """A sound that changes half way changes its right columns and not its left ones."""
    model = trained_a_little()
    # The columns at the edge see each other through the convolutions, those further away do not.
    mel = torch.zeros(1, 128, 320)
    other = mel.clone()
    other[..., 240:] = 5
    one, two = encode_grid(model, mel), encode_grid(model, other)
    assert one.shape == (1, 20, 8, 3)
    assert torch.equal(one[:, :12], two[:, :12])
    assert not torch.equal(one[:, 16:], two[:, 16:])
    assert torch.equal(indices_to_grid(grid_to_indices(one), 8), one)
    assert decode_grid(model, one).shape == (1, 128, 320)


def test_utilization_perplexity_and_dead_codes() -> None:
    indices = torch.tensor([[[0, 0, 0], [1, 0, 1], [2, 0, 2], [3, 0, 0]]])
    health = small().quantizer.get_codebook_utilization(indices)
    assert list(health) == ["level_0", "level_1", "level_2"]
    assert health["level_0"] == {"utilization": 0.5, "perplexity": pytest.approx(4), "dead_codes": 4}
    assert health["level_1"] == {"utilization": 1 / 8, "perplexity": pytest.approx(1), "dead_codes": 7}
    assert health["level_2"]["perplexity"] == pytest.approx(np.exp(-(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25))))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_health_is_within_its_bounds(codes: list[int]) -> None:
    (level,) = health_of_counts(usage_counts(np.array(codes)[:, None], 10)).values()
    used = len(set(codes))
    assert level["utilization"] == used / 10
    assert level["dead_codes"] == 10 - used
    assert 1 - 1e-9 <= level["perplexity"] <= used + 1e-9


@pytest.mark.parametrize(
    ("utilization", "perplexity", "light", "words"),
    [
        (0.5, 30.0, "green", "Healthy"),
        (0.49, 30.0, "yellow", "Some codes underused"),
        (0.1, 2.0, "yellow", "Some codes underused"),
        (0.09, 30.0, "red", "Codebook collapse detected"),
        (0.9, 1.9, "red", "Codebook collapse detected"),
    ],
)
def test_the_light(utilization: float, perplexity: float, light: str, words: str) -> None:
    health = {
        "level_0": {"utilization": 1.0, "perplexity": 60.0, "dead_codes": 0},
        "level_1": {"utilization": utilization, "perplexity": perplexity, "dead_codes": 0},
    }
    verdict = rate(health)  # type: ignore[arg-type]
    assert (verdict.light, verdict.words) == (light, words)


def test_the_utilization_warning_is_below_thirty_percent() -> None:
    def level(share: float) -> dict[str, float]:
        return {"utilization": share, "perplexity": 9.0, "dead_codes": 1}

    warnings = utilization_warnings({"level_0": level(0.3), "level_1": level(0.299)})  # type: ignore[dict-item]
    assert warnings == {"level_1": "level_1: only 29% of the codes are used (below 30%)"}


def test_loss_terms_of_equal_and_shifted_spectrograms() -> None:
    mel = torch.rand(2, 1, 128, 94)
    assert all(value == 0 for value in spectral_terms(mel, mel).values())
    shifted = spectral_terms(mel + 2, mel)
    assert {name: round(float(value), 4) for name, value in shifted.items()} == {
        "full": 4,
        "half": 4,
        "quarter": 4,
        "l1": 2,
    }
    assert float(total_loss(shifted, {"full": 0.5, "l1": 0.25})) == pytest.approx(2.5)


def test_coarse_terms_forgive_fine_detail() -> None:
    noise = torch.rand(1, 1, 128, 96) - 0.5
    terms = spectral_terms(noise, torch.zeros_like(noise))
    assert terms["quarter"] < terms["half"] / 2 < terms["full"] / 4


def test_log_spectral_distance() -> None:
    target = torch.full((1, 128, 10), 100.0)
    target[..., 5:] = 0
    # Ten times the power is 10 dB; silent frames do not count.
    total, frames = log_spectral_distance(10 * target, target)
    assert (float(total), float(frames)) == (pytest.approx(50), 5)
    total, frames = log_spectral_distance(torch.zeros_like(target), target)
    assert float(total / frames) == pytest.approx(40)
