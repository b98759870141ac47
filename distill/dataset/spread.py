"""How the knobs of the sounds of a folder lie, before anything is trained on them."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill.audio.knobs import KNOBS, knobs_of
from distill.audio.mel import MelTransform
from distill.configs import SpectrogramConfig
from distill.dataset.scan import FileReport
from distill.dataset.walk import find_files, ordered_map, single_threaded_torch, usable_cores
from distill.dataset.worker import Worker

# So many sounds tell it, evenly spread over the folder, and of each so many frames.
MOST_SOUNDS, MOST_FRAMES = 200, 2048


def spread_of(source: Path, reports: Sequence[FileReport]) -> dict[str, list[float]]:
    """Least, median and greatest value of each knob among the usable sounds that have it, in the knob's unit.

    Args:
        source: the folder, or one file.
        reports: of all its files.
    """
    usable = {report.path for report in reports if report.usable}
    found = [each for each in find_files(source) if each.name in usable]
    chosen = [found[index] for index in np.linspace(0, len(found) - 1, min(len(found), MOST_SOUNDS)).astype(int)]
    config = SpectrogramConfig()
    with single_threaded_torch(), tempfile.TemporaryDirectory() as folder:
        worker = Worker(MelTransform(config), config, Path(folder))
        prepared = (each for _, each in ordered_map(worker.sound, chosen, usable_cores()) if each is not None)
        first = (np.concatenate(list(each.mel.blocks(0, MOST_FRAMES))) for each in prepared)
        values = np.array([knobs_of(frames.T.astype(np.float32), config) for frames in first])
    known = {name: values[np.isfinite(values[:, at]), at] for at, name in enumerate(KNOBS)} if len(values) else {}
    return {
        name: [float(f"{figure:.4g}") for figure in (each.min(), np.median(each), each.max())]
        for name, each in known.items()
        if len(each)
    }
