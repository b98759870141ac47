"""A trained VQ-VAE in use: sound to log mel to code grid, and back."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from distill.audio.invert import LogMel, griffin_lim_blocks
from distill.audio.mel import MelTransform
from distill.audio.space import in_two, side_blocks, space_of_sound
from distill.configs import STRIDE, Inverse, SpectrogramConfig
from distill.dataset.scan import SILENCE_PEAK
from distill.errors import ArtifactError, DataError
from distill.models.grid import CONTEXT_COLUMNS, PIECE_COLUMNS, SILENT, columns_of_frames, decode_grid, encode_pieces
from distill.models.levels import SPACE_LABEL, level_labels
from distill.models.space import SpaceModel, cells_of, space_of_cells
from distill.models.vocoder import Vocoder, inversion, invert
from distill.models.vqvae import ConvVQVAE

Grid = npt.NDArray[np.int64]
Samples = npt.NDArray[np.float32]

# What decodes still quieter, or louder, than this is not the sound.
MOST_LOST_DB = 15.0


@dataclass(frozen=True)
class Normalized:
    """Samples `[n]` with a peak of 1, and the gain in dB that brought them there."""

    samples: Samples
    gain_db: float


def normalize(samples: Samples) -> Normalized:
    """Scale a whole sound `[n]` to a peak of 1, the level that the models know.

    Raises:
        DataError: the sound is silent.
    """
    peak = float(np.max(np.abs(samples), initial=0.0))
    if peak < SILENCE_PEAK:
        raise DataError("the sound is silent: there is nothing to encode")
    return Normalized((samples / np.float32(peak)).astype(np.float32), -20.0 * float(np.log10(peak)))


class Codec:
    """A model's two directions between sound and codes.

    Args:
        vqvae: the network; it is put into evaluation mode on `device`.
        spectrogram: the spectrogram that it was trained on.
        device: where to compute.
        inverse: how log mels become sounds.
        vocoder: the network that every inverse but griffin-lim needs.
        space: the level that places sounds between two channels; None: all sounds are mono.
    """

    def __init__(
        self,
        vqvae: ConvVQVAE,
        spectrogram: SpectrogramConfig,
        device: torch.device | str = "cpu",
        *,
        inverse: Inverse = "griffin-lim",
        vocoder: Vocoder | None = None,
        space: SpaceModel | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.vqvae = vqvae.to(self.device).eval()
        self.spectrogram = spectrogram
        self.mel = MelTransform(spectrogram, self.device)
        self.inverse: Inverse = inverse
        self.vocoder = None if vocoder is None else vocoder.to(self.device).eval()
        # Small and read cell by cell, it is fastest on the processor.
        self.space = None if space is None else space.eval()

    @property
    def bands(self) -> int:
        """Rows of the code grid."""
        return self.spectrogram.n_mels // STRIDE

    @property
    def levels(self) -> int:
        """Codes at a position of the grid, without that of the space."""
        return self.vqvae.num_quantizers

    @property
    def labels(self) -> tuple[str, ...]:
        """What the levels of a whole grid are called; the last may be the space's."""
        return (*level_labels(self.levels), *(() if self.space is None else (SPACE_LABEL,)))

    def whole(self, grid: Grid, space: Grid | None = None) -> Grid:
        """A grid `[columns, bands, levels]` with its space `[columns, bands]`, by default that of a mono sound.

        Of a model without space it is the grid itself.
        """
        if self.space is None or grid.shape[2] > self.levels:
            return grid
        space = np.zeros(grid.shape[:2], np.int64) if space is None else space
        return np.concatenate([grid, space[..., None]], axis=2)

    def lengthened(self, grid: Grid, columns: int) -> Grid:
        """A grid with silence behind it, as long as so many columns; its space goes on."""
        missing = columns - len(grid)
        silent = np.repeat(self.silent_codes[None], missing, axis=0)
        if grid.shape[2] > self.levels:
            silent = self.whole(silent, np.repeat(grid[-1:, :, -1], missing, axis=0))
        return np.concatenate([grid, silent])

    def without_space(self, grid: Grid) -> Grid:
        """The levels of a grid that its sound is made of."""
        return grid[..., : self.levels]

    def space_codes(self, channels: Samples, columns: int) -> Grid:
        """The space `[columns, bands]` of channels `[2, n]` at the model's sample rate and level.

        Only of a model with space.
        """
        assert self.space is not None
        found = self.space.codes_of(self.space_cells(channels))[:columns]
        return np.pad(found, ((0, columns - len(found)), (0, 0)), mode="edge")

    def space_cells(self, channels: Samples) -> Samples:
        """Where channels `[2, n]` lie, as cells `[columns, bands, slots, parts, 2]`; see `distill.models.space`."""
        return cells_of(space_of_sound(channels, self._mel_on_processor))

    def space_of(self, grid: Grid) -> Samples | None:
        """Level differences and coherences `[frames, bands of space, 2]` of a whole grid; None where it has none."""
        if self.space is None or grid.shape[2] == self.levels:
            return None
        return space_of_cells(self.space.cells(grid[..., -1]))

    def in_two_channels(self, blocks: Iterable[Samples], grid: Grid, width: float | None) -> Iterator[Samples]:
        """A sound in blocks `[n]` placed as its grid says: blocks `[n, 2]`.

        Args:
            blocks: mono, at the model's sample rate, from the grid's beginning on.
            grid: `[columns, bands, levels]`, with space.
            width: by how much what tells the channels apart is scaled; None: the blocks as they are.
        """
        space = None if width is None else self.space_of(grid)
        if width is None or space is None:
            yield from blocks
            return
        for mid, side in side_blocks(blocks, space, self.spectrogram):
            yield in_two(mid, np.float32(width) * side).T

    @property
    def codebook_size(self) -> int:
        """Codes in each level's codebook."""
        return self.vqvae.codebook_size

    @property
    def column_samples(self) -> int:
        """Samples from one column of the grid to the next."""
        return STRIDE * self.spectrogram.hop_length

    def samples_of(self, seconds: float) -> int:
        """Samples of a duration in s."""
        return round(seconds * self.spectrogram.sample_rate)

    def columns_of(self, samples: int) -> int:
        """Columns of the grid from which so many samples can be made."""
        return columns_of_frames(1 - (-samples // self.spectrogram.hop_length))

    @cached_property
    def _mel_on_processor(self) -> MelTransform:
        return self.mel if self.device.type == "cpu" else MelTransform(self.spectrogram)

    def encode(self, samples: Samples) -> Grid:
        """Code grid `[columns, bands, levels]` of a whole sound `[n]` at the model's sample rate, peak 1."""
        return self.encode_log_mel(self.log_mel(samples))

    def log_mel(self, samples: Samples) -> Samples:
        """Log mel `[n_mels, frames]` of samples `[n]` at the model's sample rate."""
        waveform = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)).to(self.device)
        found: Samples = self.mel.log_mel(waveform).cpu().numpy()
        return found

    def encode_log_mel(self, log_mel: Samples) -> Grid:
        """Code grid `[columns, bands, levels]` of a log mel `[n_mels, frames]`, as in training."""
        return self.encode_parts(lambda first, last: log_mel[:, first:last], log_mel.shape[1])

    def encode_parts(self, part: Callable[[int, int], Samples], frames: int) -> Grid:
        """The same of a log mel of so many frames that comes piece by piece: `part` gives `[n_mels, last - first]`."""

        def read(first: int, last: int) -> torch.Tensor:
            return torch.from_numpy(part(first, last))[None].to(self.device)

        return np.concatenate([piece[0].cpu().numpy() for piece in encode_pieces(self.vqvae, read, frames)])

    @cached_property
    def silent_codes(self) -> Grid:
        """The codes `[bands, levels]` of silence: those within a long one, as at an end a network sees its padding."""
        silent = np.zeros((self.spectrogram.n_mels, STRIDE * (2 * CONTEXT_COLUMNS + 1)), np.float32)
        codes: Grid = self.encode_log_mel(silent)[CONTEXT_COLUMNS]
        return codes

    def lost_db(self, log_mel: Samples, grid: Grid) -> float:
        """How much quieter, in dB, a log mel `[n_mels, frames]` is when it comes back from its codes; at most 15 dB.

        Codes stand for what sounds have in common. The mean of logarithms is below the logarithm of the mean, so what
        is decoded has less energy than what was encoded.
        """
        before, after = (
            float(self.mel.to_power(torch.from_numpy(each)).sum(dtype=torch.float64))
            for each in (log_mel, self.decode_log_mel(grid)[:, : log_mel.shape[1]])
        )
        lost = 10 * np.log10(max(before, self.mel.floor) / max(after, self.mel.floor))
        return float(np.clip(lost, -MOST_LOST_DB, MOST_LOST_DB))

    def decode_log_mel(self, grid: Grid) -> Samples:
        """Log mel `[n_mels, 16 * columns]` of a code grid `[columns, bands, levels]`, with or without space.

        Raises:
            DataError: the grid does not fit the model.
            ArtifactError: the model's weights give numbers that are not finite.
        """
        return self.decode_log_mels([grid])[0]

    def decode_log_mels(self, grids: Sequence[Grid], *, with_silence: bool = False) -> Samples:
        """Log mels `[batch, n_mels, 16 * columns]` of code grids of equal length; see `decode_log_mel`.

        `with_silence` allows `SILENT` (distill.models.grid) in the place of codes: the level adds nothing there.
        """
        for grid in grids:
            self.check_grid(grid, SILENT if with_silence else 0)
        stacked = self.without_space(np.stack(grids))
        columns = stacked.shape[1]
        log_mels = np.empty((len(grids), self.spectrogram.n_mels, STRIDE * columns), np.float32)
        for first in range(0, columns, PIECE_COLUMNS):
            last = min(first + PIECE_COLUMNS, columns)
            log_mels[..., STRIDE * first : STRIDE * last] = self._decode(stacked, first, last)
        return log_mels

    def decode_columns(self, grid: Grid, first: int, last: int) -> Samples:
        """Columns `first` up to, and without, `last` of `decode_log_mel`, at the cost of these: `[n_mels, 16 * n]`."""
        self.check_grid(grid, 0)
        return self._decode(self.without_space(grid)[None], first, last)[0]

    def _decode(self, stacked: Grid, first: int, last: int) -> Samples:
        """Log mels of columns `first` to `last` of code grids `[batch, columns, bands, levels]`, seen with context."""
        begin, end = max(0, first - CONTEXT_COLUMNS), min(last + CONTEXT_COLUMNS, stacked.shape[1])
        # A copy, as grids may be read-only, which torch does not know.
        piece = decode_grid(self.vqvae, torch.from_numpy(stacked[:, begin:end].copy()).to(self.device))
        log_mels: Samples = piece[..., STRIDE * (first - begin) : STRIDE * (last - begin)].cpu().numpy()
        if not np.isfinite(log_mels).all():
            raise ArtifactError("the decoder gives numbers that are not finite: its weights are damaged, train again")
        return log_mels

    def waveform(self, log_mel: Samples, known: Samples | None = None) -> Samples:
        """Samples `[hop_length * (frames - 1)]` of a log mel `[n_mels, frames]`, at its level, by the codec's inverse.

        `known` are samples of the same length that are kept as they are, NaN where they are to be found.

        Raises:
            ArtifactError: the vocoder's weights give numbers that are not finite.
        """
        mel = torch.from_numpy(log_mel)[None].to(self.device)
        given = None if known is None else torch.from_numpy(known)[None].to(self.device)
        return _finite(invert(mel, self.spectrogram, inverse=self.inverse, vocoder=self.vocoder, known=given)[0])

    def column_waveform(self, log_mel: Samples, known: Samples | None = None) -> Samples:
        """Samples `[columns * column_samples]` of a log mel of whole columns, `[n_mels, 16 * columns]`.

        Frames stand at the middle of their windows, so the last column needs a frame more. That may follow in the log
        mel where the sound goes on; by default the last frame stands for it. `known` is as in `waveform`.
        """
        if log_mel.shape[1] % STRIDE == 0:
            log_mel = np.concatenate([log_mel, log_mel[:, -1:]], axis=1)
        return self.waveform(log_mel, known)

    def waveform_blocks(self, log_mel: LogMel, frames: int) -> Iterator[Samples]:
        """What `waveform` gives for a whole sound, block by block: a long one is nowhere as a whole."""
        way = inversion(self.inverse, self.vocoder)
        for block in griffin_lim_blocks(
            log_mel, frames, self.spectrogram, rounds=way.rounds, estimate=way.estimate, device=self.device
        ):
            yield _finite(block)

    def check_grid(self, grid: Grid, lowest: int = 0) -> None:
        """Make sure that a code grid fits the model, with codes from `lowest` on.

        Raises:
            DataError: it does not.
        """
        shape, size = [self.bands, self.levels], self.codebook_size
        known = [shape, [self.bands, len(self.labels)]]
        if grid.ndim != 3 or list(grid.shape[1:]) not in known or not len(grid):
            raise DataError(
                f"a code grid of shape {list(grid.shape)} does not fit the model: it takes columns of "
                f"{' or '.join(map(str, known if self.space is not None else [shape]))} codes"
            )
        if grid.min() < lowest or grid.max() >= size:
            raise DataError(
                f"the code grid holds codes from {grid.min()} to {grid.max()}; the model has 0 to {size - 1}"
            )


def _finite(made: torch.Tensor) -> Samples:
    samples: Samples = made.cpu().numpy()
    if not np.isfinite(samples).all():
        raise ArtifactError("the vocoder gives numbers that are not finite: its weights are damaged, train again")
    return samples
