"""Rows that wait in memory or on disk."""

from pathlib import Path

import numpy as np
import pytest

from distill.audio.spool import Spool


@pytest.mark.parametrize("row", [(), (2,), (3, 4)])
@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
@pytest.mark.parametrize("count", [7, 700_000])
def test_what_was_added_comes_back_in_blocks(row: tuple[int, ...], dtype: str, count: int, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((count, *row)).astype(dtype)
    with Spool(dtype, tmp_path) as spool:
        for part in np.array_split(rows, 5):
            spool.add(part)
        assert (len(spool), spool.row) == (count, row)
        assert spool.peak() == np.abs(rows).max()
        for first, last in ((0, None), (3, 6), (2, count + 10)):
            assert np.array_equal(np.concatenate(list(spool.blocks(first, last))), rows[first:last])
        assert [len(block) for block in spool.blocks(1, 6, 2)] == [2, 2, 1]
        # Reading in the middle does not move where the next rows go.
        next(spool.blocks())
        spool.add(rows[:2])
        assert np.array_equal(np.concatenate(list(spool.blocks(count))), rows[:2])
        spool.clear()
        assert (len(spool), spool.peak(), list(spool.blocks())) == (0, 0.0, [])
    assert list(tmp_path.iterdir()) == []
