"""The prior: a decoder-only transformer over the code grids of whole sounds."""

import math
from dataclasses import astuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import distill.arithmetic  # noqa: F401
from distill.errors import UsageError
from distill.models.edges import Edges
from distill.models.shard import Dropout

IGNORED = -100
# Deviation of what an embedding begins with, where it is made of the codes' vectors.
EMBEDDED_SPREAD = 0.3


def columns_within(context: int, column_codes: int) -> int:
    """Whole columns of so many codes in a context.

    Raises:
        UsageError: it holds fewer than two.
    """
    if context < 2 * column_codes:
        raise UsageError(
            f"the context ({context} codes) must hold two columns of {column_codes} codes: raise it to "
            f"{2 * column_codes}"
        )
    return context // column_codes


class CodePrior(nn.Module):
    """Predicts each code of a grid from all codes before it.

    The codes of a grid `[columns, bands, levels]` follow each other column by column, within a column band by
    band, within a band level by level; `column_tokens = bands * levels`. The codes of a band and column are a
    position. A transformer reads the positions, each as the sum of its codes' embeddings, and from what it gives for
    the next one a feed-forward net predicts level after level, with the codes of the levels above (after Lee et al.,
    "Autoregressive image generation using residual quantization", 2022). In codes, a window of `n` has `n + 1` slots,
    and slot `i` predicts code `i`:

        slot            0         1           2        3   ...   n
        level           0         1           2        0   ...
        transformer   start     start       start    c0-2  ...
        feed-forward              c0        c0, c1         ...
        predicts       c0         c1          c2      c3   ...   cn or end

    The start says whether the sound begins here or the window lies within it. The end can only come in place of the
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
        conditions: length of the condition vectors (see `distill.models.conditions`); 0: the prior has none, and no
            weights for them.

    Raises:
        UsageError: `heads` does not divide `hidden`, or the context holds fewer than two columns.
    """

    trained_columns: Tensor
    shortest_columns: Tensor
    limits: Tensor

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
        conditions: int = 0,
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise UsageError(f"heads ({heads}) must divide hidden ({hidden})")
        self.codebook_size = codebook_size
        self.num_quantizers = num_quantizers
        self.bands = bands
        self.column_tokens = bands * num_quantizers
        self.context_columns = columns_within(context, self.column_tokens)
        self.codes = nn.Embedding(num_quantizers * codebook_size + 2, hidden)
        self.codes_above = nn.Embedding(num_quantizers * codebook_size, hidden)
        self.level = nn.Embedding(num_quantizers, hidden)
        self.band = nn.Embedding(bands, hidden)
        self.column = nn.Embedding(self.context_columns + 1, hidden)
        self.conditions = nn.Parameter(torch.empty(conditions, hidden)) if conditions else None
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(hidden, heads, dropout) for _ in range(layers))
        self.norm_blocks = nn.LayerNorm(hidden)
        self.depth = FeedForward(hidden, dropout)
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, num_quantizers * (codebook_size + 1))
        # Columns beyond the longest window of the training have embeddings that mean nothing.
        self.register_buffer("trained_columns", torch.zeros((), dtype=torch.int64))
        # No sound of the training has fewer columns. Few sounds leave the prior too unsure of ends to know.
        self.register_buffer("shortest_columns", torch.ones((), dtype=torch.int64))
        # How the sounds of the training begin, go on and end: the numbers of `Edges`.
        self.register_buffer("limits", torch.tensor(astuple(Edges())))
        self._initialize()

    @property
    def end(self) -> int:
        """The target, and the place among the logits, of the end of a sound."""
        return self.codebook_size

    @property
    def edges(self) -> Edges:
        """The limits for the levels of new sounds."""
        return Edges(*self.limits.tolist())

    @torch.no_grad()
    def begin_with(self, codebooks: Tensor) -> None:
        """Let the embeddings of an untrained prior lie as the codes' vectors do.

        Codes that sound alike then mean something alike from the first step on, also those that are rare.

        Args:
            codebooks: the vectors of the codes, `[levels, codebook_size, dim]`.
        """
        vectors = codebooks - codebooks.mean(1, keepdim=True)
        vectors = EMBEDDED_SPREAD * (vectors / vectors.std().clamp_min(1e-12)).flatten(0, 1)
        width = self.codes.embedding_dim
        generator = torch.Generator().manual_seed(0)
        turn = torch.randn(vectors.shape[1], width, generator=generator).to(vectors) / math.sqrt(vectors.shape[1])
        self.codes.weight[: len(vectors)] += vectors @ turn
        self.codes_above.weight += vectors @ turn

    def forward(
        self, tokens: Tensor, starts: Tensor, changed: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """Logits of every slot of a batch of windows.

        In training mode the longest window so far is remembered in `trained_columns`.

        Args:
            tokens: codes in reading order, `[batch, n]`; n may be 0.
            starts: whether the sound begins at the window's first code, `[batch]`.
            changed: whether the sound was changed to learn more from it, `[batch]`; by default none is. What the prior
                then learns of changes stays apart from what it says of sounds as they are (Jun et al., "Distribution
                augmentation for generative modeling", 2020).
            condition: a vector for each sound, `[batch, conditions]`; by default the sounds are unconditioned.

        Returns:
            `[batch, n + 1, codebook_size + 1]`; the last logit is the end's, -inf where no column begins.

        Raises:
            ValueError: the window is longer than the context.
        """
        slots, levels = tokens.shape[1] + 1, self.num_quantizers
        if self.training:
            self.trained_columns.clamp_(min=tokens.shape[1] // self.column_tokens)
        read = tokens[:, : tokens.shape[1] // levels * levels]
        positions = read.shape[1] // levels + 1
        x = self.dropout(self.embed(read, starts, changed, condition) + self.positions(positions))
        for block in self.blocks:
            x = block(x)
        above = functional.pad(tokens, (0, positions * levels - tokens.shape[1])).unflatten(1, (-1, levels))[..., :-1]
        places = torch.arange(levels - 1, device=tokens.device) * self.codebook_size
        seen = functional.pad(self.codes_above(above + places).cumsum(2), (0, 0, 1, 0))
        x = self.norm_blocks(x)[:, :, None] + self.dropout(seen) + self.level.weight
        return self._logits(self.norm(self.depth(x)))[:, :slots]

    def embed(
        self, tokens: Tensor, starts: Tensor, changed: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """What the transformer reads at each position.

        `[batch, positions * levels]` codes and `[batch]` starts give `[batch, positions + 1, hidden]`. A changed sound
        has the opposite of a start; the embedding of the condition is added to it.
        """
        levels = self.num_quantizers
        start = self.codes(levels * self.codebook_size + (~starts.bool()).long())
        if changed is not None:
            start = torch.where(changed[:, None], -start, start)
        if condition is not None and self.conditions is not None:
            start = start + condition @ self.conditions
        places = torch.arange(levels, device=tokens.device) * self.codebook_size
        codes = tokens.unflatten(1, (tokens.shape[1] // levels, levels)) + places
        return torch.cat([start[:, None], self.codes(codes).sum(2)], dim=1)

    def positions(self, count: int) -> Tensor:
        """Sum of the embeddings of band and column of the position that is predicted next, `[count, hidden]`.

        Raises:
            ValueError: there are more than the context holds.
        """
        if count > self.context_columns * self.bands + 1:
            raise ValueError(f"{count - 1} positions are more than a window of {self.context_columns} columns holds")
        columns = -(-count // self.bands)
        return (self.column.weight[:columns, None] + self.band.weight).flatten(0, 1)[:count]

    def _logits(self, x: Tensor) -> Tensor:
        """Logits `[batch, positions * levels, codebook_size + 1]` of `[batch, positions, levels, hidden]`."""
        levels, hidden = x.shape[2:]
        weight, bias = self.head.weight.view(levels, -1, hidden), self.head.bias.view(levels, -1)
        by_level = [functional.linear(x[:, :, level], weight[level], bias[level]) for level in range(levels)]
        logits = torch.stack(by_level, dim=2).flatten(1, 2)
        inside = torch.arange(logits.shape[1], device=x.device) % self.column_tokens != 0
        return logits.masked_fill(functional.pad(inside[:, None], (self.codebook_size, 0)), -math.inf)

    def _initialize(self) -> None:
        if self.conditions is not None:
            # As far apart as codes are: from nothing they would hardly be learned in the steps that few sounds allow.
            nn.init.normal_(self.conditions, std=EMBEDDED_SPREAD)
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
    """Causal self-attention and a feed-forward net, each normalized first: `[batch, positions, hidden]` to the same."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.project = nn.Linear(hidden, hidden)
        self.dropout = Dropout(dropout)
        self.feed = FeedForward(hidden, dropout)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        attended = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), is_causal=True
        )
        return self.feed(x + self.dropout(self.project(attended.transpose(1, 2).flatten(2))))


class FeedForward(nn.Module):
    """Adds to `[..., hidden]` what a net with one inner layer makes of it."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.up = nn.Linear(hidden, 4 * hidden)
        self.down = nn.Linear(4 * hidden, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.down(gelu(self.up(self.norm(x)))))


def gelu(x: Tensor) -> Tensor:
    """Gaussian error linear units by way of tanh: drawing a code with the smallest prior takes a fifth less time."""
    return functional.gelu(x, approximate="tanh")


def negative_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p of each target, in nats and fp32, 0 where the target is IGNORED.

    `[batch, slots, codebook_size + 1]` logits and `[batch, slots]` targets give `[batch, slots]`.
    """
    flat = functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return flat.view(targets.shape)


def prior_loss(logits: Tensor, targets: Tensor, scored: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the targets that count, a scalar in nats.

    Args:
        logits: `[batch, slots, codebook_size + 1]`, -inf for what cannot come.
        targets: `[batch, slots]`, IGNORED where nothing is scored.
        scored: how many targets of the whole batch count, where these are a part of it: then their addend to the mean.
    """
    count = (targets != IGNORED).sum() if scored is None else scored
    return negative_log_likelihood(logits, targets).sum() / count.clamp(min=1)


def sum_by_level(nll: Tensor, targets: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Sum of `nll` and number of targets that count, each `[levels]` in float64 on the CPU, from `[batch, slots]`.

    Perplexity is exp(sum / number), of a level or of all together; those of several batches add up. The end counts to
    level 0, in whose place it comes.
    """
    beyond = -targets.shape[1] % levels
    # Not every device knows float64.
    scored = functional.pad((targets != IGNORED).cpu(), (0, beyond)).double()
    sums = functional.pad(nll.detach().cpu().double(), (0, beyond)) * scored
    return sums.unflatten(1, (-1, levels)).sum((0, 1)), scored.unflatten(1, (-1, levels)).sum((0, 1))
