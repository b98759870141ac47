"""Between spectrograms, the model's own order of codes and the code grid that people and the prior see."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from distill.configs import STRIDE
from distill.models.vqvae import ConvVQVAE

# Two marks in the place of a code, which never meet in one grid. Where a grid is decoded SILENT lets its level add
# nothing; code 0, in contrast, is a sound like any other. Among given codes FREE is one to be found or drawn.
SILENT = -1
FREE = -1

# What is long goes through the networks in pieces of so many columns: memory for their layers does not grow with it.
PIECE_COLUMNS = 128
# The decoder's four doublings by kernels of 3 see less than 2 columns to either side, the encoder's less than 1.
CONTEXT_COLUMNS = 2

# Frames from the first up to, and without, the last, of one or more log mels: `[batch, n_mels, last - first]`.
LogMelPart = Callable[[int, int], Tensor]


def columns_of_frames(frames: int) -> int:
    """Columns of the code grid that hold a number of frames."""
    return -(-frames // STRIDE)


def indices_to_grid(indices: Tensor, bands: int) -> Tensor:
    """`[batch, bands * columns, levels]`, the band changing slowest, to `[batch, columns, bands, levels]`."""
    return indices.unflatten(1, (bands, -1)).transpose(1, 2)


def grid_to_indices(grid: Tensor) -> Tensor:
    """`[batch, columns, bands, levels]` to `[batch, bands * columns, levels]`, the band changing slowest."""
    return grid.transpose(1, 2).flatten(1, 2)


def encode_pieces(vqvae: ConvVQVAE, log_mels: LogMelPart, frames: int) -> Iterator[Tensor]:
    """Code grids of log mels of equal length, column after column in pieces `[batch, n, bands, levels]`.

    Frames are padded with silence to whole columns.

    Args:
        vqvae: the model, in evaluation mode.
        log_mels: gives a part of the log mels; never more is asked for than a piece and its surroundings.
        frames: how long they are.
    """
    for vectors in vector_pieces(vqvae, log_mels, frames):
        yield quantize_grid(vqvae, vectors)


@torch.inference_mode()
def vector_pieces(vqvae: ConvVQVAE, log_mels: LogMelPart, frames: int) -> Iterator[Tensor]:
    """The encoder's vectors of the same, in pieces `[batch, codebook_dim, bands, n]`."""
    for first in range(0, columns_of_frames(frames), PIECE_COLUMNS):
        begin, end = max(0, first - CONTEXT_COLUMNS), first + PIECE_COLUMNS + CONTEXT_COLUMNS
        seen = log_mels(STRIDE * begin, min(STRIDE * end, frames))
        yield vqvae.encode(seen[:, None])[..., first - begin :][..., :PIECE_COLUMNS]


@torch.inference_mode()
def quantize_grid(vqvae: ConvVQVAE, vectors: Tensor) -> Tensor:
    """Code grids `[batch, columns, bands, levels]` nearest to vectors `[batch, codebook_dim, bands, columns]`."""
    _, indices, _ = vqvae.quantize(vectors)
    return indices_to_grid(indices, vectors.shape[2])


@torch.inference_mode()
def decode_grid(vqvae: ConvVQVAE, grid: Tensor) -> Tensor:
    """Log-mel spectrograms `[batch, 16 * bands, 16 * columns]` of code grids `[batch, columns, bands, levels]`.

    Where a level is SILENT, its part of the sum of code vectors is zero. The model must be in evaluation mode.
    """
    columns, bands = grid.shape[1:3]
    return vqvae.decode(_vectors(vqvae, grid), (STRIDE * bands, STRIDE * columns))[:, 0]


def _vectors(vqvae: ConvVQVAE, grid: Tensor) -> Tensor:
    """Sums of code vectors `[batch, codebook_dim, bands, columns]` of code grids `[batch, columns, bands, levels]`."""
    heard = grid != SILENT
    if heard.all():
        return vqvae.codes_to_embeddings(grid_to_indices(grid), (grid.shape[2], grid.shape[1]))
    books = vqvae.quantizer.codebooks
    chosen = [book[codes] for book, codes in zip(books, grid.clamp(min=0).unbind(-1), strict=True)]
    return (torch.stack(chosen, dim=3) * heard[..., None]).sum(3).permute(0, 3, 2, 1)
