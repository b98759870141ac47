"""The beginning of each sound of a folder as a log mel, before anything is trained on it."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from distill.audio.mel import MelTransform
from distill.configs import SpectrogramConfig
from distill.dataset.scan import FileReport, examine
from distill.dataset.walk import Found, find_files
from distill.dataset.worker import Resampled
from distill.workers.place import ordered_map, single_threaded_torch, usable_cores

# 22 s tell what a sound is like; how long it is the scan knows.
MOST_FRAMES = 2048
CONFIG = SpectrogramConfig()


@dataclass(frozen=True)
class Measured:
    """A usable file by its name below the source, and the log mel of its beginning, float16 `[n_mels, frames]`."""

    name: str
    log_mel: npt.NDArray[np.float16]


def measured(source: Path, reports: Sequence[FileReport], most: int | None = None) -> Iterator[Measured]:
    """The log mels of the usable files in their order, or of at most so many, evenly spread over the folder.

    A few of them are in memory at any time.

    Args:
        source: the folder, or one file.
        reports: of all its files.
        most: how many; all without a number.
    """
    usable = {report.path for report in reports if report.usable}
    found = [each for each in find_files(source) if each.name in usable]
    if most is not None:
        found = [found[index] for index in np.linspace(0, len(found) - 1, min(len(found), most)).astype(int)]
    transform = MelTransform(CONFIG)
    with single_threaded_torch(), tempfile.TemporaryDirectory() as folder:

        def measure(each: Found) -> Measured | None:
            examined = examine(each, folder=Path(folder))
            if examined.mono is None:
                return None
            rate = examined.report.sample_rate
            last = round((MOST_FRAMES * CONFIG.hop_length + CONFIG.n_fft) * rate / CONFIG.sample_rate)
            sound = Resampled(examined.mono, rate, CONFIG.sample_rate, last=last)
            power = transform.power_blocks(map(torch.from_numpy, sound.parts()), sound.samples)
            frames = torch.cat([transform.from_power(each).half() for each in power])[:MOST_FRAMES]
            return Measured(each.name, np.ascontiguousarray(frames.numpy().T))

        # One that changed meanwhile is left out.
        yield from (each for each in ordered_map(measure, found, usable_cores()) if each is not None)
