"""What lies before an attack, which the frames that see the attack would fill with its echo."""

import torch
from torch import Tensor
from torch.nn import functional

from distill.configs import SpectrogramConfig

# A hop in so many cells (1.3 ms each at 48 kHz and a hop of 512) tells well enough when an attack begins.
_CELLS = 8
# From the bounds that single frames set, a few rounds are enough: 100 in place of 10 placed no attack better.
_ROUNDS = 10
# An attack is louder than what was in the last hop before by 20 dB. It begins where the energy comes within 10 dB of
# what follows within a hop; with 5 dB attacks began 2 ms late in the median.
_RISE, _BEGUN = 0.01, 0.1
_TINY = 1e-20


def envelope(energy: Tensor, config: SpectrogramConfig) -> Tensor:
    """Mean square of a sound in cells of an eighth of a hop, `[8 * (frames - 1)]`, from the energy in its windows.

    The deconvolution of Richardson and Lucy: with the energy e of frames, the energy c of cells and the share
    W `[frames, cells]` of a cell that a window lets through, e should be W c, and c <- c (W^T (e / W c)) / W^T 1. It
    begins with the most that each cell can hold, the least of e / W over the frames that see it. So a cell stays silent
    if one frame sees silence there.

    Args:
        energy: sum of the squares of windowed samples, `[frames]`.
        config: the spectrogram; its hop is a multiple of 8.
    """
    frames, cell = len(energy), config.hop_length // _CELLS
    cells = -(-config.n_fft // config.hop_length) * _CELLS
    window = torch.hann_window(config.n_fft, device=energy.device).square()
    weight = functional.pad(window, (0, cells * cell - config.n_fft)).view(cells, cell).sum(1)
    found = energy.new_full((frames - 1 + cells // _CELLS, _CELLS), torch.inf)
    for hop, part in enumerate(weight.view(-1, _CELLS)):
        most = found[hop : hop + frames]
        torch.minimum(most, energy[:, None] / part.clamp_min(1e-6), out=most)
    found, seen = found.view(1, 1, -1), weight[None, None]
    total = functional.conv_transpose1d(torch.ones_like(energy)[None, None], seen, stride=_CELLS).clamp_min_(_TINY)
    for _ in range(_ROUNDS):
        lacking = energy / functional.conv1d(found, seen, stride=_CELLS).add_(_TINY)
        found = found * functional.conv_transpose1d(lacking, seen, stride=_CELLS).div_(total)
    before = config.n_fft // 2 // cell
    return found[0, 0, before : before + (frames - 1) * _CELLS]


class Hush:
    """Holds what lies before the attacks of a sound at the level that it had a hop earlier.

    Args:
        power: of the sound's Fourier bins, `[frames, bins]`.
        config: the spectrogram.
    """

    def __init__(self, power: Tensor, config: SpectrogramConfig) -> None:
        self._cell = config.hop_length // _CELLS
        self._cells = power.new_empty(0, dtype=torch.int64)
        if config.hop_length % _CELLS or len(power) < 2:
            return
        level = envelope(power.sum(1) * (2 / config.n_fft), config)
        following = functional.pad(level, (0, _CELLS)).unfold(0, _CELLS, 1)[1:].amax(1)
        lowest = functional.pad(level, (_CELLS, 0), value=torch.inf).unfold(0, _CELLS + 1, 1).amin(1)
        held = (level < _BEGUN * following) & (lowest < _RISE * following)
        self._most = torch.where(held, lowest * self._cell, torch.inf)
        beside = functional.pad(held, (1, 1))
        self._cells = (beside[1:-1] | beside[:-2] | beside[2:]).nonzero()[:, 0]

    def __call__(self, samples: Tensor) -> None:
        """Hold samples `[(frames - 1) * hop_length]`, in place."""
        if not len(self._cells):
            return
        cells = samples.view(-1, self._cell)
        gain = (self._most / cells.square().sum(1).add_(_TINY)).sqrt_().clamp_max_(1.0)
        # From cell to cell the gain goes in a line, and reaches the louder of two at its far end.
        at_edges = functional.pad(torch.minimum(gain[1:], gain[:-1]), (1, 1), value=1.0)
        first, last = at_edges[self._cells, None], at_edges[self._cells + 1, None]
        cells[self._cells] *= torch.lerp(first, last, torch.arange(self._cell, device=samples.device) / self._cell)
