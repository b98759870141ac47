"""How the sound of a grid looks, beside the codes: a waveform and a spectrogram over the same columns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distill.codec.codec import Samples
from distill.codes.playback import Rendering
from distill.configs import SpectrogramConfig
from distill.files import write_bytes
from distill.pictures import spectrogram_image, top_level_db

# Points of the waveform in a column, and of any waveform; columns of pixels of any picture.
POINTS_A_COLUMN, MOST_POINTS, MOST_PIXELS = 64, 6000, 4000
FULL_SCALE = 100


def outline(
    rendering: Rendering, config: SpectrogramConfig, picture: Path, link: Callable[[Path], str]
) -> dict[str, Any]:
    """The waveform as lowest and highest values in turn, scaled to the sound's own peak, and the picture's address.

    Args:
        rendering: the decoded grid.
        config: of its log mel.
        picture: the PNG file to write.
        link: gives a file's address.

    Raises:
        StorageError: the picture cannot be written.
    """
    mel = rendering.log_mel[:, :: max(1, -(-rendering.log_mel.shape[1] // MOST_PIXELS))]
    write_bytes(picture, spectrogram_image(mel, config, top_db=top_level_db(mel, config)))
    points = min(POINTS_A_COLUMN * len(rendering.grid), MOST_POINTS)
    return {"wave": _extremes(rendering.samples, points), "picture": link(picture)}


def _extremes(samples: Samples, points: int) -> list[int]:
    edges = np.linspace(0, len(samples), points, endpoint=False).astype(int)
    peak = max(float(np.abs(samples).max(initial=0.0)), 1e-9)
    both = np.stack([np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)], axis=1)
    values: list[int] = np.rint(FULL_SCALE * both / peak).astype(int).ravel().tolist()
    return values
