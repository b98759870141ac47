"""Codes of a sound by analysis and synthesis: those that decode to it, and hold still when it is encoded again.

What the encoder makes of a decoding is not the codes that were decoded: many codes decode to nearly the same. Three
things make it few that change. The encoder's codes are decoded and encoded, and the vectors to be quantized moved by
what came out differently, again and again; each cell keeps the code whose surroundings were decoded best. Silence has
one code. And cells of a grid that is known before keep its codes, unless others are much nearer to the sound.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from distill.codec.codec import Codec, Grid, Samples
from distill.configs import STRIDE
from distill.models.grid import CONTEXT_COLUMNS

ROUNDS = 40
# Cells are judged by what is decoded in them and the cells within this distance.
AROUND = 1
# Log mels: a cell is silent that is above what silence decodes to by less than the first on average, if the codes of
# silence make it worse by less than the second. A sound with a peak of 1 has 5 to 8 where it is loud.
QUIET, TOLERANCE = 0.03, 0.02
# A known code stays while the best that was found leaves more than this share of its error. The phases that Griffin-Lim
# estimates leave errors at which other codes are nearer to the sound than those it was decoded from, but not by half.
STAY = 0.6


@torch.inference_mode()
def find_codes(codec: Codec, log_mel: Samples) -> Grid:
    """Code grid `[columns, bands, levels]` that decodes to nearly a log mel `[n_mels, frames]`."""
    target = _whole(log_mel)
    found, errors = _nearest(codec, target)
    silence, floor = _silence(codec)
    silent = _cells(target) < floor + QUIET
    calm = np.where(silent[..., None], silence, found)
    worse = _errors(codec.decode_log_mel(calm), target) > errors + TOLERANCE
    return np.where((silent & ~worse)[..., None], calm, found)


def keep_codes(codec: Codec, log_mel: Samples, found: Grid, known: Grid) -> Grid:
    """The codes found for a log mel, with those known before in their place where they decode about as well.

    Args:
        codec: whose codes they are.
        log_mel: `[n_mels, frames]`.
        found: what `find_codes` gives, `[columns, bands, levels]`.
        known: codes of what the sound was made from, `[n, bands, levels]`; columns that only one has stay as found.
    """
    target, kept, both = _whole(log_mel), found.copy(), min(len(known), len(found))
    kept[:both] = known[:both]
    before, now = (_errors(codec.decode_log_mel(grid), target) for grid in (kept, found))
    stays = STAY * before <= now + TOLERANCE
    return np.where(stays[..., None], kept, found)


def _whole(log_mel: Samples) -> Samples:
    """A log mel `[n_mels, frames]`, with silence behind it up to whole columns."""
    return np.pad(log_mel, ((0, 0), (0, -log_mel.shape[1] % STRIDE)))


def _nearest(codec: Codec, target: Samples) -> tuple[Grid, Samples]:
    """The codes found in so many rounds, and the error around each cell, `[columns, bands]`."""
    encoded = aim = codec.vectors(target)
    best = codec.quantize(aim)
    rebuilt = codec.decode_log_mel(best)
    least = _errors(rebuilt, target)
    for _ in range(ROUNDS):
        aim = aim + encoded - codec.vectors(rebuilt)
        codes = codec.quantize(aim)
        rebuilt = codec.decode_log_mel(codes)
        errors = _errors(rebuilt, target)
        best = np.where((errors < least)[..., None], codes, best)
        least = np.minimum(errors, least)
    return best, least


def _silence(codec: Codec) -> tuple[Grid, Samples]:
    """The codes of silence, `[bands, levels]`, and what they decode to, `[bands]`, away from its beginning and end."""
    silence = np.zeros((codec.spectrogram.n_mels, STRIDE * (2 * CONTEXT_COLUMNS + 1)), np.float32)
    codes, _ = _nearest(codec, silence)
    return codes[CONTEXT_COLUMNS], _cells(codec.decode_log_mel(codes))[CONTEXT_COLUMNS]


def _errors(rebuilt: Samples, target: Samples) -> Samples:
    """Mean absolute difference of two log mels `[n_mels, frames]` around each cell, `[columns, bands]`."""
    cells = torch.from_numpy(_cells(np.abs(rebuilt - target)))[None]
    around = functional.avg_pool2d(cells, 2 * AROUND + 1, stride=1, padding=AROUND, count_include_pad=False)
    errors: Samples = around[0].numpy()
    return errors


def _cells(values: Samples) -> npt.NDArray[np.float32]:
    """Means of `[n_mels, frames]` in each cell, `[columns, bands]`."""
    return np.ascontiguousarray(values.reshape(len(values) // STRIDE, STRIDE, -1, STRIDE).mean((1, 3)).T)
