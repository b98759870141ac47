"""The prior one code at a time, with the keys and values of what it has read kept."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.models.prior import Block, CodePrior, FeedForward, gelu

# The most sequences that are read side by side.
MOST_ROWS = 16
# A prior whose matrices have at most so many elements is read with numpy's products: its library has routines for small
# ones, which take a third of the time of torch's, which bring the matrix into another order each time.
SMALL = 2**17

Weights = tuple[Tensor, Tensor]


class _Linear:
    """A product with a matrix `[inputs, outputs]` and a bias `[outputs]`.

    Products of few rows are twice as fast with such a matrix as with `[outputs, inputs]`.
    """

    def __init__(self, weight: Tensor, bias: Tensor, small: bool) -> None:
        self.weight, self.bias, self.small = weight, bias, small
        if small:
            self._weight, self._bias = weight.numpy(), bias.numpy()

    @classmethod
    def of(cls, module: nn.Linear, small: bool) -> "_Linear":
        return cls(module.weight.detach().T.contiguous(), module.bias.detach(), small)

    def __call__(self, x: Tensor) -> Tensor:
        """`[rows, outputs]` of `[rows, inputs]`."""
        rows, inputs = x.shape
        if not self.small or rows % 2 or rows > MOST_ROWS:
            return torch.addmm(self.bias, x, self.weight)
        # Two rows at a time, however many there are: each row then has the bits that it has in any other batch.
        found = np.matmul(x.numpy().reshape(-1, 2, inputs), self._weight)
        found += self._bias
        return torch.from_numpy(found.reshape(rows, -1))


@dataclass(frozen=True)
class _Feed:
    """A feed-forward net's weights at hand: finding them through the modules takes longer than a small product."""

    norm: Weights
    up: _Linear
    down: _Linear

    @classmethod
    def of(cls, module: FeedForward, small: bool) -> "_Feed":
        return cls(_norm(module.norm), _Linear.of(module.up, small), _Linear.of(module.down, small))

    def __call__(self, x: Tensor) -> Tensor:
        inner = torch.layer_norm(x, x.shape[-1:], *self.norm)
        return x + self.down(gelu(self.up(inner)))


@dataclass(frozen=True)
class _Layer:
    """A block's weights, and the keys and values `[2, batch, heads, positions, hidden / heads]` of what was read."""

    norm: Weights
    qkv: _Linear
    project: _Linear
    feed: _Feed
    memory: Tensor


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
        linears = [module for module in prior.modules() if isinstance(module, nn.Linear) and module is not prior.head]
        shapes = {(linear.in_features, linear.out_features) for linear in linears} | {(hidden, len(weight) // levels)}
        small = weight.device.type == "cpu" and max(map(math.prod, shapes)) <= SMALL
        self._rows = batch + batch % 2 if small else rows_of(batch, shapes, weight.device)
        shape = (2, batch, heads, columns * prior.bands + 1, hidden // heads)
        self._layers = [_layer(block, small, weight.new_zeros(shape)) for block in blocks]
        self._norm_blocks, self._norm = _norm(prior.norm_blocks), _norm(prior.norm)
        self._depth = _Feed.of(prior.depth, small)
        head_weight = weight.view(levels, -1, hidden).transpose(1, 2).contiguous()
        head_bias = prior.head.bias.detach().view(levels, -1)
        inside = head_bias.clone()
        inside[:, prior.end] = -torch.inf
        self._heads = [_Linear(*of_level, small) for of_level in zip(head_weight, inside, strict=True)]
        self._head_at_column = _Linear(head_weight[0], head_bias[0], small)
        self._codes = prior.codes.weight.detach()[: levels * prior.codebook_size].view(levels, -1, hidden).unbind()
        self._codes_above = prior.codes_above.weight.detach().view(levels, -1, hidden).unbind()
        self._levels = prior.level.weight.detach().unbind()
        self._positions = prior.positions(shape[3]).detach()
        self._last = torch.zeros(self._rows, dtype=torch.int64, device=weight.device)
        self._wanted = self._last[:batch]
        self._unheard = weight.new_zeros(self._rows - batch, hidden)
        # Of the position that is being read: its codes' embeddings so far, and what its next code follows from.
        self._held = weight.new_zeros(self._rows, hidden)
        self._given = weight.new_zeros(self._rows, hidden)

    @torch.inference_mode()
    def start(self, tokens: Tensor, *, at_start: bool) -> Tensor:
        """Forget everything and read a window from its beginning.

        Args:
            tokens: whole positions `[batch, n]`, n may be 0.
            at_start: whether the sounds begin here.

        Returns:
            Logits of what follows, `[batch, codebook_size + 1]`; the end's is -inf where no column begins.
        """
        starts = torch.full((1,), at_start, device=tokens.device)
        # One after the other: how many positions are read at once decides the last bits.
        for row in range(self.batch):
            same = next((other for other in range(row) if torch.equal(tokens[other], tokens[row])), None)
            if same is None:
                self._given[row] = self._read(self.prior.embed(tokens[row : row + 1], starts), 0, row, row + 1)
            else:
                self._given[row] = self._given[same]
                for layer in self._layers:
                    layer.memory[:, row] = layer.memory[:, same]
        self.slot = tokens.shape[1]
        return self._logits()

    @torch.inference_mode()
    def step(self, codes: Tensor) -> Tensor:
        """Read one more code of each row, `[batch]`; returns what `start` returns."""
        position, level = divmod(self.slot, self.prior.num_quantizers)
        self._wanted.copy_(codes)
        code = torch.embedding(self._codes[level], self._last)
        self._held = self._held + code if level else code
        self.slot += 1
        if level + 1 < self.prior.num_quantizers:
            self._given += torch.embedding(self._codes_above[level], self._last)
        else:
            self._given = self._read(self._held[:, None], position + 1, 0, self.batch)
        return self._logits()

    def _read(self, held: Tensor, first: int, begin: int, end: int) -> Tensor:
        """What the transformer gives for the next position, `[rows, hidden]`, after some more `[rows, n, hidden]`.

        Rows beyond those from `begin` to `end` are there for the products alone: nobody hears what they attend to.
        """
        (rows, positions, hidden), heads = held.shape, self._layers[0].memory.shape[2]
        last, count = first + positions, end - begin
        x = (held + self._positions[first:last]).view(-1, hidden)
        shape, width = (count, positions, 3, heads, -1), (hidden,)
        for layer in self._layers:
            qkv = layer.qkv(torch.layer_norm(x, width, *layer.norm))
            found = qkv[: count * positions].view(shape).permute(2, 0, 3, 1, 4)
            memory = layer.memory.narrow(1, begin, count).narrow(3, 0, last)
            memory.narrow(3, first, positions).copy_(found[1:])
            keys, values = memory.unbind(0)
            # Either a window is read from its first position, or one position that sees all before it.
            attended = functional.scaled_dot_product_attention(found[0], keys, values, is_causal=first == 0)
            seen = attended.transpose(1, 2).reshape(-1, hidden)
            if count < rows:
                seen = torch.cat((seen, self._unheard))
            x = layer.feed(x + layer.project(seen))
        return torch.layer_norm(x[positions - 1 :: positions], width, *self._norm_blocks)

    def _logits(self) -> Tensor:
        level = self.slot % self.prior.num_quantizers
        x = self._depth(self._given + self._levels[level])
        final = torch.layer_norm(x, x.shape[-1:], *self._norm)
        head = self._heads[level] if self.slot % self.prior.column_tokens else self._head_at_column
        return head(final)[: self.batch]


def rows_of(batch: int, shapes: Iterable[tuple[int, int]], device: torch.device) -> int:
    """How many rows a product must have for each row to be what it is in any other batch.

    Few rows are computed by other routines than many, with other last bits. From how many rows on the bits are those of
    the most rows depends on the processor and the library, and is tried.

    Args:
        batch: rows that are wanted.
        shapes: inputs and outputs of the products.
        device: where they are computed.
    """
    products, threads = list(shapes), torch.get_num_threads()
    for rows in range(max(batch, 2), MOST_ROWS):
        if all(_agree(*shape, rows, threads, device) for shape in products):
            return rows
    return MOST_ROWS


@lru_cache(maxsize=1024)
def _agree(inputs: int, outputs: int, rows: int, threads: int, device: torch.device) -> bool:
    """Whether so many rows give the same product as the most rows do."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(MOST_ROWS, inputs, generator=generator).to(device)
    weight = torch.randn(inputs, outputs, generator=generator).to(device)
    bias = x.new_zeros(outputs)
    return torch.equal(torch.addmm(bias, x[:rows], weight), torch.addmm(bias, x, weight)[:rows])


def _layer(block: Block, small: bool, memory: Tensor) -> _Layer:
    return _Layer(
        norm=_norm(block.norm),
        qkv=_Linear.of(block.qkv, small),
        project=_Linear.of(block.project, small),
        feed=_Feed.of(block.feed, small),
        memory=memory,
    )


def _norm(module: nn.LayerNorm) -> Weights:
    return module.weight.detach(), module.bias.detach()
