"""Hearing codes: a grid that is edited, a part of it alone, and single entries of the codebooks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from distill.codec.codec import Codec, Samples
from distill.codes.grid import CodeGrid, Codes
from distill.codes.model import CodesModel
from distill.codes.selection import EVERYTHING, Selection
from distill.configs import STRIDE
from distill.errors import UsageError
from distill.models.grid import CONTEXT_COLUMNS, SILENT

MAX_ENTRY_COLUMNS = 64
# So many columns of what was there, on each side, hold the phases of what is new; two hold them no better.
_JOINT_COLUMNS = 1
# Entries that are decoded at once.
_BATCH = 64


@dataclass(frozen=True)
class Rendering:
    """A decoded grid that can be changed at the cost of what changes.

    Attributes:
        grid: the codes.
        log_mel: their log mel, `[n_mels, 16 * columns]`.
        samples: their sound at the model's own level, `[columns * column_samples]`, without space.
        renewed: samples from the first to the one after the last that differ from the rendering before.
    """

    grid: CodeGrid
    log_mel: Samples
    samples: Samples
    renewed: tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """An entry of a codebook: the level, from 0, and the code."""

    level: int
    code: int


def render(model: CodesModel, grid: CodeGrid) -> Rendering:
    """Decode a whole grid.

    Raises:
        ArtifactError: the grid belongs to another model, or the model's weights are damaged.
    """
    model.require(grid)
    log_mel = model.codec.decode_log_mel(grid.codes)
    samples = model.codec.column_waveform(log_mel)
    return Rendering(grid, log_mel, samples, (0, len(samples)))


def rerender(model: CodesModel, before: Rendering, grid: CodeGrid) -> Rendering:
    """Decode a grid after an edit: only the neighbourhood of the columns that changed.

    The log mel is that of `render` but for rounding (1e-4). The waveform outside of the neighbourhood stays sample by
    sample; inside it joins that in phase and is so another waveform of the same log mel than `render` finds.

    Raises:
        ArtifactError: the grid belongs to another model, or the model's weights are damaged.
    """
    model.require(grid)
    old, new = (model.codec.without_space(each.codes) for each in (before.grid, grid))
    head = _same(old, new)
    if head == len(old) == len(new):
        return Rendering(grid, before.log_mel, before.samples, (0, 0))
    tail = min(_same(old[::-1], new[::-1]), min(len(old), len(new)) - head)
    # The decoder carries a change so far; the columns before and after keep their log mel.
    first, last = max(0, head - CONTEXT_COLUMNS), min(len(new), len(new) - tail + CONTEXT_COLUMNS)
    after = len(new) - last
    decoded = model.codec.decode_columns(new, first, last)
    kept = STRIDE * (len(old) - after)
    log_mel = np.concatenate([before.log_mel[:, : STRIDE * first], decoded, before.log_mel[:, kept:]], axis=1)

    column = model.codec.column_samples
    begin, end = max(0, first - _JOINT_COLUMNS), min(len(new), last + _JOINT_COLUMNS)
    known = np.full((end - begin) * column, np.nan, np.float32)
    known[: (first - begin) * column] = before.samples[begin * column : first * column]
    shift = len(old) - len(new)
    known[(last - begin) * column :] = before.samples[(last + shift) * column : (end + shift) * column]
    made = model.codec.column_waveform(log_mel[:, STRIDE * begin : STRIDE * end + 1], known)
    inner = made[(first - begin) * column : (last - begin) * column]
    samples = np.concatenate([before.samples[: first * column], inner, before.samples[(last + shift) * column :]])
    return Rendering(grid, log_mel, samples, (first * column, last * column))


def hear(model: CodesModel, grid: CodeGrid, selection: Selection = EVERYTHING, *, width: float | None = 1.0) -> Samples:
    """The selected cells alone, `[n]` for the selected columns: one column, some bands, some levels.

    Levels and bands that are not selected add nothing to the sum of code vectors. Frozen levels are heard, too. With
    the level of space what is heard has two channels, `[2, n]`; that level alone places noise.

    Raises:
        ArtifactError: the grid belongs to another model, or the model's weights are damaged.
        UsageError: nothing is selected, or it lies outside of the grid.
    """
    model.require(grid)
    levels = tuple(range(grid.levels)) if selection.levels is None else selection.levels
    open_grid = replace(grid, frozen=())
    found = selection.model_copy(update={"levels": levels}).resolved(open_grid)
    assert found.columns is not None
    heard = np.full_like(grid.codes, SILENT)
    chosen = found.cells(open_grid)
    heard[chosen] = grid.codes[chosen]
    codec, cut = model.codec, heard[slice(*found.columns)]
    if grid.levels == codec.levels or codec.levels not in levels:
        [log_mel] = codec.decode_log_mels([codec.without_space(cut)], with_silence=True)
        return codec.column_waveform(log_mel)
    space = np.where(cut[..., -1:] == SILENT, 0, cut[..., -1:])
    if (cut[..., :-1] == SILENT).all():
        blank = np.concatenate([np.zeros_like(cut[..., :-1]), space], axis=2)
        return model.place(blank, _noise(codec, len(cut)), width)
    [log_mel] = codec.decode_log_mels([cut[..., :-1]], with_silence=True)
    return model.place(np.concatenate([cut[..., :-1], space], axis=2), codec.column_waveform(log_mel), width)


def entries(model: CodesModel, level: int | None = None) -> list[Entry]:
    """All entries of the codebooks, or of one level's."""
    levels = range(len(model.codec.labels)) if level is None else [level]
    return [Entry(each, code) for each in levels for code in range(model.codec.codebook_size)]


def hear_entries(
    model: CodesModel, wanted: Sequence[Entry], *, columns: int = 2, bands: Sequence[int] | None = None
) -> Iterator[Samples]:
    """Entries of the codebooks, each alone: in each of some bands, for some columns, all other levels silent.

    They are decoded many at a time. Entries of space place noise.

    Args:
        model: whose codebooks.
        wanted: the entries.
        columns: duration.
        bands: bands that the entry stands in; by default all.

    Yields:
        The sound of each, `[columns * column_samples]`, or of space `[2, columns * column_samples]`, in order.

    Raises:
        UsageError: there is no such entry or band, or the duration is out of its range.
        ArtifactError: the model's weights are damaged.
    """
    codec = model.codec
    if not 1 <= columns <= MAX_ENTRY_COLUMNS:
        raise UsageError(f"an entry is heard for 1 to {MAX_ENTRY_COLUMNS} columns, not {columns}")
    rows = range(codec.bands) if bands is None else bands
    if not rows or any(not 0 <= band < codec.bands for band in rows):
        raise UsageError(f"bands {list(rows)} are no choice from the model's bands 0 to {codec.bands - 1}")
    for entry in wanted:
        if not 0 <= entry.level < len(codec.labels) or not 0 <= entry.code < codec.codebook_size:
            raise UsageError(
                f"there is no code {entry.code} on level {entry.level}: levels are 0 to {len(codec.labels) - 1}, "
                f"codes 0 to {codec.codebook_size - 1}"
            )
    return _heard(model, wanted, columns, list(rows))


def _heard(model: CodesModel, wanted: Sequence[Entry], columns: int, rows: list[int]) -> Iterator[Samples]:
    codec = model.codec
    for first in range(0, len(wanted), _BATCH):
        batch = wanted[first : first + _BATCH]
        grids = np.full((len(batch), columns, codec.bands, len(codec.labels)), SILENT, np.int64)
        for grid, entry in zip(grids, batch, strict=True):
            grid[:, rows, entry.level] = entry.code
        log_mels = codec.decode_log_mels(list(grids[..., : codec.levels]), with_silence=True)
        for grid, entry, log_mel in zip(grids, batch, log_mels, strict=True):
            if entry.level == codec.levels:
                yield model.place(grid.clip(min=0), _noise(codec, columns))
            else:
                yield codec.column_waveform(log_mel)


def _noise(codec: Codec, columns: int) -> Samples:
    """White noise for so many columns, always the same, `[n]`."""
    generator = np.random.default_rng(0)
    return generator.uniform(-0.25, 0.25, columns * codec.column_samples).astype(np.float32)


def _same(one: Codes, other: Codes) -> int:
    """Columns at the beginning that two grids `[columns, bands, levels]` share."""
    both = min(len(one), len(other))
    different = np.flatnonzero((one[:both] != other[:both]).any(axis=(1, 2)))
    return int(different[0]) if len(different) else both
