"""The plain way to train a transformer over codes, for comparison: attention written out, nothing fused."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class PlainBlock(nn.Module):
    """A transformer block with attention written out."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(2))
        self.query, self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(4))
        self.feed = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        inner = self.norms[0](x)
        query, key, value = (
            layer(inner).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        weights = self.dropout((scores + mask).softmax(-1))
        x = x + self.dropout(self.out((weights @ value).transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed(self.norms[1](x)))


class PlainPrior(nn.Module):
    """A transformer over one vocabulary of all levels' codes, and its training step on random codes."""

    def __init__(
        self, hidden: int, layers: int, heads: int, *, batch_size: int, tokens: int, codes: int, levels: int
    ) -> None:
        super().__init__()
        self.codes = nn.Embedding(levels * codes + 2, hidden)
        self.place = nn.Embedding(tokens + 1, hidden)
        self.blocks = nn.ModuleList(PlainBlock(hidden, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(hidden), nn.Linear(hidden, codes + 1)
        self.optimizer = torch.optim.AdamW(self.parameters(), 1e-3, foreach=False, fused=False)
        self.tokens = torch.randint(levels * codes, (batch_size, tokens + 1))
        self.targets = torch.randint(codes, (batch_size, tokens + 1))

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        mask = torch.full((length, length), -torch.inf).triu(1)
        x = self.codes(tokens) + self.place(torch.arange(length))
        for block in self.blocks:
            x = block(x, mask)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def backward(self) -> None:
        self.optimizer.zero_grad()
        functional.cross_entropy(self(self.tokens).flatten(0, 1), self.targets.flatten()).backward()

    def step(self) -> None:
        """One training step."""
        self.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        self.optimizer.step()
