"""The table of adaptive settings, row by row, and the preset on top of it."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.adaptive import (
    LEAST_EVALUATIONS,
    MOST_EVALUATIONS,
    TUNED_PRIOR_STEP_CODES,
    TUNED_PRIOR_STEPS,
    TUNED_VQVAE_STEPS,
    TUNED_VQVAE_STEPS_FROM_BASE,
    batch_size,
    tuned_prior,
    tuned_vqvae,
    validation_fraction,
)
from distill.configs import PriorConfig, VQVAEConfig
from distill.dataset.loader import EpochSteps
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
    changed = tuned_prior(prior, file_count=files, windows=chunks, window_codes=144.0, given={})
    PriorConfig.model_validate({**prior.model_dump(), **changed})


@pytest.mark.parametrize(("base", "steps"), [(False, 1000), (True, 300)])
@given(chunks=st.integers(1, 500), batch=st.integers(1, 64))
def test_the_tuned_plan_counts_steps_whatever_the_batch(base: bool, steps: int, chunks: int, batch: int) -> None:
    table = get_adaptive_vqvae_config(100)
    given_values = {"batch_size": batch}
    values = tuned_vqvae(table, file_count=100, train_chunks=chunks, chunk_vectors=48, given=given_values, base=base)
    in_pass = math.ceil(chunks * values["augmentation_expansion"] / batch)
    in_epoch = EpochSteps(in_pass, values["steps_per_epoch"]).in_epoch
    assert abs(values["epochs"] * in_epoch - steps) <= in_epoch / 2


def test_labels_and_knobs_are_learned_of_enough_sounds() -> None:
    def chosen(files: int, **settings: Any) -> Any:
        base = get_adaptive_prior_config(files)
        return tuned_prior(base, file_count=files, windows=100, window_codes=144.0, given={}, **settings)["conditions"]

    assert [chosen(files) for files in (5, 19, 20, 500)] == [False, False, True, True]
    assert not chosen(40, sketch=True)


SECONDS = st.sampled_from([0.3, 1.0, 5.0, 60.0, 600.0, 3600.0])
COLUMN_SECONDS, COLUMN_CODES, CONTEXT_COLUMNS = 16 * 512 / 48_000, 24, 85


def tuned(
    files: int, seconds: float, *, base: bool = True, **given_values: Any
) -> tuple[VQVAEConfig, PriorConfig, int, int]:
    """The settings of both trainings for so many sounds of a duration, and the steps of a pass of each."""
    sounds = max(1, round(files * (1 - validation_fraction(files))))
    chunks, columns = sounds * math.ceil(seconds), math.ceil(seconds / COLUMN_SECONDS)
    table = get_adaptive_vqvae_config(files)
    values = tuned_vqvae(table, file_count=files, train_chunks=chunks, chunk_vectors=48, given=given_values, base=base)
    vqvae = VQVAEConfig.model_validate({**table.model_dump(), **values, **given_values})
    windows = 5 * sounds * math.ceil(columns / CONTEXT_COLUMNS)
    prior_base = get_adaptive_prior_config(files)
    codes = 5 * sounds * columns * COLUMN_CODES / windows
    values = tuned_prior(prior_base, file_count=files, windows=windows, window_codes=codes, given=given_values)
    prior = PriorConfig.model_validate({**prior_base.model_dump(), **values, **given_values})
    passes = (
        math.ceil(chunks * vqvae.augmentation_expansion / vqvae.batch_size),
        math.ceil(windows / prior.batch_size),
    )
    return vqvae, prior, *passes


@pytest.mark.parametrize(("base", "plan"), [(False, TUNED_VQVAE_STEPS), (True, TUNED_VQVAE_STEPS_FROM_BASE)])
@given(files=st.integers(1, 2000), seconds=SECONDS)
def test_the_steps_that_are_planned_are_done_with_twenty_evaluations(
    base: bool, plan: tuple[int, int, int], files: int, seconds: float
) -> None:
    vqvae, prior, *passes = tuned(files, seconds, base=base)
    plans = (plan, TUNED_PRIOR_STEPS)
    for config, in_pass, (a_file, least, most) in zip((vqvae, prior), passes, plans, strict=True):
        planned = min(most, max(least, a_file * files))
        in_epoch = EpochSteps(in_pass, config.steps_per_epoch).in_epoch
        # The epochs are rounded.
        assert LEAST_EVALUATIONS <= config.epochs <= MOST_EVALUATIONS + 1
        assert in_epoch % in_pass == 0 or in_epoch < in_pass
        assert abs(config.epochs * in_epoch - planned) <= in_epoch / 2


@pytest.mark.parametrize("files", [5, 20, 100, 500])
def test_an_epoch_of_sounds_of_a_second_shows_every_one_of_them_as_often_as_the_table_says(files: int) -> None:
    vqvae, prior, *_ = tuned(files, 1.0, base=False)
    table = get_adaptive_vqvae_config(files)
    assert vqvae.steps_per_epoch == 0
    assert vqvae.augmentation_expansion == table.augmentation_expansion
    assert prior.batch_size == table.batch_size


@given(st.integers(1, 2000), SECONDS)
def test_a_step_of_the_prior_has_a_bounded_number_of_codes(files: int, seconds: float) -> None:
    _, prior, *_ = tuned(files, seconds)
    window = min(CONTEXT_COLUMNS, math.ceil(seconds / COLUMN_SECONDS)) * COLUMN_CODES
    assert prior.batch_size == 1 or prior.batch_size * window < 1.5 * TUNED_PRIOR_STEP_CODES


@pytest.mark.parametrize(("epochs", "patience"), [(8, 5), (20, 5), (100, 25), (4000, 1000)])
def test_the_patience_follows_from_the_epochs_that_are_set(epochs: int, patience: int) -> None:
    assert tuned(10, 1.0, epochs=epochs)[1].early_stop_patience == patience
    planned = tuned(10, 1.0)[1]
    assert planned.early_stop_patience == max(5, planned.epochs // 4)


def test_epochs_that_are_set_are_passes() -> None:
    planned, chosen = tuned(5, 1.0)[1], tuned(5, 1.0, epochs=40)[1]
    assert planned.steps_per_epoch > 0
    assert (chosen.epochs, chosen.steps_per_epoch) == (40, 0)


def test_what_the_user_sets_of_an_epoch_is_kept_to() -> None:
    vqvae, prior, *_ = tuned(5, 600.0, steps_per_epoch=7, batch_size=3)
    assert {vqvae.batch_size, prior.batch_size} == {3}
    assert {vqvae.steps_per_epoch, prior.steps_per_epoch} == {7}
    assert vqvae.epochs == round(100 / 7)
    assert prior.epochs == round(600 / 7)
    given_values = {"augmentation_expansion": 4}
    values = tuned_vqvae(
        get_adaptive_vqvae_config(5), file_count=5, train_chunks=1800, chunk_vectors=48, given=given_values
    )
    assert values["augmentation_expansion"] == 4
    assert values["steps_per_epoch"] == 5


def test_one_file_makes_batches_of_one() -> None:
    assert batch_size(1) == 1
