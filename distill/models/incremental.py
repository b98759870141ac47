"""The prior one code at a time, with the keys and values of what it has read kept."""

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

# A prior whose matrices have at most so many elements is read by numpy.
SMALL = 2**17

Codes = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]
Norm = tuple[Tensor, Tensor]
Product = Callable[[Array], Array]


@dataclass(frozen=True)
class _Feed:
    """A feed-forward net's weights at hand: finding them through the modules takes longer than a small product."""

    norm: Norm
    up: Product
    down: Product


@dataclass(frozen=True)
class _Layer:
    """A block's weights, and the keys and values `[2, batch, heads, positions, hidden / heads]` of what was read."""

    norm: Norm
    qkv: Product
    project: Product
    feed: _Feed
    memory: Array


class CodeReader:
    """Several sequences of codes, equally long, that the prior reads on and on.

    Each step gives the logits that `CodePrior.forward` gives at the last slot, but costs the same at the
    end of a window as at its beginning. A sequence has the same logits, to the last bit, alone and among others.
    Gradients and dropout do not exist here.

    Args:
        prior: its weights are copied.
        batch: sequences, 1 to MOST_ROWS.
        columns: most columns in a window; by default the prior's context.
    """

    def __init__(self, prior: CodePrior, batch: int, columns: int | None = None) -> None:
        columns = prior.context_columns if columns is None else columns
        self.prior = prior
        self.batch = batch
        self.slot = 0
        weight = prior.head.weight.detach()
        blocks = [cast(Block, block) for block in prior.blocks]
        hidden, heads, levels = weight.shape[1], blocks[0].heads, prior.num_quantizers
        self.kernels = kernels = _kernels(prior, batch)
        shape = (2, batch, heads, columns * prior.bands + 1, hidden // heads)
        self._layers = [self._layer(block, kernels.array(weight.new_zeros(shape))) for block in blocks]
        self._norm_blocks, self._norm = _norm(prior.norm_blocks), _norm(prior.norm)
        self._depth = self._feed(prior.depth)
        head_weight = weight.view(levels, -1, hidden).transpose(1, 2).contiguous()
        head_bias = prior.head.bias.detach().view(levels, -1)
        inside = head_bias.clone()
        inside[:, prior.end] = -torch.inf
        self._heads = [kernels.linear(*of_level) for of_level in zip(head_weight, inside, strict=True)]
        self._head_at_column = kernels.linear(head_weight[0], head_bias[0])
        codes = prior.codes.weight[: levels * prior.codebook_size]
        self._codes, self._codes_above = (
            [kernels.array(of_level) for of_level in table.view(levels, -1, hidden)]
            for table in (codes, prior.codes_above.weight)
        )
        self._levels = [kernels.array(level) for level in prior.level.weight]
        self._positions = kernels.array(prior.positions(shape[3]))
        self._last = np.zeros(kernels.rows, dtype=np.int64)
        # Of the position that is being read: its codes' embeddings so far, and what its next code follows from.
        self._held, self._given, self._attended = (
            kernels.array(weight.new_zeros(kernels.rows, hidden)) for _ in range(3)
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
            same = next((other for other in range(row) if np.array_equal(codes[other], codes[row])), None)
            if same is None:
                tokens = torch.from_numpy(codes[row : row + 1]).to(device)
                held = self.kernels.array(self.prior.embed(tokens, starts)[0])
                self._given[row : row + 1] = self._read(held, 0, row, row + 1)
            else:
                self._given[row] = self._given[same]
                for layer in self._layers:
                    layer.memory[:, row] = layer.memory[:, same]
        self.slot = codes.shape[1]
        return self._logits()

    def step(self, codes: Codes) -> Logits:
        """Read one more code of each row, `[batch]`; returns what `start` returns."""
        position, level = divmod(self.slot, self.prior.num_quantizers)
        self._last[: self.batch] = codes
        last = self.kernels.codes(self._last)
        code = self._codes[level][last]
        self._held = self._held + code if level else code
        self.slot += 1
        if level + 1 < self.prior.num_quantizers:
            self._given += self._codes_above[level][last]
        else:
            self._given = self._read(self._held, position + 1, 0, self.batch)
        return self._logits()

    def _read(self, held: Array, first: int, begin: int, end: int) -> Array:
        """What the transformer gives for the next position, `[n, hidden]`, after some more `[rows, hidden]`.

        The rows are the positions of one sequence from the first on, or the next position of all sequences. Those
        beyond the sequences are there for the products alone: nobody hears what they attend to.
        """
        count, causal = end - begin, first == 0
        positions = len(held) if causal else 1
        last, wanted = first + positions, count * positions
        x = held + self._positions[first:last]
        for layer in self._layers:
            memory = layer.memory
            qkv = layer.qkv(self.kernels.norm(x, layer.norm))[:wanted]
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
        return self.kernels.norm(x[-1:] if causal else x, self._norm_blocks)

    def _fed(self, feed: _Feed, x: Array) -> Array:
        inner = feed.up(self.kernels.norm(x, feed.norm))
        return x + feed.down(self.kernels.gelu(inner))

    def _logits(self) -> Logits:
        level = self.slot % self.prior.num_quantizers
        final = self.kernels.norm(self._fed(self._depth, self._given + self._levels[level]), self._norm)
        head = self._heads[level] if self.slot % self.prior.column_tokens else self._head_at_column
        return self.kernels.logits(head(final)[: self.batch])

    def _layer(self, block: Block, memory: Array) -> _Layer:
        return _Layer(
            norm=_norm(block.norm),
            qkv=self._linear(block.qkv),
            project=self._linear(block.project),
            feed=self._feed(block.feed),
            memory=memory,
        )

    def _feed(self, module: FeedForward) -> _Feed:
        return _Feed(_norm(module.norm), self._linear(module.up), self._linear(module.down))

    def _linear(self, module: nn.Linear) -> Product:
        return self.kernels.linear(module.weight.detach().T.contiguous(), module.bias.detach())


def _kernels(prior: CodePrior, batch: int) -> Kernels:
    """What suits the size of the prior's matrices and where they are."""
    weight, levels = prior.head.weight, prior.num_quantizers
    linears: Iterable[Any] = (module for module in prior.modules() if isinstance(module, nn.Linear))
    shapes = {(linear.in_features, linear.out_features) for linear in linears if linear is not prior.head}
    shapes.add((weight.shape[1], len(weight) // levels))
    if weight.device.type == "cpu" and max(map(math.prod, shapes)) <= SMALL:
        return NumpyKernels(batch)
    return TorchKernels(batch, shapes, weight.device)


def _norm(module: nn.LayerNorm) -> Norm:
    return module.weight.detach(), module.bias.detach()
