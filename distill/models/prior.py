"""The prior: a decoder-only transformer over the code grids of whole sounds."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

import distill.arithmetic  # noqa: F401
from distill.errors import UsageError

IGNORED = -100


class CodePrior(nn.Module):
    """Predicts each code of a grid from all codes before it.

    The codes of a grid `[columns, bands, levels]` follow each other column by column, within a column band by
    band, within a band level by level; `column_tokens = bands * levels`. A window of `n` codes is read through
    `n + 1` slots, and slot `i` predicts code `i`:

        slot        0       1    2    3   ...   n
        holds     start    c0   c1   c2   ...  c(n-1)
        predicts   c0      c1   c2   c3   ...   cn or end

    Slot 0 says whether the sound begins here or the window lies within it. The end can only come in place of the
    first code of a column.

    Args:
        hidden: width of the transformer.
        layers: transformer blocks.
        heads: attention heads; they divide the width.
        dropout: on the embeddings and on what each block adds. The attention weights have none: the processor's
            fused attention knows no dropout, and without it the memory grows with the square of the window.
        codebook_size: codes in each level's codebook.
        num_quantizers: levels.
        bands: rows of the code grid.
        context: longest window, in codes; only whole columns are used.

    Raises:
        UsageError: `heads` does not divide `hidden`, or the context holds fewer than two columns.
    """

    trained_columns: Tensor

    def __init__(
        self,
        hidden: int = 256,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.2,
        *,
        codebook_size: int,
        num_quantizers: int,
        bands: int,
        context: int = 2048,
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise UsageError(f"heads ({heads}) must divide hidden ({hidden})")
        self.codebook_size = codebook_size
        self.num_quantizers = num_quantizers
        self.bands = bands
        self.column_tokens = bands * num_quantizers
        self.context_columns = context // self.column_tokens
        if self.context_columns < 2:
            raise UsageError(
                f"the context ({context} codes) must hold two columns of {self.column_tokens} codes: "
                f"raise it to {2 * self.column_tokens}"
            )
        self.codes = nn.Embedding(num_quantizers * codebook_size + 2, hidden)
        self.level = nn.Embedding(num_quantizers, hidden)
        self.band = nn.Embedding(bands, hidden)
        self.column = nn.Embedding(self.context_columns + 1, hidden)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(hidden, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, num_quantizers * (codebook_size + 1))
        # Columns beyond the longest window of the training have embeddings that mean nothing.
        self.register_buffer("trained_columns", torch.zeros((), dtype=torch.int64))
        self._initialise()

    @property
    def end(self) -> int:
        """The target, and the place among the logits, of the end of a sound."""
        return self.codebook_size

    def forward(self, tokens: Tensor, starts: Tensor) -> Tensor:
        """Logits of every slot of a batch of windows.

        In training mode the longest window so far is remembered in `trained_columns`.

        Args:
            tokens: codes in reading order, `[batch, n]`; n may be 0.
            starts: whether the sound begins at the window's first code, `[batch]`.

        Returns:
            `[batch, n + 1, codebook_size + 1]`; the last logit is the end's, -inf where no column begins.

        Raises:
            ValueError: the window is longer than the context.
        """
        slots = tokens.shape[1] + 1
        if self.training:
            self.trained_columns.clamp_(min=tokens.shape[1] // self.column_tokens)
        x = self.dropout(self.embed(tokens, starts) + self.positions(slots))
        for block in self.blocks:
            x = block(x)
        return self._logits(self.norm(x))

    def embed(self, tokens: Tensor, starts: Tensor) -> Tensor:
        """What the slots hold: `[batch, n]` codes and `[batch]` starts give `[batch, n + 1, hidden]`."""
        specials = self.num_quantizers * self.codebook_size + (~starts.bool()).long()
        levels = torch.arange(tokens.shape[1], device=tokens.device) % self.num_quantizers
        return self.codes(torch.cat([specials[:, None], tokens + levels * self.codebook_size], dim=1))

    def positions(self, slots: int) -> Tensor:
        """Sum of the embeddings of level, band and column of the code that each slot predicts, `[slots, hidden]`."""
        columns = -(-slots // self.column_tokens)
        if slots > self.context_columns * self.column_tokens + 1:
            raise ValueError(f"{slots - 1} codes are more than a window of {self.context_columns} columns holds")
        grid = self.column.weight[:columns, None, None] + self.band.weight[:, None] + self.level.weight
        return grid.flatten(0, 2)[:slots]

    def _logits(self, x: Tensor) -> Tensor:
        slots, hidden = x.shape[1:]
        levels = self.num_quantizers
        weight = self.head.weight.view(levels, -1, hidden)
        bias = self.head.bias.view(levels, -1)
        # Slot i predicts level i % levels, so each level's head sees only the slots of its own level.
        x = functional.pad(x, (0, 0, 0, -slots % levels))
        by_level = [functional.linear(x[:, level::levels], weight[level], bias[level]) for level in range(levels)]
        logits = torch.stack(by_level, dim=2).flatten(1, 2)[:, :slots]
        inside = torch.arange(slots, device=x.device) % self.column_tokens != 0
        no_end = functional.pad(inside[:, None], (self.codebook_size, 0))
        return logits.masked_fill(no_end, -math.inf)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        # 2 additions a block: the sum over all blocks then starts with the variance of one.
        for name, weight in self.named_parameters():
            if name.endswith(("project.weight", "down.weight")):
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * len(self.blocks)))


class Block(nn.Module):
    """Causal self-attention and a feed-forward net, each normalised first: `[batch, slots, hidden]` to the same."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.project = nn.Linear(hidden, hidden)
        self.norm_feed = nn.LayerNorm(hidden)
        self.up = nn.Linear(hidden, 4 * hidden)
        self.down = nn.Linear(4 * hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        attended = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), is_causal=True
        )
        x = x + self.dropout(self.project(attended.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.down(functional.gelu(self.up(self.norm_feed(x)))))


def negative_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p of each target, in nats and fp32, 0 where the target is IGNORED.

    `[batch, slots, codebook_size + 1]` logits and `[batch, slots]` targets give `[batch, slots]`.
    """
    flat = functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return flat.view(targets.shape)


def prior_loss(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over the targets that count, a scalar in nats.

    Args:
        logits: `[batch, slots, codebook_size + 1]`, -inf for what cannot come.
        targets: `[batch, slots]`, IGNORED where nothing is scored.
        label_smoothing: share of the target's probability spread over all that can come in its place.
    """
    scored = targets != IGNORED
    count = scored.sum().clamp(min=1)
    loss = negative_log_likelihood(logits, targets).sum() / count
    if not label_smoothing:
        return loss
    possible = ~torch.isinf(logits)
    log_p = functional.log_softmax(logits.float(), dim=-1).masked_fill(~possible, 0.0)
    spread = -(log_p.sum(-1) / possible.sum(-1))[scored].sum() / count
    return (1 - label_smoothing) * loss + label_smoothing * spread


def sum_by_level(nll: Tensor, targets: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Sum of `nll` and number of targets that count, each `[levels]` in float64, from `[batch, slots]`.

    Perplexity is exp(sum / number), of a level or of all together; those of several batches add up. The end counts to
    level 0, in whose place it comes.
    """
    beyond = -targets.shape[1] % levels
    scored = functional.pad(targets != IGNORED, (0, beyond)).double()
    sums = functional.pad(nll.detach().double(), (0, beyond)) * scored
    return sums.unflatten(1, (-1, levels)).sum((0, 1)), scored.unflatten(1, (-1, levels)).sum((0, 1))
