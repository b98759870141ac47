"""What is planned for sounds of given lengths: the parameters of both trainings with nothing left `auto`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.adaptive import (
    SHARP_VQVAE,
    get_adaptive_prior_config,
    get_adaptive_vqvae_config,
    tuned_prior,
    tuned_vqvae,
    validation_fraction,
)
from distill.configs import STRIDE, PriorConfig, VQVAEConfig
from distill.dataset.loader import EpochSteps
from distill.dataset.split import TRAIN
from distill.dataset.store import PreparedDataset
from distill.models.prior import columns_within
from distill.models.sequences import pass_windows
from distill.params import Params, overrides, resolve
from distill.stages.base import has_base

Frames = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sizes:
    """How much there is to learn from.

    Attributes:
        files: usable sounds.
        train_chunks: chunks of the training sounds.
        chunk_frames: frames of a chunk.
        n_mels: mel bins of a frame.
        originals: frames of each training sound.
        variants: frames of each training sound and of each of its variants.
    """

    files: int
    train_chunks: int
    chunk_frames: int
    n_mels: int
    originals: Frames
    variants: Frames

    @property
    def chunk_vectors(self) -> int:
        """Code positions of a chunk."""
        return -(-self.chunk_frames // STRIDE) * (self.n_mels // STRIDE)


@dataclass(frozen=True)
class Planned:
    """The parameters of both trainings, and the optimizer steps that they come to.

    Attributes:
        vqvae: of the VQ-VAE.
        prior: of the prior.
        vqvae_steps: optimizer steps of the VQ-VAE.
        prior_steps: optimizer steps of the prior.
        window_codes: codes of a window that the prior learns from, on average.
    """

    vqvae: VQVAEConfig
    prior: PriorConfig
    vqvae_steps: int
    prior_steps: int
    window_codes: float


def sizes_of(dataset: PreparedDataset) -> Sizes:
    """Those of a prepared dataset."""
    frames = dataset.segments["frames"].to_numpy(np.int64)
    return Sizes(
        dataset.usable_files,
        len(dataset.chunks(TRAIN)),
        dataset.chunk_frames,
        dataset.spectrogram.n_mels,
        frames[dataset.segments_of(TRAIN)],
        frames[dataset.segments_of(TRAIN, variants=True)],
    )


def sizes_for(seconds: Sequence[float], params: Params) -> Sizes:
    """About those of usable sounds of such durations, which nothing was made of yet; at least one sound."""
    data, spectrogram = params.data, params.spectrogram
    rate = spectrogram.sample_rate / spectrogram.hop_length
    share = data.validation_fraction
    held_out = validation_fraction(len(seconds)) if share == "auto" else share
    # Which sounds are held out is not known before: each counts in part.
    learned = max(1, round(len(seconds) * (1 - held_out)))
    longest = sorted(seconds)
    chosen = np.array([longest[index * len(longest) // learned] for index in range(learned)])
    originals = np.maximum(1, chosen * rate).astype(np.int64)
    chunk = max(1, math.ceil(data.chunk_seconds * rate))
    variants = [originals, *((originals / 2 ** (each / 12)).astype(np.int64) for each in data.speed_semitones)]
    chunks = int((-(-originals // chunk)).sum())
    return Sizes(len(seconds), chunks, chunk, spectrogram.n_mels, originals, np.maximum(1, np.concatenate(variants)))


def planned(params: Params, sizes: Sizes) -> Planned:
    """The parameters and steps of both trainings.

    Raises:
        UsageError: the parameters do not fit together.
    """
    vqvae = get_adaptive_vqvae_config(sizes.files).model_dump()
    prior = get_adaptive_prior_config(sizes.files).model_dump()
    vqvae_given, prior_given = overrides(params.vqvae), overrides(params.prior)
    sketch = params.run.preset == "sketch"
    if params.run.preset != "reference":
        vqvae |= tuned_vqvae(
            VQVAEConfig.model_validate(vqvae),
            file_count=sizes.files,
            train_chunks=sizes.train_chunks,
            chunk_vectors=sizes.chunk_vectors,
            given=vqvae_given,
            sketch=sketch,
            base=has_base(params),
        )
    if params.run.preset == "sharp":
        vqvae |= SHARP_VQVAE
    bands, levels = sizes.n_mels // STRIDE, {**vqvae, **vqvae_given}["num_quantizers"]
    shown = sizes.variants if {**prior, **prior_given}["augmented_variants"] else sizes.originals
    lengths = -(-shown // STRIDE)
    context = max(1, {**prior, **prior_given}["context"] // (bands * levels))
    windows = int(pass_windows(lengths, context).sum())
    window_codes = bands * levels * float(lengths.sum()) / windows
    if params.run.preset != "reference":
        prior |= tuned_prior(
            PriorConfig.model_validate(prior),
            file_count=sizes.files,
            windows=windows,
            window_codes=window_codes,
            given=prior_given,
            sketch=sketch,
        )
    chosen = resolve(VQVAEConfig, vqvae | vqvae_given, where="parameters of vqvae")
    learned = resolve(PriorConfig, prior | prior_given, where="parameters of prior")
    # Refused before the VQ-VAE is trained for nothing.
    columns_within(learned.context, bands * levels)
    shown_chunks = sizes.train_chunks * chosen.augmentation_expansion
    vqvae_pass = EpochSteps(math.ceil(shown_chunks / chosen.batch_size), chosen.steps_per_epoch)
    prior_pass = EpochSteps(math.ceil(windows / learned.batch_size), learned.steps_per_epoch)
    return Planned(
        chosen,
        learned,
        chosen.epochs * vqvae_pass.in_epoch,
        learned.epochs * prior_pass.in_epoch,
        window_codes,
    )
