"""What a prior is read with: torch on any device, or numpy, which takes less time for small matrices.

With either a row of a batch has the same bits as alone: a product is computed with a number of rows from which on the
library takes the same routine. So a sound follows from its seed, whatever is drawn beside it.
"""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as attention

from distill.models.prior import gelu

# The most rows that are computed side by side.
MOST_ROWS = 16

Floats = npt.NDArray[np.float32]
# A tensor or an array, whichever the kernels know.
Array = Any


class Kernels(Protocol):
    """The operations of a transformer."""

    def rows(self, batch: int) -> int:
        """How many rows a product must have to compute so many."""

    def array(self, values: Tensor) -> Array:
        """The same values."""

    def codes(self, codes: npt.NDArray[np.int64]) -> Array:
        """The same codes, as an index."""

    def logits(self, values: Array) -> Floats:
        """The same values in numpy."""

    def linear(self, weight: Tensor, bias: Tensor) -> Callable[[Array], Array]:
        """A product with a matrix `[inputs, outputs]` and a bias: of `[rows, inputs]`, `[rows, outputs]`.

        Products of few rows are twice as fast with such a matrix as with `[outputs, inputs]`.
        """

    def standardize(self, x: Array) -> Array:
        """Layer normalization of `[rows, hidden]` whose mean is 0, without weights."""

    def gelu(self, x: Array) -> Array:
        """`distill.models.prior.gelu`."""

    def attend(self, query: Array, keys: Array, values: Array, *, causal: bool) -> Array:
        """Scaled dot-product attention, all of `[batch, heads, positions, width]`."""


class TorchKernels:
    """The operations in torch.

    Args:
        shapes: inputs and outputs of all products.
        device: where they are computed.
    """

    def __init__(self, shapes: Iterable[tuple[int, int]], device: torch.device) -> None:
        self.shapes, self.device = list(shapes), device

    def rows(self, batch: int) -> int:
        return rows_of(batch, self.shapes, self.device)

    def array(self, values: Tensor) -> Tensor:
        return values.detach()

    def codes(self, codes: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(codes).to(self.device)

    def logits(self, values: Tensor) -> Floats:
        found: Floats = values.cpu().numpy()
        return found

    def linear(self, weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda x: torch.addmm(bias, x, weight)

    def standardize(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, x.shape[-1:])

    def gelu(self, x: Tensor) -> Tensor:
        return gelu(x)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, *, causal: bool) -> Tensor:
        return attention(query, keys, values, is_causal=causal)


class NumpyKernels:
    """The operations in numpy, whose calls take a fraction of the time of torch's.

    numpy's library has routines for small products, where torch's reorders the matrix each time. They are computed two
    rows at a time, however many there are. A step within a window of up to some hundred positions uses one thread:
    threads that wait for each other after each small product nearly stand still while another program keeps a core
    busy.
    """

    def rows(self, batch: int) -> int:
        return batch + batch % 2

    def array(self, values: Tensor) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = values.detach().numpy()
        return found

    def codes(self, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return codes

    def logits(self, values: Floats) -> Floats:
        return values

    def linear(self, weight: Tensor, bias: Tensor) -> Callable[[Floats], Floats]:
        matrix, offset, inputs = weight.numpy(), bias.numpy(), len(weight)

        def product(x: Floats) -> Floats:
            rows = len(x)
            if rows % 2 or rows > MOST_ROWS:
                # A whole window, which numpy's library would share among threads of its own.
                windowed: Floats = torch.addmm(bias, torch.from_numpy(x), weight).numpy()
                return windowed
            found = np.matmul(x.reshape(-1, 2, inputs), matrix)
            found += offset
            return found.reshape(rows, -1)

        return product

    def standardize(self, x: Floats) -> Floats:
        deviation: Floats = np.vecdot(x, x)
        deviation *= np.float32(1 / x.shape[-1])
        deviation += _EPSILON
        np.sqrt(deviation, out=deviation)
        scaled: Floats = x / deviation[:, None]
        return scaled

    def gelu(self, x: Floats) -> Floats:
        inner = x * x
        inner *= _CUBE
        inner += _LINEAR
        inner *= x
        np.tanh(inner, out=inner)
        inner += 1
        inner *= x
        inner *= _HALF
        return inner

    def attend(self, query: Floats, keys: Floats, values: Floats, *, causal: bool) -> Floats:
        if causal or math.prod(keys.shape[2:]) > _UNSHARED:
            of = torch.from_numpy
            found: Floats = attention(of(query), of(keys), of(values), is_causal=causal).numpy()
            return found
        weights = np.matmul(keys, query.swapaxes(2, 3))
        weights *= np.float32(query.shape[-1] ** -0.5)
        weights -= np.maximum.reduce(weights, axis=2, keepdims=True)
        np.exp(weights, out=weights)
        weights /= np.add.reduce(weights, axis=2, keepdims=True)
        attended: Floats = np.matmul(weights.swapaxes(2, 3), values)
        return attended


# Larger products with a vector are shared among threads by numpy's library, which takes longer than they do.
_UNSHARED = 2**13
_EPSILON = np.float32(1e-5)
# gelu(x) = x / 2 (1 + tanh(x (_LINEAR + _CUBE x^2)))
_HALF = np.float32(0.5)
_LINEAR = np.float32((2 / np.pi) ** 0.5)
_CUBE = np.float32(0.044715 * (2 / np.pi) ** 0.5)


def rows_of(batch: int, shapes: Iterable[tuple[int, int]], device: torch.device) -> int:
    """How many rows a product of torch's must have for each row to be what it is in any other batch.

    Few rows are computed by other routines than many, with other last bits. From how many rows on the bits are those of
    the most rows depends on the processor and the library, and is tried. Other devices choose the routine of attention
    by the batch, too: there every batch has the most rows.

    Args:
        batch: rows that are wanted.
        shapes: inputs and outputs of the products.
        device: where they are computed.
    """
    if device.type != "cpu":
        return MOST_ROWS
    products, threads = list(shapes), torch.get_num_threads()
    for rows in range(max(batch, 2), MOST_ROWS):
        if all(_agree(*shape, rows, threads) for shape in products):
            return rows
    return MOST_ROWS


@lru_cache(maxsize=1024)
def _agree(inputs: int, outputs: int, rows: int, threads: int) -> bool:
    """Whether so many rows give the same product as the most rows do."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(MOST_ROWS, inputs, generator=generator)
    weight = torch.randn(inputs, outputs, generator=generator)
    bias = x.new_zeros(outputs)
    return torch.equal(torch.addmm(bias, x[:rows], weight), torch.addmm(bias, x, weight)[:rows])
