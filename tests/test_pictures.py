"""Pictures: that they are PNG files, the same for the same data, and written whole."""

import gc
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from distill.configs import SpectrogramConfig
from distill.errors import StorageError
from distill.models.levels import level_labels
from distill.pictures import curves_png, spectrogram_png, usage_heatmap_png

CONFIG = SpectrogramConfig()


def _draw_all(folder: Path, seed: int = 0) -> list[bytes]:
    random = np.random.default_rng(seed)
    log_mel = random.uniform(0, 10, (128, 94)).astype(np.float32)
    spectrogram_png(folder / "s.png", {"original": log_mel, "reconstruction": log_mel[:, :40]}, CONFIG)
    usage_heatmap_png(folder / "u.png", random.integers(0, 9, (3, 64)), level_labels(3))
    curves = {"train": random.random(5).tolist(), "validation": [1.0, None, float("nan"), 2.0]}
    curves_png(folder / "c.png", curves, ylabel="loss", title="Losses")
    return [(folder / name).read_bytes() for name in ("s.png", "u.png", "c.png")]


def test_pictures_are_png_and_follow_from_the_data(tmp_path: Path) -> None:
    first = _draw_all(tmp_path)
    assert all(data.startswith(b"\x89PNG") and b"Software" not in data for data in first)
    assert _draw_all(tmp_path) == first
    assert all(one != other for one, other in zip(first, _draw_all(tmp_path, 1), strict=True))
    assert len(list(tmp_path.iterdir())) == 3


def test_figures_are_gone_once_they_are_written(tmp_path: Path) -> None:
    _draw_all(tmp_path)
    gc.collect()
    before = sum(type(each) is Figure for each in gc.get_objects())
    _draw_all(tmp_path)
    # Without a full collection, which comes seldom.
    assert sum(type(each) is Figure for each in gc.get_objects()) == before
    assert gc.isenabled()
    assert pyplot.get_fignums() == []


def test_nothing_used_nothing_drawn_silence_and_one_point(tmp_path: Path) -> None:
    usage_heatmap_png(tmp_path / "u.png", np.zeros((2, 16)), level_labels(2))
    spectrogram_png(tmp_path / "s.png", {"silence": np.zeros((128, 1))}, CONFIG)
    spectrogram_png(tmp_path / "n.png", {}, CONFIG)
    curves_png(tmp_path / "c.png", {"one": [1.0]}, ylabel="", title="")
    curves_png(tmp_path / "e.png", {}, ylabel="", title="")
    assert len(list(tmp_path.iterdir())) == 5


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        usage_heatmap_png(tmp_path / "file" / "u.png", np.ones((2, 16)), level_labels(2))
