"""The level that places a sound between two channels: its codebook, and the network that knows which code comes."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import distill.arithmetic  # noqa: F401
from distill.audio.space import BAND_MELS, MONO
from distill.configs import STRIDE

# A cell of the grid has so many stretches of time, and so many of the bands in which a sound's place is known.
SLOTS, PARTS = 4, STRIDE // BAND_MELS
SLOT_FRAMES = STRIDE // SLOTS
# What counts as one, of the difference of two level differences in dB and of two coherences. Held-out sounds with known
# places lie 1.5, 1.6 dB and .03, .08 beside their codes (two seeds), with 2 dB and .15 1.7, 1.9 dB and .00, .06.
SCALE = np.array([1.5, 0.2], np.float32)
_EMBEDDED = 24
# Columns whose distances to all codes are known at once.
_COLUMNS = 1024

Values = npt.NDArray[np.float32]
# Codes `[columns, bands]`.
Codes = npt.NDArray[np.int64]
# Embeddings of the cells of grids `[batch, columns, bands, n]`, and what is read around columns `[batch, columns, n]`.
Seen = tuple[Tensor, Tensor]
# The code for a band, from its logits.
Choose = Callable[[int, Values], int]


class SpaceModel(nn.Module):
    """Codes of where a sound lies between two channels, one for each band and column of the grid.

    A code stands for level differences and coherences in the cell. All other codes of a sound are known before: a
    recurrent network reads their vectors in both directions, and another one what that has read, column by column, with
    the codes of space of the column before. Within a column a feed-forward net predicts band after band, with what the
    second network has read, the code before in this band and those below.

    Args:
        codebook_size: codes; code 0 is a sound that both channels have alike.
        bands: rows of the grid.
        codebook_dim: length of the vectors of the grid's other codes.
        hidden: width of the network.
    """

    entries: Tensor

    def __init__(self, codebook_size: int, bands: int, codebook_dim: int, hidden: int = 96) -> None:
        super().__init__()
        self.codebook_size, self.bands, self.codebook_dim, self.hidden = codebook_size, bands, codebook_dim, hidden
        self.register_buffer("entries", torch.tensor(MONO).expand(codebook_size, SLOTS, PARTS, 2).clone())
        # The last one stands for no code.
        self.codes = nn.Embedding(codebook_size + 1, _EMBEDDED)
        self.band = nn.Embedding(bands, _EMBEDDED)
        self.norm = nn.LayerNorm(codebook_dim)
        self.vectors = nn.Linear(codebook_dim, _EMBEDDED)
        self.dropout = nn.Dropout(0.2)
        self.around = nn.GRU(bands * _EMBEDDED, hidden // 2, batch_first=True, bidirectional=True)
        self.reader = nn.GRU(bands * _EMBEDDED + 2 * (hidden // 2), hidden, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(hidden + 5 * _EMBEDDED, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, codebook_size)
        )

    @property
    def none(self) -> int:
        """What stands for no code."""
        return self.codebook_size

    def forward(self, codes: Tensor, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of each code given all before it, `[batch, columns, bands, codebook_size]`.

        Args:
            codes: of space, `[batch, columns, bands]`.
            vectors: sums of the vectors of the grid's other codes, `[batch, columns, bands, codebook_dim]`.
            lengths: columns of each sound, `[batch]`, what follows being nothing; by default all.
        """
        columns_before = torch.cat([torch.full_like(codes[:, :1], self.none), codes[:, :-1]], dim=1)
        read, known, _ = self._read(columns_before, self.seen(vectors, lengths), None)
        below = torch.cat([torch.full_like(codes[..., :1], self.none), codes[..., :-1]], dim=2)
        logits: Tensor = self.head(self._about(read, known, self.codes(below)))
        return logits

    def seen(self, vectors: Tensor, lengths: Tensor | None = None) -> Seen:
        """What is known of the grid's other codes before any code of space is; arguments as in `forward`."""
        own = self.vectors(self.norm(vectors))
        inputs = self.dropout(own.flatten(2))
        if lengths is None:
            around, _ = self.around(inputs)
        else:
            packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
            around, _ = pad_packed_sequence(self.around(packed)[0], batch_first=True, total_length=inputs.shape[1])
        return own, around

    def _read(self, columns_before: Tensor, seen: Seen, state: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What is read of columns `[batch, columns, hidden]`, what is known of each cell, and the state behind them."""
        own, around = seen
        before = self.codes(columns_before)
        known = torch.cat([before, own, self.band.weight.expand_as(own)], dim=3)
        read, state = self.reader(self.dropout(torch.cat([before.flatten(2), around], dim=2)), state)
        return read, known, state

    def _about(self, read: Tensor, known: Tensor, below: Tensor) -> Tensor:
        """All that a code follows from; `below` are the embeddings of the code below each band, `[..., bands, n]`."""
        bands = torch.arange(1, below.shape[2] + 1, device=below.device)[:, None]
        mean = below.cumsum(2) / bands
        wide = read[:, :, None].expand(-1, -1, below.shape[2], -1)
        return self.dropout(torch.cat([wide, known, below, mean], dim=3))

    @torch.inference_mode()
    def column(self, codes: Codes, column: int, seen: Seen, state: Tensor | None, choose: Choose) -> Tensor:
        """Find the codes of a column, one after the other; the state of the network behind it.

        Args:
            codes: of space, `[columns, bands]`, up to this column; what is chosen is put in.
            column: which.
            seen: of one sound.
            state: of the network behind the column before; None: there is none.
            choose: says the code of a band, from its logits.
        """
        before = torch.from_numpy(codes[column - 1]) if column else torch.full((self.bands,), self.none)
        own, around = (each[:, column : column + 1] for each in seen)
        read, known, state = self._read(before[None, None], (own, around), state)
        below = self.codes.weight[self.none].expand(1, 1, self.bands, -1).clone()
        for band in range(self.bands):
            if band:
                below[0, 0, band] = self.codes.weight[int(codes[column, band - 1])]
            about = self._about(read, known, below)[0, 0, band]
            codes[column, band] = choose(band, self.head(about).numpy())
        return state

    def codes_of(self, cells: Values) -> Codes:
        """The nearest codes `[...]` of cells `[..., slots, parts, 2]`; of those as near as each other the first."""
        parts = [self.far(each).argmin(-1) for each in np.array_split(cells, 1 + len(cells) // _COLUMNS)]
        return np.concatenate(parts).astype(np.int64)

    def far(self, cells: Values) -> Values:
        """Mean square distances of cells `[..., slots, parts, 2]` to the codes, `[..., codebook_size]`, by SCALE."""
        entries = (self.entries.cpu().numpy() / SCALE).reshape(self.codebook_size, -1)
        wanted = (cells / SCALE).reshape(-1, entries.shape[1])
        squares = np.square(entries).sum(1) + np.square(wanted).sum(1)[:, None] - 2.0 * (wanted @ entries.T)
        found: Values = np.maximum(squares, 0.0) / entries.shape[1]
        return found.reshape(*cells.shape[:-3], self.codebook_size)

    def cells(self, codes: Codes) -> Values:
        """What codes stand for, `[..., slots, parts, 2]`."""
        found: Values = self.entries.cpu().numpy()[codes]
        return found


def distances(cells: Values, others: Values) -> Values:
    """How far cells `[..., slots, parts, 2]` are from others, `[...]`: RMS over both measures, in units of SCALE."""
    found: Values = np.sqrt(np.square((cells - others) / SCALE).mean(axis=(-3, -2, -1)))
    return found


def cells_of(space: Values) -> Values:
    """Level differences and coherences `[frames, bands of space, 2]` as cells `[columns, bands, slots, parts, 2]`.

    In a slot they are the mean of its frames'; the last ones go on to whole columns.
    """
    whole = np.pad(space, ((0, -len(space) % STRIDE), (0, 0), (0, 0)), mode="edge")
    slots = whole.reshape(-1, SLOTS, SLOT_FRAMES, space.shape[1] // PARTS, PARTS, 2).mean(2)
    return np.ascontiguousarray(slots.transpose(0, 2, 1, 3, 4))


def space_of_cells(cells: Values) -> Values:
    """Level differences and coherences `[frames, bands of space, 2]` of cells; between two slots theirs are blended."""
    slots = cells.transpose(0, 2, 1, 3, 4).reshape(len(cells) * SLOTS, -1, 2)
    at = (np.arange(STRIDE * len(cells)) - (SLOT_FRAMES - 1) / 2) / SLOT_FRAMES
    first = np.clip(np.floor(at).astype(np.int64), 0, len(slots) - 1)
    second = np.minimum(first + 1, len(slots) - 1)
    share = np.clip(at - first, 0.0, 1.0).astype(np.float32)[:, None, None]
    found: Values = slots[first] + share * (slots[second] - slots[first])
    return found
