"""Training the prior on the code grids of whole sounds: its batches, loss, evaluation and memorization watch."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.audio.augment import augment
from distill.configs import STRIDE, PriorConfig
from distill.dataset.store import PreparedDataset
from distill.models.grid import encode_grid, encode_pieces
from distill.models.health import Health
from distill.models.prior import IGNORED, CodePrior, negative_log_likelihood, prior_loss, sum_by_level
from distill.models.sequences import Batch, Grid, Window, collate, random_window, windows, with_token_noise
from distill.models.vqvae import ConvVQVAE
from distill.training.runtime import Runtime
from distill.training.task import Concern, Evaluation, StepLoss

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
    return [encode_segment(dataset, vqvae, segment, device) for segment in segments]


def encode_segment(dataset: PreparedDataset, vqvae: ConvVQVAE, segment: int, device: str) -> Grid:
    """Code grid `[columns, bands, levels]` of a segment, which is read and encoded piece by piece."""

    def part(first: int, last: int) -> Tensor:
        return torch.from_numpy(dataset.segment(segment, first, last))[None].to(device)

    frames = int(dataset.segments["frames"].iloc[segment])
    return np.concatenate([piece[0].cpu().numpy() for piece in encode_pieces(vqvae, part, frames)])


def _encode(vqvae: ConvVQVAE, log_mels: np.ndarray, device: str) -> np.ndarray:
    """Code grids `[batch, columns, bands, levels]` of log mels `[batch, n_mels, frames]`."""
    return encode_grid(vqvae, torch.from_numpy(log_mels).to(device)).cpu().numpy()


@dataclass(frozen=True)
class _Sound:
    """Codes of a stretch of a sound `[columns, bands, levels]`, and whether it begins and ends where the sound does."""

    grid: Grid
    at_start: bool
    at_end: bool
    original: bool
    changed: bool

    def windows(self, columns: int) -> list[Window]:
        return [self._within(window) for window in windows(self._shown, columns)]

    def random_window(self, columns: int, rng: np.random.Generator) -> Window:
        return self._within(random_window(self._shown, columns, rng))

    @property
    def _shown(self) -> Grid:
        """Where the sound goes on behind the stretch, its last column is only there to be predicted."""
        return self.grid if self.at_end or len(self.grid) == 1 else self.grid[:-1]

    def _within(self, window: Window) -> Window:
        if not self.at_start and window.starts_file:
            window = replace(window, starts_file=False, scored_from=max(1, window.scored_from))
        if not self.at_end and window.following is None:
            # Of a single column it is not known what follows.
            after = int(self.grid[-1, 0, 0]) if len(self.grid) > 1 else IGNORED
            window = replace(window, following=after)
        return replace(window, changed=self.changed)


def _sounds(
    dataset: PreparedDataset,
    vqvae: ConvVQVAE,
    runtime: Runtime,
    split: str,
    *,
    variants: bool = False,
    skipped: int = 0,
    copies: int = 0,
) -> list[list[_Sound]]:
    """The stretches of a split, each as it is and then in so many copies that are changed, each in its own way.

    Without its first frames, where a stretch is longer than `skipped`.
    """
    rows = dataset.segments_of(split, variants=variants)
    facts = dataset.segments.iloc[rows]
    found = []
    for row, at_start, at_end, semitones in zip(
        rows, facts["at_start"], facts["at_end"], facts["semitones"], strict=True
    ):
        log_mel = dataset.segment(row)
        first = skipped if log_mel.shape[1] > skipped else 0
        shown = log_mel[None, :, first:]
        grids = [*_encode(vqvae, shown, runtime.device)]
        if copies:
            generators = [np.random.default_rng([runtime.seed, copy, skipped, row]) for copy in range(copies)]
            # Noise would be made, too: one mark does not tell the prior enough of what goes on for seconds.
            changed = augment(np.repeat(shown, copies, 0), generators, 1.0, dataset.spectrogram, noise=False)
            grids += [*_encode(vqvae, changed, runtime.device)]
        begins, ends, original = bool(at_start) and not first, bool(at_end), semitones == 0
        found.append([_Sound(grid, begins, ends, original, bool(number)) for number, grid in enumerate(grids)])
    return found


def _drawn(cuts: Sequence[Sequence[_Sound]], rng: np.random.Generator) -> _Sound:
    """A copy of one of a sound's cuts, every second time the first: else beginnings would be learned too seldom."""
    copies = cuts[max(0, int(rng.integers(-len(cuts), len(cuts))))]
    return copies[int(rng.integers(len(copies)))]


class PriorTask:
    """The prior as the training loop wants it; see `distill.training.task.Task`."""

    stage = STAGE

    def __init__(
        self, dataset: PreparedDataset, vqvae: ConvVQVAE, config: PriorConfig, n_mels: int, runtime: Runtime
    ) -> None:
        self.config, self.runtime = config, runtime
        self.codebook_size = vqvae.codebook_size
        self.model = build_prior(config, vqvae, n_mels).to(runtime.device)
        vqvae = vqvae.to(runtime.device).eval()
        self.codebooks = vqvae.quantizer.codebooks.detach().clone()
        cuts = [
            _sounds(
                dataset,
                vqvae,
                runtime,
                "train",
                variants=config.augmented_variants,
                skipped=skipped,
                copies=config.augmented_copies,
            )
            for skipped in range(0, STRIDE, STRIDE // config.column_cuts)
        ]
        self.sounds = [copies[0] for copies in cuts[0]]
        held_out = [copies[0] for copies in _sounds(dataset, vqvae, runtime, "validation")]
        columns = self.model.context_columns
        self.validation = [window for sound in held_out for window in sound.windows(columns)]
        clean = [window for sound in self.sounds if sound.original for window in sound.windows(columns)]
        count = min(len(clean), max(len(self.validation), config.batch_size))
        self.train = [clean[index] for index in np.linspace(0, len(clean) - 1, count).round().astype(int)]
        # A long sound gives as many windows an epoch as it takes to cover it; each may be cut into other columns.
        sounds = zip(*cuts, strict=True)
        self.shown = [sound for sound in sounds for _ in range(math.ceil(len(sound[0][0].grid) / columns))]
        self.steps_per_epoch = math.ceil(len(self.shown) / config.batch_size)

    def configure(self, config: PriorConfig) -> None:
        """Take up other parameters; what of them may change while the prior trains is read where it is used."""
        self.config = config

    def start(self) -> None:
        """Let the embeddings begin with the codebooks' vectors, and note how short a sound can be."""
        self.model.begin_with(self.codebooks)
        whole = [len(sound.grid) for sound in self.sounds if sound.at_start and sound.at_end and sound.original]
        self.model.shortest_columns.fill_(min(whole, default=1))

    def batches(self, epoch: int, first_step: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self.runtime.seed, epoch])
        chosen = [
            _drawn(self.shown[index], rng).random_window(self.model.context_columns, rng)
            for index in rng.permutation(len(self.shown))
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
        logits = self.model(batch.tokens, batch.starts, batch.changed)
        loss = prior_loss(logits, batch.targets, label_smoothing=self.config.label_smoothing)
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
