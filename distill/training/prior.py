"""Training the prior on the code grids of whole sounds: its batches, loss, evaluation and memorization watch."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.configs import PriorConfig
from distill.dataset.store import PreparedDataset
from distill.models.grid import encode_grid
from distill.models.health import Health
from distill.models.prior import CodePrior, negative_log_likelihood, prior_loss, sum_by_level
from distill.models.sequences import Batch, Grid, Window, collate, random_window, windows, with_token_noise
from distill.models.vqvae import STRIDE, ConvVQVAE
from distill.training.loop import Concern, Evaluation, StepLoss
from distill.training.runtime import Runtime

STAGE = "train_prior"
MEMORIZATION = "memorization"

# Windows are sorted by length within this many batches, so that little of a batch is padding.
BUCKET_BATCHES = 8


def build_prior(config: PriorConfig, vqvae: ConvVQVAE, n_mels: int) -> CodePrior:
    """An untrained prior for the codes of a VQ-VAE; its weights come from torch's generator."""
    return CodePrior(
        config.hidden,
        config.layers,
        config.heads,
        config.dropout,
        codebook_size=vqvae.codebook_size,
        num_quantizers=vqvae.num_quantizers,
        bands=n_mels // STRIDE,
        context=config.context,
    )


def encode_segments(dataset: PreparedDataset, vqvae: ConvVQVAE, segments: Sequence[int], device: str) -> list[Grid]:
    """Code grids `[columns, bands, levels]` of whole segments; the VQ-VAE must be in evaluation mode."""
    return [
        encode_grid(vqvae, torch.from_numpy(dataset.segment(segment))[None].to(device))[0].cpu().numpy()
        for segment in segments
    ]


class PriorTask:
    """The prior as the training loop wants it; see `distill.training.loop.Task`."""

    stage = STAGE

    def __init__(
        self, dataset: PreparedDataset, vqvae: ConvVQVAE, config: PriorConfig, n_mels: int, runtime: Runtime
    ) -> None:
        self.config, self.runtime = config, runtime
        self.codebook_size = vqvae.codebook_size
        self.model = build_prior(config, vqvae, n_mels).to(runtime.device)
        columns = self.model.context_columns
        originals = dataset.segments_of("train")
        shown = dataset.segments_of("train", variants=config.augmented_variants)
        vqvae = vqvae.to(runtime.device).eval()
        self.grids = encode_segments(dataset, vqvae, shown, runtime.device)
        held_out = encode_segments(dataset, vqvae, dataset.segments_of("validation"), runtime.device)
        self.validation = [window for grid in held_out for window in windows(grid, columns)]
        clean = [grid for segment, grid in zip(shown, self.grids, strict=True) if segment in set(originals)]
        train = [window for grid in clean for window in windows(grid, columns)]
        count = min(len(train), max(len(self.validation), config.batch_size))
        self.train = [train[index] for index in np.linspace(0, len(train) - 1, count).round().astype(int)]
        # A long sound gives as many windows an epoch as it takes to cover it.
        self.epoch_grids = [grid for grid in self.grids for _ in range(math.ceil(len(grid) / columns))]
        self.steps_per_epoch = math.ceil(len(self.epoch_grids) / config.batch_size)

    def start(self) -> None:
        """Nothing to prepare."""

    def batches(self, epoch: int, first_step: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self.runtime.seed, epoch])
        chosen = [
            random_window(self.epoch_grids[index], self.model.context_columns, rng)
            for index in rng.permutation(len(self.epoch_grids))
        ]
        bucket = BUCKET_BATCHES * self.config.batch_size
        groups: list[list[Window]] = []
        for begin in range(0, len(chosen), bucket):
            by_length = sorted(chosen[begin : begin + bucket], key=lambda window: window.length)
            groups += [
                by_length[first : first + self.config.batch_size]
                for first in range(0, len(by_length), self.config.batch_size)
            ]
        for step, index in enumerate(rng.permutation(len(groups))):
            if step >= first_step:
                batch = collate(groups[index], codebook_size=self.codebook_size)
                noise = np.random.default_rng([self.runtime.seed, epoch, step])
                yield with_token_noise(batch, self.config.token_noise, noise, codebook_size=self.codebook_size)

    def loss(self, batch: Batch) -> StepLoss:
        batch = batch.to(self.runtime.device)
        logits = self.model(batch.tokens, batch.starts)
        loss = prior_loss(logits, batch.targets, label_smoothing=self.config.label_smoothing)
        return StepLoss(loss, {"cross_entropy": loss})

    def batch_health(self, indices: Tensor) -> Health:
        """The prior has no codebook."""
        return {}

    def evaluate(self) -> Evaluation:
        train_loss, train = self._evaluate(self.train)
        validation_loss, validation = self._evaluate(self.validation)
        row: dict[str, Any] = {"train_perplexity": _exp(train_loss), "validation_perplexity": _exp(validation_loss)}
        for split, levels in (("train", train), ("validation", validation)):
            row |= {f"{split}_perplexity_level_{level}": _exp(value) for level, value in enumerate(levels)}
        return Evaluation(train_loss, validation_loss, row)

    def preview(self, epoch: int) -> tuple[Path, ...]:
        """The prior writes no previews."""
        return ()

    def concerns(self, history: list[dict[str, Any]]) -> list[Concern]:
        row, threshold = history[-1], self.config.perplexity_threshold
        losses = [each["validation_loss"] for each in history if each["validation_loss"] is not None]
        if not losses or row["train_perplexity"] is None or row["train_perplexity"] >= threshold:
            return []
        waited = len(losses) - 1 - losses.index(min(losses))
        if waited < self.config.memorization_patience:
            return []
        return [
            Concern(
                MEMORIZATION,
                f"the prior begins to memorize: training perplexity {row['train_perplexity']:.2f} is below the threshold "
                f"{threshold:g}, while held-out perplexity ({row['validation_perplexity']:.2f}) has not fallen for "
                f"{waited} epochs; training stops and the best held-out prior is kept",
                stop=True,
            )
        ]

    def _evaluate(self, chosen: list[Window]) -> tuple[float, list[float]]:
        """Mean negative log-likelihood a code, in nats, over all levels and by level."""
        levels = self.model.num_quantizers
        sums, counts = torch.zeros(levels, dtype=torch.float64), torch.zeros(levels, dtype=torch.float64)
        by_length = sorted(chosen, key=lambda window: window.length)
        for begin in range(0, len(by_length), self.config.batch_size):
            batch = collate(by_length[begin : begin + self.config.batch_size], codebook_size=self.codebook_size)
            batch = batch.to(self.runtime.device)
            nll = negative_log_likelihood(self.model(batch.tokens, batch.starts), batch.targets)
            level_sums, level_counts = sum_by_level(nll, batch.targets, levels)
            sums += level_sums.cpu()
            counts += level_counts.cpu()
        return float(sums.sum() / counts.sum()), (sums / counts.clamp(min=1)).tolist()


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
