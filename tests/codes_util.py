"""Grids and edits for the tests of codes by hand."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from distill.codec.load import Networks
from distill.codes.edits import (
    Edit,
    Freeze,
    Rename,
    Repeat,
    Reverse,
    SetCells,
    SetCode,
    Transpose,
    Unfreeze,
    cells_of,
)
from distill.codes.grid import CodeGrid, ModelIdentity, Source
from distill.codes.model import CodesModel
from distill.codes.selection import Selection
from model_example import BANDS, LEVELS, SIZE, codec, prior

IDENTITY = ModelIdentity("bells", "1" * 64, "a" * 64)
OTHER_IDENTITY = ModelIdentity("drums", "2" * 64, "b" * 64)


@lru_cache(maxsize=1)
def model() -> CodesModel:
    """A small model with random weights and a prior; each code makes a clear difference to the sound."""
    ready = codec()
    with torch.no_grad():
        ready.vqvae.decoder.project.weight.mul_(100.0)
    return CodesModel(ready, IDENTITY, Networks(ready.vqvae, prior(), Path("bells.distill")))


def grid(columns: int = 6, seed: int = 0, **changes: Any) -> CodeGrid:
    """A grid of random codes of the small model."""
    codes = np.random.default_rng(seed).integers(0, SIZE, (columns, BANDS, LEVELS))
    values = vars(model().grid(codes, Source(f"{seed}.wav", columns * 8192 / 48_000, -3.5)))
    return CodeGrid(**{**values, **changes})


def grids(least: int = 1, most: int = 8) -> st.SearchStrategy[CodeGrid]:
    return st.builds(grid, st.integers(least, most), st.integers(0, 99))


@st.composite
def selections(draw: st.DrawFn, of: CodeGrid) -> Selection:
    """Cells that can be edited; at least one level must not be frozen."""
    first = draw(st.integers(0, len(of) - 1))
    last = draw(st.integers(first + 1, len(of)))
    bands = draw(st.none() | st.sets(st.integers(0, of.bands - 1), min_size=1).map(tuple))
    open_levels = [level for level in range(of.levels) if level not in of.frozen]
    levels = draw(st.none() | st.sets(st.sampled_from(open_levels), min_size=1).map(tuple))
    return Selection(columns=draw(st.sampled_from([None, (first, last)])), bands=bands, levels=levels)


@st.composite
def edits(draw: st.DrawFn, of: CodeGrid) -> Edit:
    """An edit that fits a grid."""
    every = tuple(range(of.levels))
    labels = st.text("abcdefgh", min_size=2, max_size=9).filter(lambda label: label not in of.labels)
    choices: list[st.SearchStrategy[Any]] = [
        st.builds(Freeze, levels=st.sampled_from([(level,) for level in every])),
        st.builds(Unfreeze, levels=st.just(every)),
        st.builds(Rename, level=st.sampled_from(every), label=labels),
    ]
    if len(of.frozen) < of.levels:
        chosen = draw(selections(of))
        shape = [axis.size for axis in chosen.cells(of)]
        seeds = st.integers(0, 99).map(lambda seed: np.random.default_rng(seed).integers(0, SIZE, shape))
        some = st.just(chosen)
        choices += [
            st.builds(SetCode, selection=some, code=st.integers(0, of.codebook_size - 1)),
            st.builds(SetCells, selection=some, cells=seeds.map(cells_of)),
            st.builds(Reverse, selection=some),
            st.builds(Transpose, selection=some, columns=st.integers(-20, 20)),
        ]
    if not of.frozen and len(of) < 40:
        span = draw(selections(of)).columns or (0, len(of))
        choices.append(st.builds(Repeat, columns=st.just(span), times=st.integers(1, 3)))
    found: Edit = draw(st.one_of(choices))
    return found
