"""Items that are made ahead are the same items, and nothing is left of their making."""

import threading
from collections.abc import Iterator

import pytest

from distill.training.prefetch import DEPTH, prefetch
from page_util import wait


def numbers(made: list[int], count: int = 50) -> Iterator[int]:
    for number in range(count):
        made.append(number)
        yield number


def makers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "batches"]


def test_the_items_are_the_same_and_some_are_ready_before_they_are_asked_for() -> None:
    made: list[int] = []
    items = prefetch(numbers(made))
    assert next(items) == 0
    wait(lambda: len(made) >= 2 + DEPTH)
    assert len(made) == 2 + DEPTH
    assert list(items) == list(range(1, 50))
    assert makers() == []


def test_whoever_leaves_early_leaves_no_thread() -> None:
    made: list[int] = []
    items = prefetch(numbers(made))
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert makers() == []
    count = len(made)
    assert count < 50


def test_a_mistake_in_the_making_is_raised_in_its_place() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    items = prefetch(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="no more"):
        next(items)
    assert makers() == []
