"""Training the VQ-VAE: its batches, loss, evaluation and previews."""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.audio.invert import griffin_lim
from distill.audio.mel import MelTransform
from distill.audio.sound import write_sound
from distill.audio.space import in_two, side_of
from distill.configs import SpectrogramConfig, VQVAEConfig
from distill.dataset.loader import TrainingBatches
from distill.dataset.split import TRAIN, VALIDATION
from distill.dataset.store import PreparedDataset
from distill.evenly import evenly
from distill.files import storage_errors
from distill.models.health import Health, health_of_counts, usage_counts, utilization_warnings
from distill.models.losses import COMMITMENT, log_spectral_distance, spectral_terms, total_loss
from distill.models.shard import Peers, Shard, current_shard, part_of
from distill.models.vqvae import ConvVQVAE
from distill.pictures import spectrogram_png
from distill.training.runtime import Runtime
from distill.training.task import EVALUATED, Concern, Evaluation, StepLoss, add_terms, row_of

STAGE = "train_vqvae"
PREVIEW_SECONDS = 4.0
# So many sets of previews at least in a training that has as many epochs.
PREVIEW_SETS = 5
PREVIEW_PEAK = 10 ** (-1 / 20)


def build_vqvae(config: VQVAEConfig) -> ConvVQVAE:
    """An untrained VQ-VAE; its weights come from torch's generator."""
    return ConvVQVAE(
        codebook_dim=config.codebook_dim,
        codebook_size=config.codebook_size,
        num_quantizers=config.num_quantizers,
        decay=config.decay,
        commitment_weight=config.commitment_weight,
        threshold_ema_dead_code=config.threshold_ema_dead_code,
        dropout=config.dropout,
        kmeans_iters=config.kmeans_iters,
    )


def has_previews(epoch: int, config: VQVAEConfig) -> bool:
    """Whether previews are made after an epoch: a short training is heard on its way as well."""
    interval = min(config.preview_interval, max(1, config.epochs // PREVIEW_SETS))
    return epoch == config.epochs or epoch % interval == 0


class VQVAETask:
    """The VQ-VAE as the training loop wants it; see `distill.training.task.Task`.

    Args:
        dataset: the prepared sounds.
        config: parameters.
        spectrogram: of the dataset.
        runtime: where and how it is computed.
        preview_folder: where previews go.
        base: a state of encoder and decoder to start from, in place of random weights.
    """

    stage = STAGE

    def __init__(
        self,
        dataset: PreparedDataset,
        config: VQVAEConfig,
        spectrogram: SpectrogramConfig,
        runtime: Runtime,
        preview_folder: Path,
        base: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.dataset, self.config, self.spectrogram, self.runtime = dataset, config, spectrogram, runtime
        self.preview_folder, self.base = preview_folder, base
        self.mel = MelTransform(spectrogram)
        # Evaluations keep to the weights of the start, so that epochs can be compared whatever changes.
        self.start_weights = self.weights = _weights(config)
        self.source = TrainingBatches(
            dataset,
            batch_size=config.batch_size,
            expansion=config.augmentation_expansion,
            strength=config.augmentation_strength,
            seed=runtime.seed,
            steps_per_epoch=config.steps_per_epoch,
        )
        self.steps_per_epoch = self.source.steps_per_epoch
        self.model: ConvVQVAE = build_vqvae(config).to(runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def configure(self, config: VQVAEConfig) -> None:
        """Take up what of the parameters may change while the training runs."""
        self.config = config
        self.weights = _weights(config)
        self.source.strength = config.augmentation_strength
        self.model.quantizer.configure(decay=config.decay, threshold_ema_dead_code=config.threshold_ema_dead_code)

    def start(self) -> None:
        """Take up the base, and place the first codes by k-means over encodings of many chunks.

        Without `kmeans_chunks` the first batch places the codes.
        """
        if self.base is not None:
            left = self.model.load_state_dict(self.base, strict=False)
            assert not left.unexpected_keys
            assert all(name.startswith("quantizer.") for name in left.missing_keys)
        if not self.config.kmeans_chunks:
            return
        chunks: list[Tensor] = []
        self.model.train()
        for batch in self.source.first_pass():
            with torch.no_grad(), self.runtime.autocast():
                chunks.append(self.model.encode(self._tensor(batch)).flatten(2).transpose(1, 2).flatten(0, 1))
            if len(chunks) * self.config.batch_size >= self.config.kmeans_chunks:
                break
        self.model.quantizer.place_codes(torch.cat(chunks))

    def batches(self, epoch: int, first_step: int) -> Iterator[np.ndarray]:
        return self.source.iter_batches(epoch, first_step, self.config.num_workers)

    def shards(self, epoch: int, first_step: int, peers: Peers) -> Iterator[tuple[np.ndarray, Shard]]:
        part = partial(part_of, rank=peers.rank, size=peers.size)
        batches = self.source.iter_batches(epoch, first_step, self.config.num_workers, part)
        for step, batch in enumerate(batches, first_step):
            yield batch, Shard(peers, self.source.items(epoch, step))

    def loss(self, batch: np.ndarray) -> StepLoss:
        terms, indices, _ = self._terms(self._tensor(batch))
        if shard := current_shard():
            terms = {name: shard.share * term for name, term in terms.items()}
        return StepLoss(total_loss(terms, self.weights), terms, indices)

    def batch_health(self, indices: Tensor) -> Health:
        return self.model.quantizer.get_codebook_utilization(indices)

    def evaluate(self) -> Evaluation:
        most = max(EVALUATED, self.steps_per_epoch * self.config.batch_size)
        held_out = evenly(len(self.dataset.chunks(VALIDATION)), most)
        shown = evenly(len(self.dataset.chunks(TRAIN)), max(len(held_out), self.config.batch_size))
        train, *_ = self._evaluate(TRAIN, shown)
        validation, counts, distance, high = self._evaluate(VALIDATION, held_out)
        health = health_of_counts(counts)
        row = row_of(train, validation)
        row["validation_lsd_db"] = distance
        row |= {f"{level}_{key}": value for level, values in health.items() for key, value in values.items()}
        # The farther the encodings spread, the farther they lie from their codes, however near the output comes.
        reconstruction = self._total({**validation, COMMITMENT: 0.0})
        return Evaluation(
            self._total(train), self._total(validation), row, health, distance, high, reconstruction=reconstruction
        )

    def usage(self) -> np.ndarray:
        """How often the held-out set uses each code, `[levels, codebook_size]`."""
        self.model.eval()
        with torch.no_grad(), self.runtime.autocast():
            return self._evaluate(VALIDATION, np.arange(len(self.dataset.chunks(VALIDATION))))[1]

    def preview(self, epoch: int) -> tuple[Path, ...]:
        if not has_previews(epoch, self.config):
            return ()
        files: list[Path] = []
        segments, lengths = self.dataset.segments_of(VALIDATION), self.dataset.segments["frames"].to_numpy()
        # Between the middles of two frames is the shortest sound.
        heard = islice((each for each in segments if lengths[each] > 1), self.config.preview_count)
        frames = int(PREVIEW_SECONDS * self.spectrogram.sample_rate / self.spectrogram.hop_length)
        for number, segment in enumerate(heard):
            original = torch.from_numpy(self.dataset.segment(segment, 0, frames))
            # The networks alone compute in the run's precision, not what makes them audible.
            with self.runtime.autocast():
                reconstruction = self.model(original[None, None].to(self.runtime.device))[0][0, 0].float().cpu()
            pair = torch.stack([original, reconstruction])
            sounds = griffin_lim(pair, self.spectrogram).numpy()
            if self.dataset.stereo:
                space = self.dataset.space(segment, 0, frames)
                sounds = np.stack([in_two(each, side_of(each, space, self.spectrogram)) for each in sounds])
            stem = self.preview_folder / f"epoch-{epoch:06d}-{number}"
            for name, sound in zip(("original", "reconstruction"), sounds, strict=True):
                path = stem.with_name(f"{stem.name}-{name}.flac")
                gain = PREVIEW_PEAK / max(PREVIEW_PEAK, float(np.abs(sound).max()))
                write_sound(path, sound * gain, self.spectrogram.sample_rate)
                files.append(path)
            picture = stem.with_name(f"{stem.name}.png")
            panels = {"held-out original": original.numpy(), f"reconstruction, epoch {epoch}": reconstruction.numpy()}
            spectrogram_png(picture, panels, self.spectrogram)
            files.append(picture)
        return tuple(files)

    def go_back(self, epoch: int) -> None:
        with storage_errors(self.preview_folder, "remove previews in"):
            for path in self.preview_folder.glob("epoch-*"):
                if int(path.name.split("-")[1]) > epoch:
                    path.unlink()

    def concerns(self, history: list[dict[str, Any]]) -> list[Concern]:
        row = history[-1]
        health: Health = {
            f"level_{level}": {
                "utilization": row[f"level_{level}_utilization"],
                "perplexity": row[f"level_{level}_perplexity"],
                "dead_codes": row[f"level_{level}_dead_codes"],
            }
            for level in range(self.config.num_quantizers)
        }
        return [Concern(f"utilization_{level}", message) for level, message in utilization_warnings(health).items()]

    def _tensor(self, batch: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(batch)[:, None].to(self.runtime.device)
        return tensor.contiguous(memory_format=torch.channels_last)

    def _terms(self, mel: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        reconstruction, indices, commitment = self.model(mel)
        return {**spectral_terms(reconstruction, mel), COMMITMENT: commitment}, indices, reconstruction

    def _total(self, terms: dict[str, float]) -> float:
        return sum(self.start_weights[name] * value for name, value in terms.items())

    def _evaluate(self, split: str, chunks: np.ndarray) -> tuple[dict[str, float], np.ndarray, float, float]:
        """Mean of each term over chunks, the codes' uses `[levels, codebook_size]`, the log-spectral distance in dB.

        Last comes the energy in the upper half of the mel bins, divided by the true one.
        """
        sums: dict[str, float] = {}
        counts = np.zeros((self.config.num_quantizers, self.config.codebook_size), dtype=np.int64)
        distance, upper = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        middle = self.spectrogram.n_mels // 2
        for begin in range(0, len(chunks), self.config.batch_size):
            part = chunks[begin : begin + self.config.batch_size]
            mel = self._tensor(self.dataset.clean_batch(split, part))
            terms, indices, reconstruction = self._terms(mel)
            add_terms(sums, terms, len(part))
            counts += usage_counts(indices.cpu().numpy(), self.config.codebook_size)
            power, target = (self.mel.to_power(each[:, 0].float().cpu()) for each in (reconstruction, mel))
            distance += log_spectral_distance(power, target)
            upper += torch.stack([each[:, middle:].double().sum() for each in (power, target)])
        means = {name: value / max(1, len(chunks)) for name, value in sums.items()}
        return means, counts, float(distance[0] / distance[1].clamp(min=1)), float(upper[0] / upper[1].clamp(min=1e-9))


def _weights(config: VQVAEConfig) -> dict[str, float]:
    return {**config.spectral_weights, COMMITMENT: config.commitment_weight}
