"""The plain way to train the VQ-VAE, for comparison: what one writes first, with nothing kept and nothing tuned.

The network is the same. Each step decodes a batch of files one by one, mixes them to mono, resamples them, changes them
a little, makes their mel spectrograms with torchaudio, one sound at a time, and computes in fp32, in torch's ordinary
memory layout, with dropout and with the plain loop of AdamW over the parameters.
"""

import time
from pathlib import Path

from distill.audio.torchaudio_import import import_torchaudio
from distill.configs import SpectrogramConfig
from distill.models.losses import spectral_terms
from distill.models.vqvae import ConvVQVAE

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor, nn

# The original of this kind of system, on the machine where its times below were taken: ms for a step of 32.
ORIGINAL_STEP_MS = 237.0
# Its VQ-VAE training on two sets of sounds, in s.
ORIGINAL_TRAINING_SECONDS = {"kit": 33.0, "mixed": 228.0}
# Convolutions and products of a step of 32 chunks, forward and backward.
STEP_GFLOP = 17.7
WEIGHTS = {"full": 0.5, "half": 0.3, "quarter": 0.2}


class Laps:
    """Seconds that the parts of some work take, by name, a list with an item a repetition."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._last = 0.0

    def start(self) -> None:
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds.setdefault(name, []).append(now - self._last)
        self._last = now

    def milliseconds(self) -> dict[str, float]:
        """Median of each part."""
        return {name: round(1000 * float(np.median(values)), 2) for name, values in self.seconds.items()}


def plain_mel(config: SpectrogramConfig) -> nn.Module:
    """torchaudio's mel spectrogram."""
    transform: nn.Module = import_torchaudio().transforms.MelSpectrogram(
        config.sample_rate, n_fft=config.n_fft, hop_length=config.hop_length, n_mels=config.n_mels, power=2.0
    )
    return transform


class PlainTraining:
    """Training steps in the plain way.

    Args:
        files: sounds.
        batch_size: sounds in a step.
        config: spectrogram.
        codebook_size: codes of a level.
        ready: keep the sounds decoded and resampled in memory; a step then starts with the changes.
    """

    def __init__(
        self, files: list[Path], batch_size: int, config: SpectrogramConfig, *, codebook_size: int, ready: bool
    ) -> None:
        self.files, self.batch_size, self.config = files, batch_size, config
        self.rng = np.random.default_rng(0)
        with torch.random.fork_rng(devices=[]):
            self.model = ConvVQVAE(codebook_size=codebook_size, dropout=0.2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3, foreach=False, fused=False)
        self.mel = plain_mel(config)
        self.laps = Laps()
        self.kept = [self._resampled(*self._decoded(path)) for path in files] if ready else None

    def step(self) -> None:
        """One training step."""
        laps, model = self.laps, self.model
        laps.start()
        mels = torch.stack([self._mel(index) for index in self.rng.integers(len(self.files), size=self.batch_size)])
        laps.start()
        encoded = model.encode(mels[:, None])
        laps.lap("encoder")
        spatial, _, commitment = model.quantize(encoded)
        laps.lap("quantizer")
        reconstruction = model.decode(spatial, (mels.shape[1], mels.shape[2]))
        laps.lap("decoder")
        terms = spectral_terms(reconstruction, mels[:, None])
        loss = sum((weight * terms[name] for name, weight in WEIGHTS.items()), 0.25 * commitment)
        laps.lap("loss")
        self.optimizer.zero_grad()
        loss.backward()
        laps.lap("backward")
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimizer.step()
        laps.lap("optimizer")

    def parts(self) -> dict[str, float]:
        """Median ms of each part of a step; what is done for each sound counts for the whole batch."""
        parts = self.laps.milliseconds()
        return {name: value * (self.batch_size if name in _PER_SOUND else 1) for name, value in parts.items()}

    def _mel(self, index: int) -> Tensor:
        self.laps.start()
        if self.kept is None:
            samples, rate = self._decoded(self.files[index])
            self.laps.lap("decode")
            samples = self._resampled(samples, rate)
            self.laps.lap("resample")
        else:
            samples = self.kept[index]
        samples = self._changed(samples)
        self.laps.lap("augment")
        mel = torch.log1p(self.mel(torch.from_numpy(samples)) / 10 ** (self.config.floor_db / 10))
        self.laps.lap("mel")
        return mel

    def _decoded(self, path: Path) -> tuple[np.ndarray, int]:
        """At most one second of a file, mono."""
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        first = int(self.rng.integers(max(1, len(samples) - rate + 1)))
        return samples[first : first + rate].mean(1), rate

    def _resampled(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """A second at the target rate with a peak of 1, silence behind a shorter sound."""
        length = self.config.sample_rate
        samples = soxr.resample(samples, rate, length, quality="HQ")[:length]
        samples = samples / max(1e-4, float(np.abs(samples).max(initial=0.0)))
        return np.pad(samples, (0, length - len(samples)))

    def _changed(self, samples: np.ndarray) -> np.ndarray:
        """Another level and position, and sometimes noise."""
        samples = np.roll(samples, int(self.rng.integers(-2400, 2400))) * np.float32(10 ** self.rng.uniform(-0.3, 0.3))
        if self.rng.random() < 0.3:
            samples = samples + self.rng.standard_normal(len(samples), dtype=np.float32) * np.float32(0.003)
        return samples


_PER_SOUND = ("decode", "resample", "augment", "mel")
