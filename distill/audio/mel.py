"""The log mel spectrogram that the models see, and its way back to mel power."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import torch
from torch import Tensor

import distill.arithmetic  # noqa: F401
from distill.audio.power import MOST_LOG_MEL
from distill.audio.torchaudio_import import import_torchaudio
from distill.configs import SpectrogramConfig

# So many frames at a time that their windows and spectra stay in a core's cache.
_BLOCK_FRAMES = 128


def chunk_frames(config: SpectrogramConfig, seconds: float) -> int:
    """Frames of a chunk of so many seconds.

    >>> chunk_frames(SpectrogramConfig(), 1.0)
    94
    """
    return config.frames_of(round(seconds * config.sample_rate))


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
        return torch.cat(list(self.power_blocks([samples], len(samples))))

    def power_blocks(self, parts: Iterable[Tensor], samples: int) -> Iterator[Tensor]:
        """Mel power of a sound of so many samples that comes in parts `[n]`: blocks `[frames, n_mels]`, time first."""
        n_fft, hop = self.config.n_fft, self.config.hop_length
        left = self.config.frames_of(samples)
        waiting = self._window.new_empty(0)
        for part in self._reflected(parts):
            waiting = torch.cat([waiting, part])
            while left and len(waiting) >= n_fft + (min(left, _BLOCK_FRAMES) - 1) * hop:
                frames = min(left, _BLOCK_FRAMES)
                windows = waiting.unfold(0, n_fft, hop)[:frames]
                spectrum = torch.fft.rfft(windows * self._window)
                yield spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag) @ self._filters
                waiting, left = waiting[frames * hop :], left - frames

    def _reflected(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """The parts of a sound, with half a window of it reflected before and behind."""
        half = self.config.n_fft // 2
        first: Tensor | None = self._window.new_empty(0)
        last = self._window.new_empty(0)
        for part in parts:
            if first is not None:
                first = torch.cat([first, part])
                if len(first) <= half:
                    continue
                yield first[1 : half + 1].flip(0)
                part, first = first, None
            last = torch.cat([last, part[-half - 1 :]])[-half - 1 :]
            yield part
        if first is not None:
            # A reflection needs more samples than it adds.
            last = torch.nn.functional.pad(first, (0, half + 1 - len(first)))
            yield last[1:].flip(0)
            yield last
        yield last[:-1].flip(0)

    def from_power(self, power: Tensor) -> Tensor:
        """Log mel of mel power, any shape."""
        return torch.log1p(power / self.floor)

    def to_power(self, log_mel: Tensor) -> Tensor:
        """Mel power of log mel, any shape; below 0 it counts as 0, far beyond any sound as a limit."""
        return torch.expm1(log_mel.clamp(0.0, MOST_LOG_MEL)) * self.floor
