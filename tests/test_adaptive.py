"""The table of adaptive settings, row by row, and the preset on top of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.adaptive import batch_size, tuned_prior, tuned_vqvae, validation_fraction
from distill.configs import PriorConfig, VQVAEConfig
from distill.training.config import get_adaptive_prior_config, get_adaptive_vqvae_config

ROWS = {
    20: (64, 0.8, 0.4, 100, 5e-4, 15, (128, 2, 4, 0.3, 50, 3e-4), 2.0),
    100: (128, 0.9, 0.2, 200, 1e-3, 10, (256, 4, 4, 0.2, 100, 1e-3), 3.0),
    101: (256, 0.95, 0.1, 300, 1e-3, 5, (512, 6, 8, 0.1, 150, 1e-3), 5.0),
}


@pytest.mark.parametrize(
    ("files", "row"), [(1, 20), (5, 20), (20, 20), (21, 100), (100, 100), (101, 101), (500, 101), (100_000, 101)]
)
def test_the_table(files: int, row: int) -> None:
    size, decay, dropout, epochs, rate, expansion, prior_row, threshold = ROWS[row]
    vqvae, prior = get_adaptive_vqvae_config(files), get_adaptive_prior_config(files)
    assert (vqvae.codebook_size, vqvae.decay, vqvae.dropout, vqvae.epochs) == (size, decay, dropout, epochs)
    assert (vqvae.learning_rate, vqvae.augmentation_expansion) == (rate, expansion)
    shape = (prior.hidden, prior.layers, prior.heads, prior.dropout, prior.epochs, prior.learning_rate)
    assert shape == prior_row
    assert prior.perplexity_threshold == threshold
    assert (vqvae.num_quantizers, vqvae.codebook_dim, vqvae.commitment_weight) == (3, 128, 0.25)
    assert (vqvae.threshold_ema_dead_code, vqvae.kmeans_iters, vqvae.num_workers) == (2, 10, 0)
    for config in (vqvae, prior):
        assert (config.weight_decay, config.gradient_clip) == (0.01, 1.0)
        assert (config.checkpoint_interval, config.max_checkpoints) == (10, 3)
        assert config.batch_size == min(32, max(1, files * 5 // 4))
    assert vqvae.preview_interval == 20


@pytest.mark.parametrize(("files", "share"), [(9, 0.5), (10, 0.3), (49, 0.3), (50, 0.2), (199, 0.2), (200, 0.1)])
def test_the_held_out_share(files: int, share: float) -> None:
    assert validation_fraction(files) == share


@given(st.integers(1, 100_000), st.integers(1, 500_000))
def test_the_tuned_preset_is_valid_for_any_dataset(files: int, chunks: int) -> None:
    base = get_adaptive_vqvae_config(files)
    tuned = VQVAEConfig.model_validate(
        {
            **base.model_dump(),
            **tuned_vqvae(base, file_count=files, train_chunks=chunks, chunk_vectors=48, given={}),
        }
    )
    assert tuned.codebook_size == base.codebook_size
    prior = get_adaptive_prior_config(files)
    changed = tuned_prior(prior, file_count=files, sounds=chunks, given={})
    PriorConfig.model_validate({**prior.model_dump(), **changed})


@given(st.integers(1, 500), st.integers(1, 64))
def test_the_tuned_plan_counts_steps_whatever_the_batch(chunks: int, batch: int) -> None:
    base = get_adaptive_vqvae_config(100)
    given_values = {"batch_size": batch}
    values = tuned_vqvae(base, file_count=100, train_chunks=chunks, chunk_vectors=48, given=given_values)
    steps = values["epochs"] * -(-chunks * values["augmentation_expansion"] // batch)
    planned = tuned_vqvae(base, file_count=100, train_chunks=32, chunk_vectors=48, given={"batch_size": 32})
    wanted = planned["epochs"] * -(-32 * planned["augmentation_expansion"] // 32)
    assert wanted / 2 <= steps <= 2 * wanted


def test_one_file_makes_batches_of_one() -> None:
    assert batch_size(1) == 1
