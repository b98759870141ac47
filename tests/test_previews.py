"""Previews of a training: of sounds that can be heard, and of the course that the training has taken."""

import shutil
from pathlib import Path

import pytest

from distill.live.folder import RunFolder
from pipeline_util import make_workspace, run
from sounds_util import save, tone
from steering_util import STAGE, VQVAE, Asked, copy, outputs, prepare, train, weights


def test_sounds_of_a_single_frame_have_no_previews(tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    for number in range(8):
        save(tmp_path / "sounds" / f"short{number}.wav", tone(0.0103, 300.0 + 50 * number, 48_000), 48_000)
    workspace = make_workspace(tmp_path, vqvae={"epochs": 1, "preview_count": 2})
    run(workspace, "prepare", "configure", STAGE)
    assert workspace.vqvae.is_file()
    assert list(workspace.previews.iterdir()) == []


def test_previews_of_a_course_that_was_left_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # After every second epoch, so that nothing takes the place of those of the first.
    monkeypatch.setattr("distill.training.vqvae.PREVIEW_SETS", 2)
    workspace = prepare(tmp_path / "first")
    make_workspace(workspace.root, vqvae={**VQVAE, "epochs": 4, "preview_count": 1})
    run(workspace, "configure")
    again = copy(workspace, tmp_path / "again")
    folder = RunFolder(workspace.root, STAGE)
    saved = Asked(folder, "checkpoint")
    often = Asked(folder, "tune", changes={"preview_interval": 1}, measure=None, after=0)
    back = Asked(folder, "rollback", to=2, config_only=False)
    train(workspace, {2: saved, 3: often, 8: back})
    assert back.answer["step"] == 8
    shutil.copytree(workspace.root / "journal", again.root / "journal", dirs_exist_ok=True)
    train(again)
    assert weights(again) == weights(workspace)
    assert outputs(again) == outputs(workspace)
