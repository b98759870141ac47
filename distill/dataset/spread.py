"""How the knobs of the sounds of a folder lie, before anything is trained on them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill.audio.knobs import KNOBS, knobs_of
from distill.dataset.excerpts import CONFIG, measured
from distill.dataset.scan import FileReport

# So many sounds tell it, evenly spread over the folder.
MOST_SOUNDS = 200


def spread_of(source: Path, reports: Sequence[FileReport]) -> dict[str, list[float]]:
    """Least, median and greatest value of each knob among the usable sounds that have it, in the knob's unit.

    Args:
        source: the folder, or one file.
        reports: of all its files.
    """
    values = np.array(
        [knobs_of(each.log_mel.astype(np.float32), CONFIG) for each in measured(source, reports, MOST_SOUNDS)]
    )
    known = {name: values[np.isfinite(values[:, at]), at] for at, name in enumerate(KNOBS)} if len(values) else {}
    return {name: reach(each) for name, each in known.items() if len(each)}


def reach(values: np.ndarray) -> list[float]:
    """Least, median and greatest of some values `[n]`, to four digits."""
    return [float(f"{figure:.4g}") for figure in (values.min(), np.median(values), values.max())]
