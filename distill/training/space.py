"""Learning where sounds lie between two channels: the codebook of it, and the network that reads the grid."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.nn import functional

from distill.audio.power import in_floors
from distill.audio.space import MONO
from distill.configs import STRIDE
from distill.evenly import evenly
from distill.models.space import PARTS, SCALE, SLOTS, Codes, SpaceModel, Values, cells_of
from distill.models.vqvae import ConvVQVAE
from distill.training.codes import PriorCodes, Sounds
from distill.training.runtime import Runtime

# Steps of the network's training, or of that for a sketch, sounds in a step, and the highest learning rate.
STEPS, SKETCH_STEPS, BATCH, LEARNING_RATE = 300, 100, 16, 3e-3
# So far from a cell, in units of SCALE, codes are about as good as the nearest.
NEAR = 0.5
# Columns of a long sound that are read at once, and from how many places of it the codebook is found.
MOST_COLUMNS, PARTS_OF_LONG = 64, 4
# The codebook is found among so many cells of so many sounds, and the network is judged by so many held-out sounds.
MOST_SOUNDS, MOST_CELLS, MOST_JUDGED = 4096, 100_000, 128
ROUNDS = 30

_CELL = (SLOTS, PARTS, 2)
# A cell whose channels differ by less is one that both have alike, in units of SCALE.
_ALIKE = 0.05

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TrainedSpace:
    """A trained model and what is known of it.

    Attributes:
        model: on the CPU, in evaluation mode.
        train_perplexity: of the codes of training sounds, each cell counting that sounds.
        held_out_perplexity: the same of held-out sounds.
        utilization: share of the codes that held-out sounds use.
        code_perplexity: exponential of the entropy of that use.
        level_db: of held-out cells that both channels do not have alike, the median distance of the level differences
            from what the code stands for, in dB; None where there are none.
        coherence: the same of coherences.
    """

    model: SpaceModel
    train_perplexity: float
    held_out_perplexity: float
    utilization: float
    code_perplexity: float
    level_db: float | None
    coherence: float | None


@dataclass(frozen=True)
class _Sound:
    """A stretch of a sound: its cells, which of them sound `[columns, bands]`, and the vectors of its codes."""

    cells: Values
    sounding: Weights
    vectors: Tensor


def train_space(
    codes: PriorCodes,
    vqvae: ConvVQVAE,
    runtime: Runtime,
    steps: int = STEPS,
    step: Callable[[int, int], None] = lambda _done, _count: None,
) -> TrainedSpace | None:
    """Learn the space of a dataset's sounds; None where no two channels differ.

    Args:
        codes: of the sounds, and where they lie.
        vqvae: whose codes; in evaluation mode.
        runtime: its seed decides everything random here.
        steps: how many.
        step: told how many of how many steps are done; it may raise to end the training.
    """
    dataset = codes.train.dataset
    if not dataset.stereo:
        return None
    books = vqvae.quantizer.codebooks.detach().cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.seed)
        model = SpaceModel(vqvae.codebook_size, codes.bands, books.shape[2])
    model.entries.copy_(torch.from_numpy(_codebook(codes, model.codebook_size, runtime.seed)))
    held_out = [
        _sound(codes, codes.held_out, int(position), 0, books) for position in evenly(len(codes.held_out), MOST_JUDGED)
    ]
    known = [_sound(codes, codes.train, int(position), 0, books) for position in evenly(len(codes.train), MOST_JUDGED)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    generator = np.random.default_rng([runtime.seed, 0x5ACE])
    torch.manual_seed(runtime.seed)
    for number in range(steps):
        step(number, steps)
        numbers = generator.integers(codes.train.cuts * len(codes.train), size=BATCH).tolist()
        chosen = [divmod(each, codes.train.cuts) for each in numbers]
        sounds = [_sound(codes, codes.train, position, cut, books, generator) for position, cut in chosen]
        optimizer.zero_grad()
        loss, count = _loss(model.train(), sounds)
        (loss / max(count, 1.0)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return _trained(model.eval(), known, held_out)


def _codebook(codes: PriorCodes, size: int, seed: int) -> Values:
    """The codebook `[size, slots, parts, 2]`: code 0 for what both channels have alike, and means of cells."""
    sounds, cells = codes.train, list[Values]()
    for position in evenly(len(sounds), MOST_SOUNDS).tolist():
        columns = int(sounds.columns[0, position])
        # Of a long sound from its beginning to its end.
        parts = 1 if columns <= MOST_COLUMNS else PARTS_OF_LONG
        each = min(columns, MOST_COLUMNS) // parts
        for first in np.linspace(0, columns - each, parts).round().astype(int).tolist():
            found, sounding = _cells_of(sounds, position, 0, first, each)
            cells.append(found[(sounding > 0) & _placed(found)])
    found = np.concatenate(cells)
    found = found[evenly(len(found), MOST_CELLS)] if len(found) else found
    entries = np.full((size, *_CELL), MONO, np.float32)
    flat = (found / SCALE).reshape(len(found), int(np.prod(_CELL))).astype(np.float64)
    distinct = np.unique(flat.round(3), axis=0)
    if len(distinct) > size - 1:
        distinct, _ = kmeans2(flat, size - 1, iter=ROUNDS, minit="++", rng=np.random.default_rng(seed))
    entries[1 : 1 + len(distinct)] = distinct.reshape(-1, *_CELL) * SCALE
    return entries


def _placed(cells: Values) -> npt.NDArray[np.bool_]:
    """Which cells `[..., slots, parts, 2]` are not alike in both channels, `[...]`."""
    apart = np.abs((cells - np.array(MONO, np.float32)) / SCALE)
    found: npt.NDArray[np.bool_] = apart.max(axis=(-3, -2, -1)) > _ALIKE
    return found


def _cells_of(sounds: Sounds, position: int, cut: int, first: int, columns: int) -> tuple[Values, Weights]:
    """Some columns of a sound in a cut as cells `[columns, bands, slots, parts, 2]`, and which of them sound."""
    dataset, row = sounds.dataset, int(sounds.rows[position])
    begin = int(sounds.skipped[cut, position]) + STRIDE * first
    end = begin + STRIDE * columns
    cells = cells_of(dataset.space(row, begin, end))
    power = in_floors(dataset.segment(row, begin, end))
    whole = np.pad(power, ((0, 0), (0, STRIDE * len(cells) - power.shape[1])))
    mean = whole.reshape(-1, STRIDE, len(cells), STRIDE).mean((1, 3)).T
    return cells, (mean >= 1.0).astype(np.float32)


def _sound(
    codes: PriorCodes,
    sounds: Sounds,
    position: int,
    cut: int,
    books: Tensor,
    generator: np.random.Generator | None = None,
) -> _Sound:
    """A sound as the network reads it; of a long one some columns, from its middle, or from anywhere by a generator."""
    left = max(0, int(sounds.columns[cut, position]) - MOST_COLUMNS)
    first = left // 2 if generator is None or not left else int(generator.integers(left + 1))
    columns = int(sounds.columns[cut, position]) - left
    cells, sounding = _cells_of(sounds, position, cut, first, columns)
    part = codes.grid(sounds, position, cut)[first : first + columns]
    grid = torch.from_numpy(np.asarray(part, np.int64))
    vectors = sum(book[grid[..., level]] for level, book in enumerate(books))
    assert isinstance(vectors, Tensor)
    return _Sound(cells, sounding, vectors)


def _loss(model: SpaceModel, sounds: Sequence[_Sound]) -> tuple[Tensor, float]:
    """Negative log-likelihood of all codes of cells that sound, and how many these are.

    In training mode codes that are about as near to a cell as the nearest one count as well: few sounds say little of
    which of them it is.
    """
    longest = max(len(sound.cells) for sound in sounds)

    def padded(values: Tensor) -> Tensor:
        rest = values.new_zeros((longest - len(values), *values.shape[1:]))
        return torch.cat([values, rest])

    codes = torch.stack([padded(torch.from_numpy(model.codes_of(sound.cells))) for sound in sounds])
    vectors = torch.stack([padded(sound.vectors) for sound in sounds])
    counts = torch.stack([padded(torch.from_numpy(sound.sounding)) for sound in sounds])
    lengths = torch.tensor([len(sound.cells) for sound in sounds])
    logits = model(codes, vectors, lengths).flatten(0, 2)
    wanted = codes.flatten()
    if model.training:
        far = torch.stack([padded(torch.from_numpy(model.far(sound.cells))) for sound in sounds])
        near = torch.softmax(-far[..., 1:] / (2.0 * NEAR**2), dim=3)
        # What both channels have alike is nothing else.
        alike = (codes == 0)[..., None].float()
        wanted = torch.cat([alike, near * (1.0 - alike)], dim=3).flatten(0, 2)
    each = functional.cross_entropy(logits, wanted, reduction="none")
    return (each * counts.flatten()).sum(), float(counts.sum())


@torch.no_grad()
def _judged(model: SpaceModel, sounds: Sequence[_Sound]) -> float:
    """Negative log-likelihood of a cell that sounds."""
    model.eval()
    parts = [_loss(model, sounds[first : first + BATCH]) for first in range(0, len(sounds), BATCH)]
    return sum(float(loss) for loss, _ in parts) / max(1.0, sum(count for _, count in parts))


def _trained(model: SpaceModel, known: Sequence[_Sound], held_out: Sequence[_Sound]) -> TrainedSpace:
    codes: list[Codes] = [model.codes_of(sound.cells)[sound.sounding > 0] for sound in held_out]
    uses = np.bincount(np.concatenate(codes), minlength=model.codebook_size)
    shares = uses[uses > 0] / max(1, uses.sum())
    apart = [
        np.abs(sound.cells - model.cells(model.codes_of(sound.cells)))[(sound.sounding > 0) & _placed(sound.cells)]
        for sound in held_out
    ]
    distances = np.concatenate(apart).reshape(-1, 2)
    level_db, coherence = np.median(distances, axis=0).tolist() if len(distances) else (None, None)
    return TrainedSpace(
        model=model,
        train_perplexity=math.exp(_judged(model, known)),
        held_out_perplexity=math.exp(_judged(model, held_out)),
        utilization=float((uses > 0).mean()),
        code_perplexity=float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 1.0,
        level_db=level_db,
        coherence=coherence,
    )
