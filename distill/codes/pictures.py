"""Grids as pictures: the codes over time, and where two grids differ."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure

from distill.codes.grid import CodeGrid
from distill.models.health import usage_counts
from distill.pictures import save_figure, usage_heatmap_png

_DPI = 100
_INCHES_PER_COLUMN, _LEAST_INCHES, _MOST_INCHES = 0.28, 7.0, 40.0
_INCHES_PER_LEVEL = 1.7
# Equal steps of the codes look like equal steps of colour.
_MAP = "viridis"
_SAME = (0.92, 0.92, 0.92, 1.0)
_MISSING = (1.0, 1.0, 1.0, 1.0)


def grid_png(path: Path, grid: CodeGrid, title: str = "") -> None:
    """Draw a grid: a row of bands for each level, over time in s; the colour is the number of the code.

    Raises:
        StorageError: the picture cannot be written.
    """
    figure, axes = _figure(grid, grid.seconds)
    for level, axis in enumerate(axes):
        _draw(axis, grid, level, _coloured(grid.codes[..., level], grid.codebook_size))
    _finish(path, figure, axes, grid, title)


def difference_png(path: Path, grid: CodeGrid, other: CodeGrid, title: str = "") -> None:
    """Draw another grid where it differs from a grid; equal cells are grey, columns that only one has are white.

    Raises:
        StorageError: the picture cannot be written.
    """
    columns, both = max(len(grid), len(other)), min(len(grid), len(other))
    figure, axes = _figure(grid, columns * grid.seconds_per_column)
    for level, axis in enumerate(axes):
        image = np.full((columns, grid.bands, 4), _MISSING)
        theirs = other.codes[:both, :, level]
        same = (grid.codes[:both, :, level] == theirs)[..., None]
        image[:both] = np.where(same, _SAME, _coloured(theirs, grid.codebook_size))
        _draw(axis, grid, level, image)
        axis.set_xlim(0.0, columns * grid.seconds_per_column)
    _finish(path, figure, axes, grid, title)


def usage_png(path: Path, grid: CodeGrid) -> None:
    """Draw how often a grid uses each code of each level.

    Raises:
        StorageError: the picture cannot be written.
    """
    usage_heatmap_png(path, usage_counts(grid.codes, grid.codebook_size), grid.labels)


def palette(codebook_size: int) -> list[str]:
    """The colour of each code in pictures of grids, as #rrggbb.

    >>> palette(2)
    ['#440154', '#fde725']
    """
    return [to_hex(colour) for colour in _coloured(np.arange(codebook_size), codebook_size)]


def _figure(grid: CodeGrid, seconds: float) -> tuple[Figure, list[Axes]]:
    columns = seconds / grid.seconds_per_column
    width = min(max(_INCHES_PER_COLUMN * columns, _LEAST_INCHES), _MOST_INCHES)
    figure = Figure(figsize=(width, _INCHES_PER_LEVEL * grid.levels + 0.9), dpi=_DPI, layout="constrained")
    return figure, list(figure.subplots(grid.levels, 1, sharex=True, squeeze=False)[:, 0])


def _draw(axis: Axes, grid: CodeGrid, level: int, image: npt.NDArray[np.float64]) -> None:
    """Draw colours `[columns, bands, 4]`, the lowest band at the bottom."""
    axis.imshow(
        image.transpose(1, 0, 2),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0.0, len(image) * grid.seconds_per_column, 0.0, float(grid.bands)),
    )
    edges = [grid.bands_hz[0][0], *(high for _, high in grid.bands_hz)]
    step = max(1, grid.bands // 4)
    shown = range(0, grid.bands + 1, step)
    axis.set_yticks(list(shown), [_short(edges[band]) for band in shown])
    # Names are no formulas, whatever dollars they have.
    axis.set_ylabel(f"{grid.labels[level]}{' (frozen)' if level in grid.frozen else ''}\nHz", parse_math=False)


def _finish(path: Path, figure: Figure, axes: list[Axes], grid: CodeGrid, title: str) -> None:
    axes[-1].set_xlabel("time (s)")
    if title:
        axes[0].set_title(title, parse_math=False)
    scale = ScalarMappable(Normalize(0, grid.codebook_size - 1), colormaps[_MAP])
    figure.colorbar(scale, ax=axes, label="code", fraction=0.05, aspect=30)
    save_figure(path, figure)


def _coloured(codes: npt.NDArray[np.int64], codebook_size: int) -> npt.NDArray[np.float64]:
    """Colours `[..., 4]` of codes."""
    found: npt.NDArray[np.float64] = colormaps[_MAP](codes / max(1, codebook_size - 1))
    return found


def _short(hertz: float) -> str:
    return f"{hertz / 1000:.2g}k" if hertz >= 1000 else f"{hertz:.0f}"
