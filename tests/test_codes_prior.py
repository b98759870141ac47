"""What a model's prior makes of codes by hand: of sounds that are encoded, and of cells that it draws anew."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.audio.samples import to_mono
from distill.audio.sound import read_sound
from distill.codec.codec import normalize
from distill.codes.grid import Codes
from distill.codes.model import CodesModel
from distill.codes.randomize import randomize
from distill.codes.selection import Selection
from distill.codes.sound import decode, encode_file
from distill.dataset.store import PreparedDataset
from distill.generation.inpainting import Region, inpaint
from distill.models.prior import negative_log_likelihood, sum_by_level
from distill.models.sequences import collate, windows
from distill.stages.workspace import Workspace, read_report
from pipeline_util import make_workspace, run
from sounds_util import folder_of_tones


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("trained")
    folder_of_tones(root / "sounds", 10, 0.6)
    vqvae = {"epochs": 12, "dropout": 0.0, "codebook_size": 16, "preview_count": 0, "checkpoint_interval": 100}
    prior = {"epochs": 25, "hidden": 32, "learning_rate": 5e-3, "early_stop_patience": 5, "checkpoint_interval": 100}
    workspace = make_workspace(root, vqvae=vqvae, prior=prior)
    run(workspace, "prepare", "configure", "train_vqvae", "train_prior", "check_memorization")
    run(workspace, "train_vocoder", "assemble")
    return workspace


def perplexity(model: CodesModel, grids: list[Codes]) -> float:
    """Of the codes of whole sounds under the model's prior."""
    levels = model.codec.levels
    sums, counts = torch.zeros(levels, dtype=torch.float64), torch.zeros(levels, dtype=torch.float64)
    for window in [each for grid in grids for each in windows(grid, model.prior.context_columns)]:
        batch = collate([window], codebook_size=model.codec.codebook_size)
        with torch.no_grad():
            nll = negative_log_likelihood(model.prior(batch.tokens, batch.starts), batch.targets)
        found = sum_by_level(nll, batch.targets, levels)
        sums, counts = sums + found[0], counts + found[1]
    return float((sums.sum() / counts.sum()).exp())


def held_out(workspace: Workspace) -> list[Path]:
    table = PreparedDataset(workspace.prepared).manifest
    return [workspace.root / "sounds" / name for name in table["path"][table["split"] == "validation"]]


def test_the_codes_of_a_file_are_those_that_the_prior_knows(trained: Workspace) -> None:
    model = CodesModel.load(trained.model("tiny"))
    grids = [encode_file(model, path).codes for path in held_out(trained)]
    best = read_report(trained, "train_prior")["best"]["validation_perplexity"]
    assert best < 0.7 * model.codec.codebook_size
    assert perplexity(model, grids) == pytest.approx(best, rel=0.05)
    # What was decoded and encoded again is no noise to it either.
    again = [model.codec.encode_log_mel(model.codec.decode_log_mel(grid)) for grid in grids]
    random = np.random.default_rng(0)
    noise = [random.integers(0, model.codec.codebook_size, grid.shape) for grid in grids]
    assert perplexity(model, again) < 0.7 * perplexity(model, noise)


def test_cells_are_drawn_anew_as_a_part_of_a_sound_is(trained: Workspace) -> None:
    model = CodesModel.load(trained.model("tiny"))
    path = held_out(trained)[0]
    grid = encode_file(model, path)
    edit = randomize(model, grid, Selection(columns=(1, 3)), seed=5)
    sound = model.codec.encode(normalize(to_mono(read_sound(path), model.sample_rate)).samples)
    expected = inpaint(model.prior, sound, Region(1, 3), seed=5)
    assert np.array_equal(edit.apply(grid).codes, expected)
    assert decode(model, edit.apply(grid)).any()
