"""Sounds that are encoded together, in this process or another one: with the same codes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.audio.augment import augment
from distill.configs import STRIDE, SpectrogramConfig
from distill.dataset.store import PreparedDataset
from distill.models.grid import encode_pieces
from distill.models.vqvae import ConvVQVAE
from distill.training.runtime import Runtime


@dataclass(frozen=True)
class Cut:
    """A sound from one of its first frames on.

    Attributes:
        row: of the dataset's segments.
        skipped: frames before it.
        key: what the way it is cut is known by, whether or not the sound is long enough for it.
    """

    row: int
    skipped: int
    key: int


class Copier:
    """Makes changed copies of sounds: how they are changed follows from the seed, the sound and its cut alone."""

    def __init__(self, spectrogram: SpectrogramConfig, seed: int, copies: int) -> None:
        self.spectrogram, self.seed, self.copies = spectrogram, seed, copies

    def with_copies(self, log_mel: np.ndarray, cut: Cut, first: int, last: int) -> np.ndarray:
        """Frames of a cut as they are and in its copies, `[1 + copies, n_mels, last - first]`, silence behind them.

        Args:
            log_mel: the frames from `first` on, as many as there are, `[n_mels, frames]`.
            cut: where they are from.
            first: their place in the cut.
            last: where they are to end.
        """
        log_mels = log_mel[None]
        if self.copies:
            generators = [np.random.default_rng([self.seed, copy, cut.key, cut.row]) for copy in range(self.copies)]
            # Noise would be made, too: one mark does not tell the prior enough of what goes on for seconds.
            repeated = np.repeat(log_mels, self.copies, 0)
            changed = augment(repeated, generators, 1.0, self.spectrogram, begin=first, noise=False)
            log_mels = np.concatenate([log_mels, changed])
        silent = last - first - log_mels.shape[2]
        return np.pad(log_mels, ((0, 0), (0, 0), (0, silent))) if silent else log_mels


class CutBatch:
    """Cuts of equal length that are encoded together; another process gets their frames with them.

    Attributes:
        columns: of each of them.
    """

    def __init__(self, dataset: PreparedDataset, cuts: Sequence[Cut], columns: int) -> None:
        self.columns, self._cuts, self._dataset = columns, cuts, dataset
        self._frames: list[np.ndarray] | None = None

    def __getstate__(self) -> tuple[int, Sequence[Cut], list[np.ndarray]]:
        dataset, frames = self._dataset, STRIDE * self.columns
        sent = [dataset.frames(cut.row, cut.skipped, cut.skipped + frames).copy() for cut in self._cuts]
        return self.columns, self._cuts, sent

    def __setstate__(self, state: tuple[int, Sequence[Cut], list[np.ndarray]]) -> None:
        self.columns, self._cuts, self._frames = state

    @property
    def size(self) -> int:
        """Bytes of its frames, at most."""
        return 2 * len(self._cuts) * STRIDE * self.columns * self._dataset.spectrogram.n_mels

    def part(self, copier: Copier, first: int, last: int) -> np.ndarray:
        """Frames of all cuts and their copies, `[cuts * (1 + copies), n_mels, last - first]`."""
        numbered = enumerate(self._cuts)
        return np.concatenate([copier.with_copies(self._read(n, first, last), cut, first, last) for n, cut in numbered])

    def _read(self, number: int, first: int, last: int) -> np.ndarray:
        """Frames of a cut as far as there are any, float32 `[n_mels, frames]`."""
        if self._frames is not None:
            return np.ascontiguousarray(self._frames[number][first:last].T, dtype=np.float32)
        cut = self._cuts[number]
        return self._dataset.segment(cut.row, cut.skipped + first, cut.skipped + last)


class Encoder:
    """A VQ-VAE in evaluation mode, and what it encodes with: as it was, in any process.

    `step` is called for each piece in this process; it may raise to end the work.
    """

    def __init__(
        self, vqvae: ConvVQVAE, copier: Copier, runtime: Runtime, step: Callable[[], None] | None = None
    ) -> None:
        self.vqvae, self.copier, self.runtime, self.step = vqvae, copier, runtime, step

    def __getstate__(self) -> tuple[Any, ...]:
        return self.vqvae, self.copier, self.runtime

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.vqvae, self.copier, self.runtime = state
        self.step = None
        self.runtime.apply()

    def pieces(self, batch: CutBatch) -> Iterator[np.ndarray]:
        """Codes of a batch, piece by piece: `[sounds and their copies, columns, bands, levels]`."""

        def part(first: int, last: int) -> Tensor:
            return torch.from_numpy(batch.part(self.copier, first, last)).to(self.runtime.device)

        for piece in encode_pieces(self.vqvae, part, STRIDE * batch.columns):
            if self.step is not None:
                self.step()
            yield piece.cpu().numpy()


def codes_of(encoder: Encoder, batch: CutBatch) -> np.ndarray:
    """Codes of a batch, `[sounds and their copies, columns, bands, levels]`, in the fewest bytes that hold them."""
    # Threads of a pool have another number of them.
    torch.set_num_threads(encoder.runtime.threads)
    dtype = dtype_of(encoder.vqvae)
    return np.concatenate([piece.astype(dtype) for piece in encoder.pieces(batch)], axis=1)


def dtype_of(vqvae: ConvVQVAE) -> np.dtype[Any]:
    """The whole numbers that hold the codes of a VQ-VAE."""
    return np.dtype("|u1" if vqvae.codebook_size <= 1 << 8 else "<u2")
