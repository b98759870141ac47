"""The log mel spectrogram that the models see, and its way back to mel power."""

from functools import lru_cache

import torch
from torch import Tensor

import distill.arithmetic  # noqa: F401
from distill.audio.torchaudio_import import import_torchaudio
from distill.configs import SpectrogramConfig

# So many frames at a time that their windows and spectra stay in a core's cache.
_BLOCK_FRAMES = 128
# 170 dB above the floor: louder than any sound, and its power is still an fp32 number whose square is one.
_MOST_LOG_MEL = 40.0


def frames_of(samples: int, config: SpectrogramConfig) -> int:
    """Frames of a sound of so many samples.

    >>> frames_of(48_000, SpectrogramConfig())
    94
    """
    return 1 + samples // config.hop_length


def chunk_frames(config: SpectrogramConfig, seconds: float) -> int:
    """Frames of a chunk of so many seconds.

    >>> chunk_frames(SpectrogramConfig(), 1.0)
    94
    """
    return frames_of(round(seconds * config.sample_rate), config)


@lru_cache(maxsize=8)
def mel_filters(config: SpectrogramConfig) -> Tensor:
    """The mel filter bank `[n_fft // 2 + 1, n_mels]` (HTK scale, triangles of height 1), as torchaudio defines it."""
    functional = import_torchaudio().functional
    return functional.melscale_fbanks(
        n_freqs=config.n_fft // 2 + 1,
        f_min=0.0,
        f_max=config.sample_rate / 2,
        n_mels=config.n_mels,
        sample_rate=config.sample_rate,
        norm=None,
        mel_scale="htk",
    )


class MelTransform:
    """Waveform to log mel, with the values of torchaudio's `MelSpectrogram(power=2.0, center=True)`.

    It is a few times faster than that on short sounds and needs memory for a few frames only, however long the sound.
    `log_mel = log1p(power / floor)` with `floor = 10 ** (floor_db / 10)`; it is 0 in silence and never negative.
    """

    def __init__(self, config: SpectrogramConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.floor = 10.0 ** (config.floor_db / 10.0)
        self._window = torch.hann_window(config.n_fft, device=device)
        self._filters = mel_filters(config).to(device)

    def log_mel(self, samples: Tensor) -> Tensor:
        """Log mel of samples `[..., n]`, as `[..., n_mels, 1 + n // hop_length]`."""
        return self.from_power(self.power(samples))

    def power(self, samples: Tensor) -> Tensor:
        """Mel power of samples `[..., n]`, as `[..., n_mels, 1 + n // hop_length]`."""
        items = [self.power_frames(item).T for item in samples.reshape(-1, samples.shape[-1])]
        return torch.stack(items).reshape(*samples.shape[:-1], self.config.n_mels, -1)

    def power_frames(self, samples: Tensor) -> Tensor:
        """Mel power of one sound `[n]`, time first: `[1 + n // hop_length, n_mels]`."""
        n_fft, hop = self.config.n_fft, self.config.hop_length
        frames = frames_of(len(samples), self.config)
        half = n_fft // 2
        # A reflection needs more samples than it adds.
        short = max(0, half + 1 - len(samples))
        padded = torch.nn.functional.pad(samples, (0, short))
        padded = torch.nn.functional.pad(padded[None], (half, half), mode="reflect")[0]
        windows = padded.unfold(0, n_fft, hop)[:frames]
        out = samples.new_empty(frames, self.config.n_mels)
        for start in range(0, frames, _BLOCK_FRAMES):
            spectrum = torch.fft.rfft(windows[start : start + _BLOCK_FRAMES] * self._window)
            power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
            torch.matmul(power, self._filters, out=out[start : start + _BLOCK_FRAMES])
        return out

    def from_power(self, power: Tensor) -> Tensor:
        """Log mel of mel power, any shape."""
        return torch.log1p(power / self.floor)

    def to_power(self, log_mel: Tensor) -> Tensor:
        """Mel power of log mel, any shape; below 0 it counts as 0, far beyond any sound as a limit."""
        return torch.expm1(log_mel.clamp(0.0, _MOST_LOG_MEL)) * self.floor
