"""A small vocoder: from a log mel to the spectrum of a sound, and from there by the inverse Fourier transform.

After Siuzdak, "Vocos: closing the gap between time-domain and Fourier-based neural vocoders" (2023): ConvNeXt blocks at
the rate of the frames and a head that gives magnitudes and phases, so that nothing is upsampled. The magnitudes are
corrections to those that `linear_power` finds without a network, with the same mel power.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.audio.invert import ROUNDS, Estimate, LogMel, griffin_lim
from distill.audio.magnitudes import linear_power
from distill.audio.mel import MelTransform, mel_filters
from distill.configs import Inverse, SpectrogramConfig

_KERNEL = 7
# The network sees log mels brought near to a spread of 1.
_LOG_MEL_SCALE, _LOG_MEL_SHIFT = 0.2, -0.5
# Corrections to the power lie within this factor as a natural logarithm (17 dB).
_MOST_CORRECTION = 4.0
_TINY = 1e-9


@dataclass(frozen=True)
class Spectrum:
    """Magnitudes `[batch, frames, bins]` and phases, complex numbers of modulus 1 of the same shape."""

    magnitude: Tensor
    phase: Tensor


class _Block(nn.Module):
    """A ConvNeXt block over time: each channel by itself, then each frame by itself. `[batch, channels, frames]`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.over_time = nn.Conv1d(channels, channels, _KERNEL, padding=_KERNEL // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide = nn.Linear(channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.3))

    def forward(self, features: Tensor) -> Tensor:
        each = self.norm(self.over_time(features).transpose(1, 2))
        each = self.narrow(functional.gelu(self.wide(each)))
        return features + (self.scale * each).transpose(1, 2)


class Vocoder(nn.Module):
    """Log mels `[batch, n_mels, frames]` to spectra and waveforms of any number of frames.

    Untrained it gives, nearly, the magnitudes of `linear_power`.

    Args:
        hidden: width of the network.
        blocks: ConvNeXt blocks; each sees 3 frames further to both sides.
        spectrogram: what the log mels were made with.
    """

    def __init__(self, hidden: int, blocks: int, spectrogram: SpectrogramConfig) -> None:
        super().__init__()
        self.spectrogram = spectrogram
        bins = spectrogram.n_fft // 2 + 1
        self.enter = nn.Conv1d(spectrogram.n_mels, hidden, _KERNEL, padding=_KERNEL // 2)
        self.blocks = nn.Sequential(*(_Block(hidden) for _ in range(blocks)))
        self.norm = nn.LayerNorm(hidden)
        self.magnitude = nn.Linear(hidden, bins)
        self.phase = nn.Linear(hidden, 2 * bins)
        nn.init.zeros_(self.magnitude.weight)
        nn.init.zeros_(self.magnitude.bias)

    def forward(self, log_mel: Tensor) -> Spectrum:
        features = self.features(log_mel)
        return Spectrum(self.magnitudes(log_mel, features), self.phases(features))

    def features(self, log_mel: Tensor) -> Tensor:
        """What both halves of the head see, `[batch, frames, hidden]`."""
        entered = self.enter(log_mel * _LOG_MEL_SCALE + _LOG_MEL_SHIFT)
        return self.norm(self.blocks(entered).transpose(1, 2))

    def magnitudes(self, log_mel: Tensor, features: Tensor) -> Tensor:
        """Magnitudes `[batch, frames, bins]`."""
        correction = self.magnitude(features).float().clamp(-_MOST_CORRECTION, _MOST_CORRECTION)
        with torch.autocast(log_mel.device.type, enabled=False):
            with torch.no_grad():
                mel_power = MelTransform(self.spectrogram, log_mel.device).to_power(log_mel).transpose(1, 2)
                cheap = linear_power(mel_power.flatten(0, 1), self.spectrogram).unflatten(0, mel_power.shape[:2])
            power = (cheap + _TINY) * correction.exp()
            # The network says how a band's power lies in the band, the log mel how much of it there is.
            filters = mel_filters(self.spectrogram).to(log_mel.device)
            ratio = (mel_power + _TINY) / (power @ filters + _TINY)
            heard = filters.sum(1)
            power = power * torch.where(heard > 0, (ratio @ filters.T) / heard.clamp_min(_TINY), 1.0)
            return (power + _TINY).sqrt()

    @property
    def context(self) -> int:
        """Frames to both sides that decide a frame."""
        return _KERNEL // 2 * (1 + len(self.blocks))

    def phases(self, features: Tensor, first: int = 0) -> Tensor:
        """Phases, complex `[batch, frames, bins]` of modulus 1.

        They count from where a sine at the middle of each bin would stand, which turns by `hop_length / n_fft` of a
        circle for each bin and frame; `first` is the number of the first frame.
        """
        real, imaginary = self.phase(features).float().chunk(2, dim=-1)
        scale = (real.square() + imaginary.square() + _TINY).rsqrt()
        turned = _turns(first, features.shape[1], self.spectrogram).to(features.device)
        return torch.complex(real * scale, imaginary * scale) * turned


def waveform_of(spectrum: Spectrum, config: SpectrogramConfig) -> Tensor:
    """Waveforms `[batch, (frames - 1) * hop_length]` of spectra."""
    window = torch.hann_window(config.n_fft, device=spectrum.magnitude.device)
    turned = (spectrum.magnitude * spectrum.phase).transpose(1, 2)
    return torch.istft(turned, config.n_fft, config.hop_length, window=window, center=True)


@lru_cache(maxsize=8)
def _turns(first: int, frames: int, config: SpectrogramConfig) -> Tensor:
    """Phases of sines at the middles of the bins, complex `[frames, bins]`."""
    bins = torch.arange(config.n_fft // 2 + 1)
    steps = (torch.arange(first, first + frames)[:, None] * bins * config.hop_length) % config.n_fft
    angle = steps * (2 * torch.pi / config.n_fft)
    return torch.polar(torch.ones_like(angle), angle)


@dataclass(frozen=True)
class Inversion:
    """What `griffin_lim` needs to go one of the ways from log mel to sound."""

    rounds: int = ROUNDS
    estimate: Estimate | None = None


def inversion(inverse: Inverse, vocoder: Vocoder | None, *, joins: bool = False) -> Inversion:
    """One of the inverses.

    Args:
        inverse: the way to go.
        vocoder: in evaluation mode, on the log mel's device; every inverse but griffin-lim needs it.
        joins: whether the sound is to join given samples in phase, which takes rounds of Griffin-Lim in any case.

    Raises:
        ValueError: a vocoder is needed and there is none.
    """
    if inverse == "griffin-lim":
        return Inversion()
    if vocoder is None:
        raise ValueError(f"the inverse {inverse} needs a vocoder")
    network, with_phases = vocoder, inverse == "vocoder"

    @torch.no_grad()
    def estimate(log_mel: LogMel, frames: int, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        # With all the frames that it sees a piece comes out as it would in the whole.
        begin = max(0, first - network.context)
        part = log_mel(begin, min(frames, last + network.context))[None]
        kept = slice(first - begin, last - begin)
        features = network.features(part)
        magnitude = network.magnitudes(part, features)[0, kept].contiguous()
        return magnitude, network.phases(features, begin)[0, kept].contiguous() if with_phases else None

    return Inversion(0 if with_phases and not joins else ROUNDS, estimate)


def invert(
    log_mel: Tensor,
    config: SpectrogramConfig,
    *,
    inverse: Inverse = "griffin-lim",
    vocoder: Vocoder | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """Waveforms of log mels by one of the inverses; see `griffin_lim`, whose pieces they share, and `inversion`.

    Args:
        log_mel: `[batch, n_mels, frames]`.
        config: the spectrogram that it was made with.
        inverse: the way to go.
        vocoder: what the way needs.
        known: samples `[batch, (frames - 1) * hop_length]` that are known, NaN elsewhere.

    Returns:
        `[batch, (frames - 1) * hop_length]`, at the level of the log mel.

    Raises:
        ValueError: a vocoder is needed and there is none.
    """
    way = inversion(inverse, vocoder, joins=known is not None)
    return griffin_lim(log_mel, config, rounds=way.rounds, known=known, estimate=way.estimate)
