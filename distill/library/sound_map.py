"""Where sounds lie beside each other: by their likeness, and by their knobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from distill.audio.knobs import KNOBS, knobs_of
from distill.audio.timbre import timbre_of
from distill.configs import SpectrogramConfig
from distill.errors import DistillError
from distill.library.finding import log_mel_of

# What lies along the first two axes of likeness has no name.
LIKENESS = ("likeness", "likeness_2")
AXES = (*LIKENESS, *KNOBS)

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A sound on the map.

    Attributes:
        path: its file.
        places: on each of AXES, from 0 to 1; None where it has none.
    """

    path: Path
    places: dict[str, float | None]


def sound_map(paths: Sequence[Path]) -> list[Point]:
    """The places of sounds, of those that can be read and are not silent.

    The axes of likeness are the first two principal components of the timbres; a knob's place is a
    sound's rank among the others.
    """
    known = [(path, found) for path in paths if (found := _describe(path)) is not None]
    if not known:
        return []
    timbres, knobs = (np.array([each[part] for _, each in known]) for part in (0, 1))
    columns = dict(zip(LIKENESS, _likeness(timbres).T, strict=True))
    columns |= {name: _ranks(knobs[:, place]) for place, name in enumerate(KNOBS)}
    return [
        Point(
            path,
            {axis: round(float(of[index]), 4) if of[index] == of[index] else None for axis, of in columns.items()},
        )
        for index, (path, _) in enumerate(known)
    ]


def _likeness(timbres: Values) -> Values:
    """`[sounds, 2]` from 0 to 1."""
    centred = timbres - timbres.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = np.concatenate([axes, np.zeros((2, timbres.shape[1]))])[:2]
    # Either direction would do: the one in which the largest part is positive is always the same.
    axes *= np.where(axes[np.arange(2), np.abs(axes).argmax(1)] < 0, -1.0, 1.0)[:, None]
    places = centred @ axes.T
    reach = np.ptp(places, axis=0)
    return np.where(reach > 0, (places - places.min(0)) / np.where(reach > 0, reach, 1.0), 0.5)


def _ranks(values: Values) -> Values:
    """From 0 to 1 among those that are numbers, the same for the same values."""
    known = np.isfinite(values)
    if known.sum() < 2:
        return np.where(known, 0.5, np.nan)
    return ((pd.Series(values).rank() - 1) / (known.sum() - 1)).to_numpy()


def _describe(path: Path) -> tuple[Values, Values] | None:
    try:
        status = path.stat()
        return _measure(path, status.st_mtime_ns, status.st_size)
    except (OSError, DistillError):
        return None


@lru_cache(maxsize=4096)
def _measure(path: Path, _changed: int, _size: int) -> tuple[Values, Values]:
    config = SpectrogramConfig()
    log_mel = log_mel_of(path, config)
    return timbre_of(log_mel, config), knobs_of(log_mel, config).astype(np.float64)
