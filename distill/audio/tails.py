"""How sounds die away below the floor of a spectrogram, of which a log mel says little."""

import math

import torch
from torch import Tensor

# Decoders leave less than this share of the floor in 97 of 100 places that should be silent.
_HEARD = 0.25
# A band sinks on as it sank in the last frames in which it was heard, by so much a frame at least and at most (28 to
# 560 dB/s at 48 kHz and a hop of 512), until it is so far below.
_FRAMES = 16
_LEAST_DB, _MOST_DB, _END_DB = 0.3, 6.0, 40.0
# The last frame of noise that is heard is by chance so much louder than noise is then.
_CHANCE_DB = 2.0

TAIL_FRAMES = _FRAMES + math.ceil(_END_DB / _LEAST_DB)


def with_tails(power: Tensor, floor: float) -> Tensor:
    """Mel power `[frames, n_mels]` as it is, down to 6 dB below the floor, and behind it the decay that led there.

    Lower lies what decoders leave where recordings are silent, and beyond their edges: hiss and a hum at the hop rate.
    A frame depends on the `TAIL_FRAMES` before it.
    """
    floor *= _HEARD
    frames = torch.arange(len(power), device=power.device)[:, None]
    above = power >= floor
    last = torch.where(above, frames, -1).cummax(0).values
    height = power.clamp_min(floor).div_(floor).log10_().mul_(10)
    earlier = torch.cat([height.new_zeros(_FRAMES - 1, height.shape[1]), height])[: len(power)]
    fall = earlier.div_(_FRAMES).clamp_(_LEAST_DB, _MOST_DB).gather(0, last.clamp_min(0))
    fall = fall.mul_(frames - last).add_(_CHANCE_DB)
    sunk = torch.where((last >= 0) & (fall < _END_DB), floor * torch.pow(10.0, fall / -10), 0.0)
    return torch.where(above, power, sunk)
