"""The codes of a residual quantizer: held, and searched for the nearest."""

import torch
from torch import Tensor, nn
from torch.nn import functional

# Distances are computed by squares, which rounding may take below zero.
SMALLEST_SQUARE = 1e-8


class Codebooks(nn.Module):
    """What is stored of `vector_quantize_pytorch.ResidualVQ`, under the same names, and nothing that trains it.

    The library needs as long to load as torch does.
    """

    def __init__(self, *, dim: int, codebook_size: int, num_quantizers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Level(dim, codebook_size) for _ in range(num_quantizers))


class _Level(nn.Module):
    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self._codebook = _Codebook(dim, size)


class _Codebook(nn.Module):
    initted: Tensor
    embed: Tensor

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.register_buffer("initted", torch.tensor(False))
        self.register_buffer("cluster_size", torch.ones(1, size))
        self.register_buffer("embed_avg", torch.zeros(1, size, dim))
        self.register_buffer("embed", torch.zeros(1, size, dim))


def nearest_codes(vectors: Tensor, books: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize vectors level by level, each level what the levels before leave over.

    To the bit what `vector_quantize_pytorch.ResidualVQ` does in evaluation.

    Args:
        vectors: `[batch, seq, dim]`, in fp32.
        books: the code vectors, `[levels, codebook_size, dim]`.

    Returns:
        The quantized vectors `[batch, seq, dim]` and the indices `[batch, seq, levels]`.
    """
    residual = vectors
    total = torch.zeros_like(vectors)
    indices = []
    for book in books:
        nearest = _distances(residual.flatten(0, 1), book).argmin(-1).reshape(vectors.shape[:2])
        codes = functional.embedding(nearest, book)
        residual = residual - codes
        total = total + codes
        indices.append(nearest)
    return total, torch.stack(indices, -1)


def _distances(vectors: Tensor, book: Tensor) -> Tensor:
    """`[n, dim]` and `[codebook_size, dim]` to `[n, codebook_size]`."""
    products = torch.einsum("nd,cd->nc", vectors, book) * -2
    squares = vectors.square().sum(-1)[:, None] + book.square().sum(-1) + products
    return squares.clamp(min=SMALLEST_SQUARE).sqrt()
