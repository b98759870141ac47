"""What the prior learns from: the code grids of whole sounds, cut into columns in one way or in several."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.artifact.model_file import read_model
from distill.audio.augment import augment
from distill.audio.mel import MelTransform
from distill.codec.load import build_networks
from distill.configs import STRIDE, PriorConfig
from distill.dataset.store import PreparedDataset
from distill.models.edges import Edges, column_levels, edges_of
from distill.models.grid import decode_grid
from distill.models.prior import IGNORED
from distill.models.sequences import collate
from distill.models.vqvae import ConvVQVAE
from distill.training.codes import Stretch
from distill.training.codes_file import prior_codes
from distill.training.prior import PriorTask
from distill.training.runtime import Runtime
from model_example import encode_grid
from pipeline_util import make_workspace, run

CUTS = 4


Trained = tuple[PreparedDataset, ConvVQVAE, Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    workspace = make_workspace(tmp_path_factory.mktemp("cuts"), vqvae={"epochs": 1})
    run(workspace, "prepare", "configure", "train_vqvae")
    vqvae = build_networks(read_model(workspace.vqvae), workspace.vqvae).vqvae
    return PreparedDataset(workspace.prepared), vqvae.eval(), tmp_path_factory.mktemp("codes")


def task(trained: Trained, cuts: int, batch_size: int = 4, copies: int = 0, steps_per_epoch: int = 0) -> PriorTask:
    config = PriorConfig(
        hidden=16,
        layers=1,
        heads=2,
        batch_size=batch_size,
        column_cuts=cuts,
        augmented_copies=copies,
        steps_per_epoch=steps_per_epoch,
    )
    dataset, vqvae, folder = trained
    runtime = Runtime("cpu", "fp32", 1, 0)
    codes = prior_codes(dataset, vqvae, config, runtime, folder / f"{cuts}-{copies}", digest="a VQ-VAE")
    return PriorTask(codes, vqvae, config, runtime)


def agree(stretch: Stretch, vqvae: ConvVQVAE, log_mel: np.ndarray) -> bool:
    """Whether the codes are those of a log mel `[n_mels, frames]`; of two that are equally near, either may be."""
    expected = encode_grid(vqvae, torch.from_numpy(log_mel)[None])[0].numpy()
    return stretch.grid.shape == expected.shape and bool(np.mean(stretch.grid == expected) > 0.98)


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_what_follows_a_stretch_is_learned_only_where_it_is_known(columns: int) -> None:
    grid = np.arange(columns * 6).reshape(columns, 3, 2)
    stretch = Stretch(grid, at_start=True, at_end=False, changed=False)
    (window,) = stretch.windows(8)
    targets = collate([window], codebook_size=99).targets[0].tolist()
    assert targets == [*range(6), IGNORED] if columns == 1 else list(range((columns - 1) * 6 + 1))
    whole = Stretch(grid, at_start=True, at_end=True, changed=False).windows(8)
    assert collate(whole, codebook_size=99).targets[0].tolist() == [*range(columns * 6), 99]


def test_a_cut_begins_a_part_of_a_column_later_and_so_not_where_the_sound_begins(trained: Trained) -> None:
    dataset, vqvae, _ = trained
    codes = task(trained, CUTS).codes
    for position, row in enumerate(dataset.segments_of("train", variants=True)):
        log_mel = dataset.segment(row)
        for cut in range(CUTS):
            stretch = codes.training(position, cut)
            assert agree(stretch, vqvae, log_mel[:, cut * STRIDE // CUTS :])
            assert stretch.at_start == (bool(dataset.segments["at_start"][row]) and cut == 0)
            assert stretch.at_end == bool(dataset.segments["at_end"][row])
            assert not stretch.changed
    for position, row in enumerate(dataset.segments_of("validation")):
        assert agree(codes.validation(position), vqvae, dataset.segment(row))


def test_a_training_notes_how_short_its_sounds_are(trained: Trained) -> None:
    dataset, *_ = trained
    cut = task(trained, CUTS)
    assert int(cut.model.shortest_columns) == 1
    cut.start()
    frames = [dataset.segment(row).shape[1] for row in dataset.segments_of("train", variants=False)]
    assert int(cut.model.shortest_columns) == -(-min(frames) // STRIDE) > 1
    cut.codes.train.at_end = np.zeros_like(cut.codes.train.at_end)
    cut.start()
    assert int(cut.model.shortest_columns) == 1


def test_a_training_notes_how_its_sounds_begin_go_on_and_end(trained: Trained) -> None:
    dataset, vqvae, _ = trained
    cut, levels = task(trained, CUTS), []
    for row in dataset.segments_of("train", variants=False):
        grid = encode_grid(vqvae, torch.from_numpy(dataset.segment(row))[None])
        levels.append(column_levels(decode_grid(vqvae, grid)[0], MelTransform(dataset.spectrogram)))
    assert cut.model.edges == Edges()
    cut.start()
    expected = edges_of([each.parts for each in levels], [float(each.ends[-1]) for each in levels])
    assert astuple(cut.model.edges) == pytest.approx(astuple(expected), abs=1e-3)
    # Of what neither begins nor ends nothing is known.
    unknown, sounds = task(trained, CUTS), cut.codes.train
    unknown.codes.train.at_start = unknown.codes.train.at_end = np.zeros_like(sounds.at_end)
    unknown.start()
    assert unknown.model.edges == Edges()


def test_copies_are_changed_each_in_its_own_way_and_marked(trained: Trained) -> None:
    dataset, vqvae, _ = trained
    copied = task(trained, 1, copies=2)
    changed = []
    for position, row in enumerate(dataset.segments_of("train", variants=True)):
        original = copied.codes.training(position)
        for copy in range(2):
            stretch = copied.codes.training(position, 0, 1 + copy)
            assert (original.changed, stretch.changed) == (False, True)
            generators = [np.random.default_rng([0, copy, 0, row])]
            log_mel = augment(dataset.segment(row)[None], generators, 1.0, dataset.spectrogram, noise=False)
            assert agree(stretch, vqvae, log_mel[0])
            changed.append(not np.array_equal(stretch.grid, original.grid))
    assert np.mean(changed) > 0.5
    marks = [mark for epoch in range(1, 17) for batch in copied.batches(epoch, 0) for mark in batch.changed.tolist()]
    assert 0.55 < np.mean(marks) < 0.78
    assert not any(window.changed for window in copied.validation + copied.train)


def test_the_prior_hears_whether_a_sound_is_changed(trained: Trained) -> None:
    copied = task(trained, 1, copies=1)
    batch = next(copied.batches(1, 0))
    copied.start()
    copied.model.eval()
    marks = [torch.full_like(batch.starts, changed) for changed in (False, True)]
    with torch.no_grad():
        logits = [copied.model(batch.tokens, batch.starts, each) for each in marks]
        unmarked = copied.model(batch.tokens, batch.starts)
    assert torch.equal(unmarked, logits[0])
    assert not torch.allclose(logits[0][..., :-1], logits[1][..., :-1])
    losses = [copied.loss(replace(batch, changed=each)).total.item() for each in marks]
    assert losses[0] != losses[1]


def test_epochs_are_as_long_and_evaluations_the_same_however_often_sounds_are_cut_or_copied(
    trained: Trained,
) -> None:
    once, often = task(trained, 1), task(trained, CUTS, copies=1)
    assert once.steps_per_epoch == often.steps_per_epoch
    for mine, theirs in ((once.validation, often.validation), (once.train, often.train)):
        assert [window.grid.tolist() for window in mine] == [window.grid.tolist() for window in theirs]


def test_parts_of_a_pass_show_what_the_whole_pass_shows(trained: Trained) -> None:
    whole, parts = task(trained, CUTS, copies=1, batch_size=2), task(trained, CUTS, 2, 1, steps_per_epoch=2)
    assert parts.steps_per_epoch == 2 < whole.steps_per_epoch
    wanted = [batch.tokens.tolist() for number in range(2) for batch in whole.batches(number, 0)]
    shown = [batch.tokens.tolist() for epoch in range(-(-len(wanted) // 2)) for batch in parts.batches(epoch, 0)]
    assert shown[: len(wanted)] == wanted
    assert [batch.tokens.tolist() for batch in parts.batches(3, 1)] == wanted[7:8]


def test_cuts_are_drawn_anew_in_each_epoch_which_is_the_same_whenever_it_is_asked_for(
    trained: Trained,
) -> None:
    def beginnings(cuts: int) -> float:
        """Share of the windows in which a sound begins."""
        shown = task(trained, cuts, batch_size=64)
        starts = []
        for epoch in range(1, 17):
            (batch,), (again,) = shown.batches(epoch, 0), shown.batches(epoch, 0)
            assert torch.equal(batch.tokens, again.tokens)
            starts += batch.starts.tolist()
        return float(np.mean(starts))

    # Of those that begin a fifth is shown without its beginning, whatever the cut.
    assert beginnings(1) > 0.6
    assert 0.35 < beginnings(CUTS) < 0.6
