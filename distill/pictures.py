"""Pictures of spectrograms, codebook usage and curves, as PNG files whose bytes follow from the data alone."""

import functools
import gc
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import ParamSpec

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

from distill.configs import SpectrogramConfig
from distill.files import replacing
from distill.mel_scale import hertz_to_mel

_DPI = 100
_PER_ROW = 4
# Read as well on a dark page as on a white one: pictures have no ground of their own.
INK = "#7a7a7a"
_TICKS_HZ = (100, 500, 1000, 2000, 5000, 10_000, 20_000)


P = ParamSpec("P")


def _leaving_nothing(draw: Callable[P, None]) -> Callable[P, None]:
    """A function that draws a figure and frees its memory at once.

    A figure is a ring of references. While nothing is collected it stays in the youngest generation, of which a
    collection takes milliseconds. Grown older it would wait for a full one, which comes seldom and takes a quarter of a
    second.
    """

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        collects = gc.isenabled()
        gc.disable()
        try:
            draw(*args, **kwargs)
        finally:
            if collects:
                gc.enable()
            gc.collect(0)

    return wrapped


@_leaving_nothing
def spectrogram_png(path: Path, log_mels: Mapping[str, np.ndarray], config: SpectrogramConfig) -> None:
    """Draw log mels `[n_mels, frames]` side by side, by title, in s and Hz, with one scale of levels in dB.

    Raises:
        StorageError: the picture cannot be written.
    """
    levels = {title: _level_db(log_mel, config) for title, log_mel in log_mels.items()}
    top = max((float(level.max()) for level in levels.values() if level.size), default=0.0)
    columns, rows = max(1, min(_PER_ROW, len(levels))), max(1, -(-len(levels) // _PER_ROW))
    figure = Figure(figsize=(4.2 * columns + 0.8, 3.6 * rows), dpi=_DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    image = None
    for axis in axes[len(levels) :]:
        axis.set_axis_off()
    for axis, (title, level) in zip(axes, levels.items(), strict=False):
        seconds = level.shape[1] * config.hop_length / config.sample_rate
        image = axis.imshow(
            level,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            cmap="magma",
            extent=(0.0, seconds, 0.0, float(config.n_mels)),
            vmin=config.floor_db,
            vmax=max(top, config.floor_db + 1.0),
        )
        ticks = [hertz for hertz in _TICKS_HZ if hertz <= config.sample_rate / 2]
        axis.set_yticks([_mel_bin(hertz, config) for hertz in ticks], [_short(hertz) for hertz in ticks])
        axis.set_title(title)
        axis.set_xlabel("time (s)")
    for axis in axes[::columns]:
        axis.set_ylabel("frequency (Hz)")
    if image is not None:
        figure.colorbar(image, ax=list(axes), label="mel power (dB)")
    save_figure(path, figure)


def spectrogram_image(log_mel: np.ndarray, config: SpectrogramConfig, *, top_db: float) -> bytes:
    """A PNG file of a log mel `[n_mels, frames]` without axes, a pixel a value, from the floor to `top_db`.

    It is drawn in a hundredth of the time that a figure takes.
    """
    stream = BytesIO()
    imsave(
        stream,
        _level_db(log_mel, config),
        vmin=config.floor_db,
        vmax=max(top_db, config.floor_db + 1.0),
        cmap="magma",
        origin="lower",
        format="png",
        metadata={"Software": None},  # type: ignore[dict-item]
        pil_kwargs={},
    )
    return stream.getvalue()


def top_level_db(log_mel: np.ndarray, config: SpectrogramConfig) -> float:
    """The highest level in a log mel, in dB; that of the floor in an empty one."""
    return float(_level_db(log_mel, config).max()) if np.size(log_mel) else config.floor_db


@_leaving_nothing
def usage_heatmap_png(path: Path, counts: np.ndarray, labels: Sequence[str]) -> None:
    """Draw how often each code of each level was used, counts `[levels, codebook_size]`; unused codes stay dark.

    `labels` are what the levels are called.

    Raises:
        StorageError: the picture cannot be written.
    """
    counts = np.asarray(counts, dtype=np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    figure = Figure(figsize=(9.0, 0.7 * len(counts) + 1.6), dpi=_DPI, layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(100 * share, aspect="auto", interpolation="nearest", cmap="viridis", vmin=0.0)
    axis.set_yticks(range(len(counts)), labels, parse_math=False)
    axis.set_xlabel("code")
    used = [f"{int((row > 0).sum())}/{len(row)}" for row in counts]
    axis.set_title(f"Codebook usage (used codes: {', '.join(used)})")
    figure.colorbar(image, ax=axis, label="share (%)")
    save_figure(path, figure)


@_leaving_nothing
def curves_png(path: Path, curves: Mapping[str, Sequence[float | None]], *, ylabel: str, title: str) -> None:
    """Draw named curves over the epochs 1, 2, 3, ...; values that are None or not finite leave a gap.

    Raises:
        StorageError: the picture cannot be written.
    """
    figure = Figure(figsize=(7.0, 4.0), dpi=_DPI, layout="constrained")
    axis = figure.subplots()
    for name, values in curves.items():
        heights = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        heights[~np.isfinite(heights)] = np.nan
        marker = "o" if len(heights) == 1 else None
        axis.plot(np.arange(1, len(heights) + 1), heights, label=name, linewidth=1.4, marker=marker)
    axis.set_xlabel("epoch")
    axis.set_ylabel(ylabel)
    axis.set_title(title)
    axis.grid(alpha=0.3)
    if curves:
        axis.legend(labelcolor=INK, framealpha=0.0)
    save_figure(path, figure)


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, whole or not at all; the bytes follow from what is drawn. The figure is empty afterwards.

    Raises:
        StorageError: the picture cannot be written.
    """
    figure.patch.set_alpha(0.0)
    for axis in figure.axes:
        axis.patch.set_alpha(0.0)
        axis.tick_params(which="both", colors=INK)
        axis.spines[:].set_color(INK)
        for text in (axis.title, axis.xaxis.label, axis.yaxis.label):
            text.set_color(INK)
    # The object interface keeps no global list of figures; without Software the bytes name no version.
    canvas = FigureCanvasAgg(figure)
    with replacing(path) as temporary, temporary.open("wb") as handle:
        canvas.print_png(handle, metadata={"Software": None}, pil_kwargs={})
    figure.clear()


def _level_db(log_mel: np.ndarray, config: SpectrogramConfig) -> np.ndarray:
    power = np.expm1(np.maximum(np.asarray(log_mel, dtype=np.float64), 0.0)) * 10.0 ** (config.floor_db / 10.0)
    return 10.0 * np.log10(np.maximum(power, 10.0 ** (config.floor_db / 10.0)))


def _mel_bin(hertz: float, config: SpectrogramConfig) -> float:
    """Position of a frequency among the mel bins (HTK scale)."""
    return hertz_to_mel(hertz) / hertz_to_mel(config.sample_rate / 2) * (config.n_mels + 1)


def _short(hertz: int) -> str:
    return f"{hertz // 1000}k" if hertz >= 1000 else str(hertz)
