"""The vectors behind the codes: codebooks, sums over levels, and the way back to codes."""

import numpy as np
import numpy.typing as npt

from distill.codec.codec import Codec, Grid, Samples
from distill.models.grid import FREE

# So many vectors at a time that their distances to a codebook stay in memory whatever the length of the sound.
_ROWS = 8192


def codebooks(codec: Codec) -> Samples:
    """The code vectors, float32 `[levels, codebook_size, codebook_dim]`."""
    found: Samples = codec.vqvae.quantizer.codebooks.detach().cpu().numpy()
    return found


def quantize(books: Samples, target: Samples, fixed: Grid) -> Grid:
    """Codes whose vectors sum to nearly a target, found level by level on what is left over, as the quantizer does.

    Args:
        books: code vectors, `[levels, codebook_size, dim]`.
        target: `[columns, bands, dim]`.
        fixed: `[columns, bands, levels]`, codes that are given, FREE where one is to be found.

    Returns:
        Codes of the shape of `fixed`.
    """
    codes = fixed.reshape(-1, len(books)).copy()
    # What is given counts first, also where it stands behind what is free.
    given = np.where(codes == FREE, 0, codes)
    left = target.reshape(len(codes), -1) - sum_of_vectors(books, given, codes != FREE)
    for level, book in enumerate(books):
        rows = np.flatnonzero(codes[:, level] == FREE)
        for first in range(0, len(rows), _ROWS):
            block = rows[first : first + _ROWS]
            distances = np.sum(book**2, axis=1) - 2.0 * (left[block] @ book.T)
            codes[block, level] = distances.argmin(axis=1)
            left[block] -= book[codes[block, level]]
    return codes.reshape(fixed.shape)


def sum_of_vectors(books: Samples, codes: Grid, shares: npt.ArrayLike = 1.0) -> Samples:
    """Code vectors of codes `[..., levels]` summed over levels, each taken by a share; `[..., dim]`."""
    total = np.zeros((*codes.shape[:-1], books.shape[2]), np.float32)
    parts = np.broadcast_to(np.asarray(shares, np.float32), codes.shape)
    for level, book in enumerate(books):
        total += parts[..., level, None] * book[codes[..., level]]
    return total


def relative_distance(found: Samples, target: Samples) -> float:
    """RMS distance of vectors `[..., dim]` to a target, relative to the RMS size of the target."""
    size = float(np.sqrt(np.mean(np.square(target, dtype=np.float64))))
    distance = float(np.sqrt(np.mean(np.square(np.subtract(found, target, dtype=np.float64)))))
    return distance / size if size else distance
