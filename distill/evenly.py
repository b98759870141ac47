"""Some of many items, evenly spread over them."""

import numpy as np
import numpy.typing as npt


def evenly(count: int, most: int) -> npt.NDArray[np.int64]:
    """Numbers of at most so many of `count` items, evenly spread over them.

    >>> evenly(5, 3).tolist(), evenly(2, 3).tolist()
    ([0, 2, 4], [0, 1])
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
