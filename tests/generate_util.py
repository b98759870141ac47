"""A folder to generate in, with much that cannot be used."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.artifact.model_file import write_model
from model_example import manifest, prior, vqvae, write_example
from sounds_util import save, tone


def make_originals(folder: Path) -> Path:
    """A model and a sound, and much that cannot be used."""
    write_example(folder / "bells.distill")
    save(folder / "kick.wav", np.stack([tone(1.0), 0.5 * tone(1.0)], axis=1), subtype="PCM_16")
    save(folder / "silent.wav", np.zeros(44_100, np.float32))
    save(folder / "short.wav", tone(0.01))
    (folder / "cut.wav").write_bytes((folder / "kick.wav").read_bytes()[:40])
    (folder / "text.wav").write_text("this is no sound\n" * 50)
    write_example(folder / "no prior.distill", with_prior=False)
    damaged = prior()
    with torch.no_grad():
        damaged.norm.weight[0] = torch.nan
    write_model(folder / "nan.distill", manifest(), vqvae().state_dict(), damaged.state_dict())
    decoder = vqvae()
    with torch.no_grad():
        decoder.decoder.out[0].bias.fill_(torch.inf)
    write_model(folder / "inf.distill", manifest(), decoder.state_dict(), prior().state_dict())
    return folder


def copied(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, in which commands are run from now on."""
    folder = tmp_path / "folder"
    shutil.copytree(originals, folder)
    monkeypatch.chdir(folder)
    return folder
