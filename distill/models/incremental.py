"""Reading the prior one code at a time, with a cache of keys and values."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from distill.models.kernels import Array, Kernels, NumpyKernels, TorchKernels
from distill.models.prior import Block, CodePrior, FeedForward

# A prior whose matrices have at most so many elements is read by numpy. With 256 x 4 it takes 0.6 of torch's time for
# one sound and 1.2 for ten; with 512 x 6 as long for one and twice as long for ten.
SMALL = 2**18

Codes = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]
Product = Callable[[Array], Array]


@dataclass(frozen=True)
class _Feed:
    """The products of a feed-forward net; looking them up in the modules takes longer than a small product."""

    up: Product
    down: Product


@dataclass(frozen=True)
class Place:
    """A place between two positions to which a reader can go back."""

    slot: int
    given: Array


@dataclass(frozen=True)
class _Layer:
    """The products of a block."""

    qkv: Product
    project: Product
    feed: _Feed


class ReadablePrior:
    """A copy of a prior's weights, laid out for reading code by code.

    A normalization with weight g and bias h, followed by a product with W and b, is one product of the standardized
    vector z = (x - mean x) / sqrt(var x + eps): (g z + h) W + b = z (diag(g) W) + (h W + b). So the products hold the
    weights of the normalization before them.

    A normalization does not change where the same number is added to all elements of x. So whatever is summed up to x,
    embeddings and the outputs of `project` and `down`, is stored with a mean of 0; then mean x is 0, and z is x divided
    by the root of its mean square.

    Args:
        prior: as long as this is used, its weights must stay as they are.
    """

    def __init__(self, prior: CodePrior) -> None:
        self.prior = prior
        self.kernels = _kernels(prior)
        weight, levels = prior.head.weight.detach(), prior.num_quantizers
        self.heads = cast(Block, prior.blocks[0]).heads
        self.layers = [self._layer(cast(Block, block)) for block in prior.blocks]
        self.norm_blocks = [self.kernels.array(each.detach().clone()) for each in prior.norm_blocks.parameters()]
        self.depth = self._feed(prior.depth)
        head_weight = weight.view(levels, -1, weight.shape[1]).transpose(1, 2)
        head_bias = prior.head.bias.detach().view(levels, -1)
        inside = head_bias.clone()
        inside[:, prior.end] = -torch.inf
        self.outputs = [self._product(*of_level, prior.norm) for of_level in zip(head_weight, inside, strict=True)]
        self.output_at_column = self._product(head_weight[0], head_bias[0], prior.norm)
        codes = prior.codes.weight[: levels * prior.codebook_size]
        self.codes, self.codes_above = (
            [self.kernels.array(of_level) for of_level in _centred(table).view(levels, -1, weight.shape[1])]
            for table in (codes, prior.codes_above.weight)
        )
        self.levels = [self.kernels.array(level) for level in _centred(prior.level.weight)]
        self.positions = self.kernels.array(_centred(prior.positions(prior.context_columns * prior.bands + 1)))

    def _layer(self, block: Block) -> _Layer:
        qkv = self._product(block.qkv.weight.detach().T, block.qkv.bias.detach(), block.norm)
        return _Layer(qkv, self._added(block.project), self._feed(block.feed))

    def _feed(self, module: FeedForward) -> _Feed:
        up = self._product(module.up.weight.detach().T, module.up.bias.detach(), module.norm)
        return _Feed(up, self._added(module.down))

    def _product(self, weight: Tensor, bias: Tensor, norm: nn.LayerNorm) -> Product:
        """The product of a standardized vector with `[inputs, outputs]` and a bias, behind a normalization."""
        bias = bias + norm.bias.detach() @ weight
        return self.kernels.linear((norm.weight.detach()[:, None] * weight).contiguous(), bias)

    def _added(self, module: nn.Linear) -> Product:
        """A product whose output is summed up to the vector that blocks normalize."""
        return self.kernels.linear(_centred(module.weight.T), _centred(module.bias))


class CodeReader:
    """Reads equally long sequences of codes, one code of each at a time.

    Each step gives the logits of `CodePrior.forward` at the last slot, without reading the window again. A sequence has
    the same logits, to the last bit, alone and among others. There are no gradients and no dropout.

    Args:
        readable: the prior.
        batch: sequences, 1 to MOST_ROWS.
        columns: most columns in a window; by default the prior's context.
        condition: a vector for each sequence, `[batch, conditions]`; by default they are unconditioned.
    """

    def __init__(
        self,
        readable: ReadablePrior,
        batch: int,
        columns: int | None = None,
        condition: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.readable, self.prior, self.kernels = readable, readable.prior, readable.kernels
        self.batch = batch
        self.slot = 0
        prior, kernels, weight = self.prior, self.kernels, self.prior.head.weight
        columns = prior.context_columns if columns is None else columns
        # Keys and values of what each layer has read.
        shape = (2, batch, readable.heads, columns * prior.bands + 1, weight.shape[1] // readable.heads)
        self._memories = [kernels.array(weight.new_zeros(shape)) for _ in readable.layers]
        rows = kernels.rows(batch)
        self._last = np.zeros(rows, dtype=np.int64)
        self._condition = (
            [None] * batch if condition is None else [torch.from_numpy(row).to(weight) for row in condition]
        )
        # Of the position that is being read: the sum of its codes' embeddings, and the input of the next code's logits.
        self._held, self._given, self._attended = (
            kernels.array(weight.new_zeros(rows, weight.shape[1])) for _ in range(3)
        )

    @torch.inference_mode()
    def start(self, codes: Codes, *, at_start: bool) -> Logits:
        """Forget everything and read a window from its beginning.

        Args:
            codes: whole positions `[batch, n]`, n may be 0.
            at_start: whether the sounds begin here.

        Returns:
            Logits of what follows, `[batch, codebook_size + 1]`; the end's is -inf where no column begins.
        """
        device = self.prior.head.weight.device
        starts = torch.full((1,), at_start, device=device)
        # One after the other: how many positions are read at once decides the last bits.
        for row in range(self.batch):
            same = next((other for other in range(row) if self._alike(other, row, codes)), None)
            if same is None:
                tokens = torch.from_numpy(codes[row : row + 1]).to(device)
                condition = self._condition[row]
                embedded = self.prior.embed(tokens, starts, condition=None if condition is None else condition[None])
                held = self.kernels.array(_centred(embedded[0]))
                self._given[row : row + 1] = self._read(held, 0, row, row + 1)
            else:
                self._given[row] = self._given[same]
                for memory in self._memories:
                    memory[:, row] = memory[:, same]
        self.slot = codes.shape[1]
        return self._logits()

    def _alike(self, row: int, other: int, codes: Codes) -> bool:
        """Whether two rows have the same codes and the same condition."""
        mine, theirs = self._condition[row], self._condition[other]
        alike = mine is theirs or (mine is not None and theirs is not None and torch.equal(mine, theirs))
        return alike and np.array_equal(codes[row], codes[other])

    def step(self, codes: Codes) -> Logits:
        """Read one more code of each row, `[batch]`; returns what `start` returns."""
        position, level = divmod(self.slot, self.prior.num_quantizers)
        self._last[: self.batch] = codes
        last = self.kernels.codes(self._last)
        code = self.readable.codes[level][last]
        self._held = self._held + code if level else code
        self.slot += 1
        if level + 1 < self.prior.num_quantizers:
            self._given += self.readable.codes_above[level][last]
        else:
            self._given = self._read(self._held, position + 1, 0, self.batch)
        return self._logits()

    def place(self) -> Place:
        """Where the reader is: at the beginning of a position."""
        return Place(self.slot, self._given + 0)

    def back(self, to: Place) -> Logits:
        """Forget what was read since then; returns what `start` or `step` returned there."""
        # The memories of later positions are written anew before they are read.
        self.slot, self._given = to.slot, to.given + 0
        return self._logits()

    def _read(self, held: Array, first: int, begin: int, end: int) -> Array:
        """The transformer's output for the next position, `[n, hidden]`, after inputs `[rows, hidden]`.

        The rows are the positions of one sequence from the first on, or the next position of all sequences. Rows beyond
        the sequences fill up the products; their attention is never used.
        """
        count, causal = end - begin, first == 0
        positions = len(held) if causal else 1
        last, wanted = first + positions, count * positions
        x = held + self.readable.positions[first:last]
        for layer, memory in zip(self.readable.layers, self._memories, strict=True):
            qkv = layer.qkv(self.kernels.standardize(x))[:wanted]
            # `[3, count, heads, positions, width]`
            found = qkv.reshape(count, positions, 3, memory.shape[2], -1).swapaxes(0, 2).swapaxes(1, 2).swapaxes(2, 3)
            memory[:, begin:end, :, first:last] = found[1:]
            keys, values = memory[:, begin:end, :, :last]
            attended = self.kernels.attend(found[0], keys, values, causal=causal)
            attended = attended.swapaxes(1, 2).reshape(wanted, -1)
            if wanted < len(x):
                self._attended[:wanted] = attended
                attended = self._attended
            x = self._fed(layer.feed, x + layer.project(attended))
        scale, offset = self.readable.norm_blocks
        read = self.kernels.standardize(x[-1:] if causal else x) * scale + offset
        return read - read.mean(-1, keepdims=True)

    def _fed(self, feed: _Feed, x: Array) -> Array:
        inner = feed.up(self.kernels.standardize(x))
        return x + feed.down(self.kernels.gelu(inner))

    def _logits(self) -> Logits:
        level = self.slot % self.prior.num_quantizers
        of = self.readable
        final = self.kernels.standardize(self._fed(of.depth, self._given + of.levels[level]))
        output = of.outputs[level] if self.slot % self.prior.column_tokens else of.output_at_column
        return self.kernels.logits(output(final)[: self.batch])


def _kernels(prior: CodePrior) -> Kernels:
    """What suits the size of the prior's matrices and where they are."""
    weight, levels = prior.head.weight, prior.num_quantizers
    linears: Iterable[Any] = (module for module in prior.modules() if isinstance(module, nn.Linear))
    shapes = {(linear.in_features, linear.out_features) for linear in linears if linear is not prior.head}
    shapes.add((weight.shape[1], len(weight) // levels))
    if weight.device.type == "cpu" and max(map(math.prod, shapes)) <= SMALL:
        return NumpyKernels()
    return TorchKernels(shapes, weight.device)


def _centred(x: Tensor) -> Tensor:
    """A copy whose last dimension has a mean of 0."""
    x = x.detach()
    return (x - x.mean(-1, keepdim=True)).contiguous()
