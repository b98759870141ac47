"""How near a reconstruction is to a sound, measured on mel power.

Sounds are cut into chunks of one second, each brought to a peak of 1 for the measurement alone (silence stands behind
the last of a sound; silent chunks are left out). All figures are means over active frames: frames whose energy (sum
over the mel bins) is above 1e-5 of the chunk's loudest frame and above 10.

- `LSD-20`: both powers clamped from below at -20 dB, root mean square of the difference in dB over the bins of a frame;
- `LSD0`: the same with a clamp at 0 dB;
- `L1`: mean absolute difference in dB with the clamp at -20 dB;
- `loud`: mean difference in dB over the bins within 20 dB of the chunk's loudest bin; negative is too quiet.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from distill.audio.samples import to_mono
from distill.audio.sound import SoundError, read_sound
from distill.configs import SpectrogramConfig
from distill.dataset.scan import SILENCE_PEAK
from distill.models.losses import log_spectral_distance

import numpy as np
import torch
from torch import Tensor

LOUD_RANGE = 100.0


@dataclass(frozen=True)
class Distance:
    """Distances in dB over a set of chunks."""

    lsd_20: float
    lsd_0: float
    l1: float
    loud: float


def normalized_chunks(paths: Iterable[Path], config: SpectrogramConfig) -> Tensor:
    """Chunks of one second, each with a peak of 1: float32 `[chunks, sample_rate]`; unreadable files are left out."""
    length, chunks = config.sample_rate, []
    for path in paths:
        try:
            samples = to_mono(read_sound(path), config.sample_rate)
        except SoundError:
            continue
        for start in range(0, len(samples), length):
            chunk = samples[start : start + length]
            peak = float(np.abs(chunk).max())
            if peak >= SILENCE_PEAK:
                chunks.append(torch.from_numpy(np.pad(chunk / np.float32(peak), (0, length - len(chunk)))))
    return torch.stack(chunks)


def distances(power: Tensor, target: Tensor) -> Distance:
    """Distances of mel powers `[chunks, n_mels, frames]` to the true ones."""
    energy = target.double().sum(1, keepdim=True)
    active = (energy > 1e-5 * energy.amax(2, keepdim=True)) & (energy > 10)
    floor = 10**-2.0
    difference = 10 * (power.double().clamp(min=floor).log10() - target.double().clamp(min=floor).log10())
    loud = active & (target > target.amax((1, 2), keepdim=True) / LOUD_RANGE)
    lsd_20, lsd_0 = (log_spectral_distance(power, target, floor_db=floor_db) for floor_db in (-20.0, 0.0))
    return Distance(
        lsd_20=float(lsd_20[0] / lsd_20[1]),
        lsd_0=float(lsd_0[0] / lsd_0[1]),
        l1=float(difference[active.expand_as(difference)].abs().mean()),
        loud=float(difference[loud].mean()),
    )
