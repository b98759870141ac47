"""The prior one code at a time, with the keys and values of what it has read kept."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from distill.models.prior import Block, CodePrior


@dataclass(frozen=True)
class _Layer:
    """A block's weights at hand: finding them through the modules takes longer than a small product."""

    norm_attention: tuple[Tensor, Tensor]
    qkv: tuple[Tensor, Tensor]
    project: tuple[Tensor, Tensor]
    norm_feed: tuple[Tensor, Tensor]
    up: tuple[Tensor, Tensor]
    down: tuple[Tensor, Tensor]
    keys: Tensor
    values: Tensor


class CodeReader:
    """Several sequences of codes, equally long, that the prior reads on and on.

    Each step gives the logits that `CodePrior.forward` gives at the last slot, but costs the same at the
    end of a window as at its beginning. Rows do not influence each other. Gradients and dropout do not exist here.

    Args:
        prior: its weights are used, not copied; they must not change meanwhile.
        batch: rows.
        columns: most columns in a window; by default the prior's context.
    """

    def __init__(self, prior: CodePrior, batch: int, columns: int | None = None) -> None:
        columns = prior.context_columns if columns is None else columns
        self.prior = prior
        self.batch = batch
        self.slot = 0
        weight = prior.head.weight.detach()
        blocks = [cast(Block, block) for block in prior.blocks]
        heads = blocks[0].heads
        shape = (batch, heads, columns * prior.column_tokens + 1, weight.shape[1] // heads)
        self._layers = [_layer(block, weight.new_zeros(shape)) for block in blocks]
        self._norm = _weights(prior.norm)
        self._head_weight = weight.view(prior.num_quantizers, -1, weight.shape[1])
        self._head_bias = prior.head.bias.detach().view(prior.num_quantizers, -1)
        self._codes = prior.codes.weight.detach()
        self._positions = prior.positions(shape[2]).detach()

    @torch.inference_mode()
    def start(self, tokens: Tensor, *, at_start: bool) -> Tensor:
        """Forget everything and read a window from its beginning.

        Args:
            tokens: `[batch, n]`, n may be 0.
            at_start: whether the sounds begin here.

        Returns:
            Logits of what follows, `[batch, codebook_size + 1]`; the end's is -inf where no column begins.
        """
        self.slot = 0
        starts = torch.full((self.batch,), at_start, device=tokens.device)
        return self._read(self.prior.embed(tokens, starts))

    @torch.inference_mode()
    def step(self, codes: Tensor) -> Tensor:
        """Read one more code of each row, `[batch]`; returns what `start` returns."""
        level = (self.slot - 1) % self.prior.num_quantizers
        return self._read(functional.embedding(codes + level * self.prior.codebook_size, self._codes)[:, None])

    def _read(self, held: Tensor) -> Tensor:
        first, last = self.slot, self.slot + held.shape[1]
        self.slot = last
        x = held + self._positions[first:last]
        shape, width = (*x.shape[:2], 3, self._layers[0].keys.shape[1], -1), x.shape[-1:]
        for layer in self._layers:
            inner = functional.layer_norm(x, width, *layer.norm_attention)
            query, key, value = functional.linear(inner, *layer.qkv).view(shape).permute(2, 0, 3, 1, 4).unbind(0)
            layer.keys[:, :, first:last] = key
            layer.values[:, :, first:last] = value
            # Either a window is read from its first slot, or one slot that sees all before it.
            attended = functional.scaled_dot_product_attention(
                query, layer.keys[:, :, :last], layer.values[:, :, :last], is_causal=first == 0
            )
            x = x + functional.linear(attended.transpose(1, 2).flatten(2), *layer.project)
            inner = functional.layer_norm(x, width, *layer.norm_feed)
            x = x + functional.linear(functional.gelu(functional.linear(inner, *layer.up)), *layer.down)
        level = (last - 1) % self.prior.num_quantizers
        final = functional.layer_norm(x[:, -1], width, *self._norm)
        logits = functional.linear(final, self._head_weight[level], self._head_bias[level])
        if (last - 1) % self.prior.column_tokens:
            logits[:, self.prior.end] = -torch.inf
        return logits


def _layer(block: Block, like: Tensor) -> _Layer:
    return _Layer(
        norm_attention=_weights(block.norm_attention),
        qkv=_weights(block.qkv),
        project=_weights(block.project),
        norm_feed=_weights(block.norm_feed),
        up=_weights(block.up),
        down=_weights(block.down),
        keys=like,
        values=torch.zeros_like(like),
    )


def _weights(module: torch.nn.Module) -> tuple[Tensor, Tensor]:
    return cast(Tensor, module.weight).detach(), cast(Tensor, module.bias).detach()
