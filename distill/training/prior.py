"""Training the prior on the code grids of whole sounds: its batches, loss, evaluation and memorization watch."""

import math
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.audio.mel import MelTransform
from distill.configs import STRIDE, PriorConfig
from distill.dataset.loader import EpochSteps
from distill.evenly import evenly
from distill.models.conditions import Conditions
from distill.models.edges import LAST_COLUMNS, ColumnLevels, Edges, column_levels, edges_of
from distill.models.grid import decode_grid
from distill.models.health import Health
from distill.models.prior import IGNORED, CodePrior, negative_log_likelihood, prior_loss, sum_by_level
from distill.models.sequences import (
    Batch,
    Grid,
    Window,
    collate,
    pass_windows,
    random_first,
    window_counts,
)
from distill.models.shard import Peers, Shard, current_shard
from distill.models.vqvae import ConvVQVAE
from distill.training.codes import PriorCodes, Stretch
from distill.training.runtime import Runtime
from distill.training.task import EVALUATED, Concern, Evaluation, StepLoss

STAGE = "train_prior"
MEMORIZATION = "memorization"

# Windows are sorted by length within this many batches, so that little of a batch is padding.
BUCKET_BATCHES = 8
# At most so many sounds tell how new ones begin and end.
EDGES = 64
# Shares of the windows that are learned unconditioned, and with a single label or knob, as users mostly set them. The
# others keep a share of the condition's parts, from few to all.
UNCONDITIONED, ONE_PART = 0.3, 0.4


def build_prior(config: PriorConfig, vqvae: ConvVQVAE, n_mels: int, conditions: Conditions | None = None) -> CodePrior:
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
        conditions=conditions.width if conditions else 0,
    )


class PriorTask:
    """The prior as the training loop wants it; see `distill.training.task.Task`."""

    stage = STAGE

    def __init__(self, codes: PriorCodes, vqvae: ConvVQVAE, config: PriorConfig, runtime: Runtime) -> None:
        self.codes, self.config, self.runtime, self._vqvae = codes, config, runtime, vqvae
        self._transform = MelTransform(codes.train.dataset.spectrogram)
        self.codebook_size = vqvae.codebook_size
        self.model = build_prior(config, vqvae, STRIDE * codes.bands, codes.conditions).to(runtime.device)
        self.codebooks = vqvae.quantizer.codebooks.detach().clone().to(runtime.device)
        columns = self.model.context_columns
        # A long sound gives as many windows a pass as it takes to cover it; each may be cut into other columns.
        self.shown = np.repeat(np.arange(len(codes.train)), pass_windows(codes.train.columns[0], columns))
        self.steps = EpochSteps(math.ceil(len(self.shown) / config.batch_size), config.steps_per_epoch)
        self.steps_per_epoch = self.steps.in_epoch
        self._known: tuple[int, list[np.ndarray]] | None = None
        most = max(EVALUATED, self.steps_per_epoch * config.batch_size)
        self.validation = self._windows(codes.validation, codes.held_out.shown[0], most)
        clean = np.flatnonzero(codes.train.original)
        self.train = self._windows(
            lambda index: codes.training(int(clean[index])),
            codes.train.shown[0, clean],
            max(len(self.validation), config.batch_size),
        )

    def configure(self, config: PriorConfig) -> None:
        """Take up other parameters; what of them may change while the prior trains is read where it is used."""
        self.config = config

    def start(self) -> None:
        """Let the embeddings begin with the codebooks' vectors; note how long and how loud sounds are."""
        self.model.begin_with(self.codebooks)
        sounds = self.codes.train
        whole = sounds.columns[0][sounds.at_start & sounds.at_end & sounds.original].tolist()
        self.model.shortest_columns.fill_(min(whole, default=1))
        self.model.limits.copy_(torch.tensor(astuple(self._edges())))

    def _edges(self) -> Edges:
        """The limits that the training's sounds keep."""
        sounds, columns = self.codes.train, self.model.context_columns
        begun, ended = (np.flatnonzero(each & sounds.original) for each in (sounds.at_start, sounds.at_end))
        begun, ended = (each[evenly(len(each), EDGES)].tolist() for each in (begun, ended))
        return edges_of(
            [self._levels(self.codes.training(each).grid[:columns]).parts for each in begun],
            [float(self._levels(self.codes.training(each).grid[-LAST_COLUMNS:]).ends[-1]) for each in ended],
        )

    def _levels(self, grid: Grid) -> ColumnLevels:
        codes = torch.from_numpy(grid.astype(np.int64))[None].to(self.runtime.device)
        return column_levels(decode_grid(self._vqvae, codes)[0], self._transform)

    def batches(self, epoch: int, first_step: int) -> Iterator[Batch]:
        for step in range(first_step, self.steps_per_epoch):
            number, place = self.steps.place(epoch, step)
            if self._known is None or self._known[0] != number:
                self._known = (number, self._pass(number))
            chosen = [
                self._with_parts(
                    self.codes.training(position, cut, copy).window(first, self.model.context_columns), parts
                )
                for position, cut, copy, first, parts in self._known[1][place].tolist()
            ]
            yield collate(chosen, codebook_size=self.codebook_size)

    def shards(self, epoch: int, first_step: int, peers: Peers) -> Iterator[tuple[Batch, Shard]]:
        # What every process computes is as long as the longest window of all.
        for batch in self.batches(epoch, first_step):
            shard = Shard(peers, len(batch.tokens))
            yield batch.part(shard.items), shard

    def _with_parts(self, window: Window, parts: int) -> Window:
        """A window with only some parts of its condition, each a bit of a number."""
        if (conditions := self.codes.conditions) is None or window.condition is None:
            return window
        condition = np.zeros_like(window.condition)
        for bit, part in enumerate(conditions.parts):
            if parts >> bit & 1:
                condition[part] = window.condition[part]
        return replace(window, condition=condition)

    def _parts(self, rng: np.random.Generator) -> int:
        """Which parts of a condition a window keeps, each a bit of a number."""
        if (conditions := self.codes.conditions) is None:
            return 0
        kind, share, one = rng.random(3)
        if kind < UNCONDITIONED:
            return 0
        parts = len(conditions.parts)
        if kind < UNCONDITIONED + ONE_PART:
            return 1 << int(one * parts)
        return int((rng.random(parts) < share) @ (1 << np.arange(parts)))

    def _pass(self, number: int) -> list[np.ndarray]:
        """The windows of each batch of a pass: sound, cut, copy, first column and parts, `[batch, 5]`."""
        rng, sounds = np.random.default_rng([self.runtime.seed, number]), self.codes.train
        context, size = self.model.context_columns, self.config.batch_size
        drawn, lengths = np.empty((len(self.shown), 5), np.int32), np.empty(len(self.shown), np.int32)
        for index, position in enumerate(self.shown[rng.permutation(len(self.shown))]):
            # Every second time the first cut: else beginnings would be learned too seldom.
            cut = max(0, int(rng.integers(-sounds.cuts, sounds.cuts)))
            copy = int(rng.integers(1 + sounds.copies))
            columns = int(sounds.shown[cut, position])
            first = random_first(columns, context, rng)
            drawn[index] = position, cut, copy, first, self._parts(rng)
            lengths[index] = min(context, columns - first)
        groups: list[np.ndarray] = []
        for begin in range(0, len(drawn), BUCKET_BATCHES * size):
            bucket = begin + np.argsort(lengths[begin : begin + BUCKET_BATCHES * size], kind="stable")
            groups += [drawn[bucket[first : first + size]] for first in range(0, len(bucket), size)]
        return [groups[index] for index in rng.permutation(len(groups))]

    def _windows(self, stretch: Callable[[int], Stretch], columns: np.ndarray, most: int) -> list[Window]:
        """At most so many of the windows in which each code of some sounds counts once, evenly spread over them."""
        counts = window_counts(columns, self.model.context_columns)
        first = np.cumsum(counts) - counts
        chosen = evenly(int(counts.sum()), most)
        owners = np.searchsorted(first, chosen, side="right") - 1
        found: list[Window] = []
        for position in np.unique(owners).tolist():
            windows = stretch(position).windows(self.model.context_columns)
            found += [windows[index] for index in (chosen[owners == position] - first[position]).tolist()]
        return found

    def loss(self, batch: Batch) -> StepLoss:
        batch = batch.to(self.runtime.device)
        logits = self.model(batch.tokens, batch.starts, batch.changed, batch.condition)
        shard = current_shard()
        scored = shard.peers.all_reduce((batch.targets != IGNORED).sum()) if shard else None
        loss = prior_loss(logits, batch.targets, scored)
        return StepLoss(loss, {"cross_entropy": loss})

    def batch_health(self, indices: Tensor) -> Health:
        """The prior has no codebook."""
        return {}

    def evaluate(self) -> Evaluation:
        train, validation = self._evaluate(self.train), self._evaluate(self.validation)
        row: dict[str, Any] = {"train_perplexity": train.total, "validation_perplexity": validation.total}
        for split, perplexity in (("train", train), ("validation", validation)):
            row |= {f"{split}_perplexity_level_{level}": value for level, value in enumerate(perplexity.by_level)}
        return Evaluation(math.log(train.total), math.log(validation.total), row, quality=validation.total)

    def preview(self, epoch: int) -> tuple[Path, ...]:
        """The prior writes no previews."""
        return ()

    def go_back(self, epoch: int) -> None:
        """There are no previews."""

    def concerns(self, history: list[dict[str, Any]]) -> list[Concern]:
        row, threshold = history[-1], self.config.perplexity_threshold
        rows = [each for each in history if each["validation_loss"] is not None]
        if not rows or row["train_perplexity"] is None or row["train_perplexity"] >= threshold:
            return []
        waited = rows[-1]["epoch"] - min(rows, key=lambda each: each["validation_loss"])["epoch"]
        if waited < self.config.memorization_patience:
            return []
        return [
            Concern(
                MEMORIZATION,
                f"the prior begins to memorize: training perplexity {row['train_perplexity']:.2f} is below the "
                f"threshold {threshold:g}, while held-out perplexity ({row['validation_perplexity']:.2f}) "
                f"has not fallen for {waited} epochs; training stops and the best held-out prior is kept",
                stop=True,
            )
        ]

    def _evaluate(self, chosen: list[Window]) -> "_Perplexity":
        levels = self.model.num_quantizers
        sums, counts = torch.zeros(levels, dtype=torch.float64), torch.zeros(levels, dtype=torch.float64)
        by_length = sorted(chosen, key=lambda window: window.length)
        for begin in range(0, len(by_length), self.config.batch_size):
            batch = collate(by_length[begin : begin + self.config.batch_size], codebook_size=self.codebook_size)
            batch = batch.to(self.runtime.device)
            # Unconditioned, so that the figures of all priors can be compared.
            nll = negative_log_likelihood(self.model(batch.tokens, batch.starts), batch.targets)
            level_sums, level_counts = sum_by_level(nll, batch.targets, levels)
            sums += level_sums.cpu()
            counts += level_counts.cpu()
        return _Perplexity(float((sums.sum() / counts.sum()).exp()), (sums / counts).exp().tolist())


@dataclass(frozen=True)
class _Perplexity:
    """Exponential of the mean negative log-likelihood of a code: of all levels together, and of each."""

    total: float
    by_level: list[float]
