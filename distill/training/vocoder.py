"""Training the vocoder: its batches, loss and evaluation."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from distill.audio.mel import MelTransform, mel_filters
from distill.configs import SpectrogramConfig, VocoderConfig
from distill.dataset.waveforms import Waveforms
from distill.models.health import Health
from distill.models.losses import total_loss
from distill.models.shard import Peers, Shard, current_shard
from distill.models.stft_losses import log_distance, magnitudes_of, multi_resolution, spectral_convergence
from distill.models.vocoder import Spectrum, Vocoder, waveform_of
from distill.models.vqvae import ConvVQVAE
from distill.training.runtime import Runtime
from distill.training.task import Concern, Evaluation, StepLoss, add_terms, row_of

STAGE = "train_vocoder"

# Stretches of each split that an evaluation hears.
EVALUATED = 32
GAIN_DB = (-12.0, 0.0)
_BATCH_STREAM, _EVALUATION_STREAM = 0x0C0D, 0xE7A1


class VocoderTask:
    """The vocoder as the training loop wants it; see `distill.training.task.Task`.

    Args:
        train: waveforms `[n]` to learn from, with a peak of 1.
        held_out: waveforms to evaluate on.
        vqvae: its reconstructions are a share of what the vocoder hears.
        config: the vocoder and its training.
        spectrogram: what log mels are made with.
        runtime: where to compute; its seed decides everything random.
        base: a state to start from, in place of random weights.
    """

    stage = STAGE

    def __init__(
        self,
        train: Waveforms,
        held_out: Waveforms,
        vqvae: ConvVQVAE,
        config: VocoderConfig,
        spectrogram: SpectrogramConfig,
        runtime: Runtime,
        base: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.config, self.spectrogram, self.runtime, self.base = config, spectrogram, runtime, base
        self.steps_per_epoch = config.steps_per_epoch
        self.model = Vocoder(config.hidden, config.blocks, spectrogram).to(runtime.device)
        self.vqvae = vqvae.to(runtime.device).eval().requires_grad_(False)
        self.mel = MelTransform(spectrogram, runtime.device)
        self.filters = mel_filters(spectrogram).to(runtime.device)
        self.samples = (config.segment_frames - 1) * spectrogram.hop_length
        self.sounds = train
        # Of a long sound more is heard, but not in proportion: it may be one tone.
        weights = np.sqrt(np.maximum(1, train.lengths))
        self.shares = weights / weights.sum()
        evaluated = [runtime.seed, _EVALUATION_STREAM]
        self.train = self._stretches(train, None, EVALUATED, evaluated)
        self.validation = self._stretches(held_out, None, EVALUATED, evaluated)

    def configure(self, config: VocoderConfig) -> None:
        """Take up other parameters."""
        self.config = config

    def start(self) -> None:
        """Take up the base."""
        if self.base is not None:
            self.model.load_state_dict(self.base)

    def batches(self, epoch: int, first_step: int) -> Iterator[np.ndarray]:
        for step in range(first_step, self.steps_per_epoch):
            key = [self.runtime.seed, _BATCH_STREAM, epoch, step]
            yield self._stretches(self.sounds, self.shares, self.config.batch_size, key)

    def shards(self, epoch: int, first_step: int, peers: Peers) -> Iterator[tuple[np.ndarray, Shard]]:
        # One generator draws for the whole batch.
        return ((batch[(shard := Shard(peers, len(batch))).items], shard) for batch in self.batches(epoch, first_step))

    def loss(self, batch: np.ndarray) -> StepLoss:
        terms = self._terms(torch.from_numpy(batch).to(self.runtime.device))
        if shard := current_shard():
            terms = {name: shard.share * term for name, term in terms.items()}
        return StepLoss(total_loss(terms, self.config.loss_weights), terms)

    def batch_health(self, indices: Tensor) -> Health:
        """The vocoder has no codebook."""
        return {}

    def evaluate(self) -> Evaluation:
        train, validation = self._evaluate(self.train), self._evaluate(self.validation)
        weights = self.config.loss_weights
        sums = [sum(weights[name] * value for name, value in terms.items()) for terms in (train, validation)]
        return Evaluation(sums[0], sums[1], row_of(train, validation))

    def preview(self, epoch: int) -> tuple[Path, ...]:
        """The vocoder writes no previews."""
        return ()

    def go_back(self, epoch: int) -> None:
        """There are no previews."""

    def concerns(self, history: list[dict[str, Any]]) -> list[Concern]:
        return []

    def _stretches(self, sounds: Waveforms, shares: np.ndarray | None, count: int, key: list[int]) -> np.ndarray:
        """Random stretches float32 `[count, samples]`, each at its own level and with its own sign."""
        rng = np.random.default_rng(key)
        out = np.zeros((count, self.samples), np.float32)
        for row, index in enumerate(rng.choice(len(sounds), count, p=shares)):
            length = sounds.lengths[index]
            # A stretch may begin a little before its sound, and end behind it.
            start = int(rng.integers(-self.samples // 4, max(1, length - self.samples // 2)))
            begin, end = max(0, start), min(length, start + self.samples)
            gain = 10.0 ** (rng.uniform(*GAIN_DB) / 20.0) * rng.choice((-1.0, 1.0))
            out[row, begin - start : end - start] = sounds.part(index, begin, end) * np.float32(gain)
        return out

    def _terms(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Loss terms of waveforms `[batch, samples]`, each a scalar."""
        log_mel = self.mel.log_mel(waveforms)
        shard = current_shard()
        first, total = (shard.items.start, shard.total) if shard else (0, len(log_mel))
        reconstructed = min(len(log_mel), round(self.config.reconstructed_share * total) - first)
        if reconstructed > 0:
            with torch.no_grad():
                decoded = self.vqvae(log_mel[:reconstructed, None])[0][:, 0].float()
            log_mel = torch.cat([decoded, log_mel[reconstructed:]])
        features = self.model.features(log_mel)
        with torch.autocast(self.runtime.kind, enabled=False):
            magnitude = self.model.magnitudes(log_mel, features)
            window = self.spectrogram.n_fft
            wanted = self._magnitudes(waveforms)
            head = spectral_convergence(magnitude, wanted).mean() + log_distance(magnitude, wanted, window)
            weights = self.config.loss_weights
            if not any(weights[name] for name in ("convergence", "log_magnitude", "mel")):
                return {"head": head}
            made = waveform_of(Spectrum(magnitude, self.model.phases(features)), self.spectrogram)
            convergence, distance = multi_resolution(made, waveforms)
            mel = functional.l1_loss(self._log_mel(self._magnitudes(made)), self._log_mel(wanted))
            return {"convergence": convergence, "log_magnitude": distance, "mel": mel, "head": head}

    def _magnitudes(self, waveforms: Tensor) -> Tensor:
        """Magnitudes `[batch, frames, bins]` with the spectrogram's own windows."""
        n_fft, hop = self.spectrogram.n_fft, self.spectrogram.hop_length
        padded = functional.pad(waveforms, (n_fft // 2, n_fft // 2))
        return magnitudes_of(padded.unfold(-1, n_fft, hop))

    def _log_mel(self, found: Tensor) -> Tensor:
        return self.mel.from_power(found.square() @ self.filters)

    def _evaluate(self, stretches: np.ndarray) -> dict[str, float]:
        """Mean of each term."""
        sums: dict[str, float] = {}
        for begin in range(0, len(stretches), self.config.batch_size):
            part = torch.from_numpy(stretches[begin : begin + self.config.batch_size]).to(self.runtime.device)
            add_terms(sums, self._terms(part), len(part))
        return {name: value / len(stretches) for name, value in sums.items()}
