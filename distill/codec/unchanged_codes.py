"""Encoding a sound that was made from a grid: the grid's codes stay where the sound did not change.

Encoding inverts decoding only nearly, as many codes decode to nearly the same.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from distill.codec.codec import Codec, Grid, Samples
from distill.configs import STRIDE

# A cell is compared by the log mels of itself and of the cells within this distance.
AROUND = 1
# With the errors K of the known code and F of the found one, the known one stays where STAY * K <= F + TOLERANCE, in
# log mel (a sound with a peak of 1 has 5 to 8 where it is loud). With errors 0.5 and 0.3 it stays, with 0.6 and 0.3 it
# does not. The phases that Griffin-Lim estimates leave errors at which other codes are nearer to the sound than those
# it was decoded from, but not by half.
STAY, TOLERANCE = 0.6, 0.02


def keep_codes(codec: Codec, log_mel: Samples, found: Grid, known: Grid) -> Grid:
    """The codes found for a log mel, with those known before in their place where they decode about as well.

    Args:
        codec: whose codes they are.
        log_mel: `[n_mels, frames]`.
        found: what the codec encodes it to, `[columns, bands, levels]`.
        known: codes of what the sound was made from, `[n, bands, levels]`; columns that only one has stay as found.
    """
    target = np.pad(log_mel, ((0, 0), (0, -log_mel.shape[1] % STRIDE)))
    kept, both = found.copy(), min(len(known), len(found))
    kept[:both] = known[:both]
    before, now = (_errors(codec.decode_log_mel(grid), target) for grid in (kept, found))
    stays = STAY * before <= now + TOLERANCE
    return np.where(stays[..., None], kept, found)


def _errors(rebuilt: Samples, target: Samples) -> npt.NDArray[np.float32]:
    """Mean absolute difference of two log mels `[n_mels, 16 * columns]` around each cell, `[columns, bands]`."""
    difference = torch.from_numpy(np.abs(rebuilt - target))[None]
    around = functional.avg_pool2d(
        functional.avg_pool2d(difference, STRIDE), 2 * AROUND + 1, stride=1, padding=AROUND, count_include_pad=False
    )
    errors: npt.NDArray[np.float32] = around[0].T.numpy()
    return errors
