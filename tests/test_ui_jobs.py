"""Sounds that are made for a tab of the page, also while nobody looks."""

from pathlib import Path

import pytest

pytest.importorskip("gradio")

from distill.errors import UsageError
from distill.generation.sound_request import Request
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.jobs import Job
from distill.ui.models import Models
from distill.ui.sound_jobs import SoundOrder
from model_example import write_example

NAME = "models/bells.distill"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "models").mkdir()
    write_example(tmp_path / NAME)
    return Context(tmp_path)


def job(context: Context, desk: Desk, count: int, seconds: float = 0.2) -> Job:
    return Job(SoundOrder(NAME, Request(seconds=seconds), count), context, Models(context), desk)


def test_all_sounds_are_made_though_nobody_looks(context: Context) -> None:
    desk = Desk(context)
    first = job(context, desk, 3)
    looking = first.follow()
    assert next(looking) >= 1
    looking.close()
    # Whoever comes later sees how far it is, and the end.
    assert list(first.follow())[-1] == 3
    assert first.over
    assert [result.seed for result in desk.results] == [0, 1, 2]
    assert first.folder == desk.results[0].path.parent
    # What is made later stands before it.
    second = job(context, desk, 1)
    assert list(second.follow()) == [1]
    assert desk.results[0].path.parent == second.folder
    assert len(desk.results) == 4


def test_a_stop_ends_it_after_the_sound_that_is_being_made(context: Context) -> None:
    desk = Desk(context)
    long = job(context, desk, 30, 2.0)
    looking = long.follow()
    next(looking)
    long.stop()
    made = list(looking)
    assert long.over
    assert len(desk.results) == len(list((context.generated).glob("*/*.wav"))) < 30
    assert len(made) < 29


def test_what_goes_wrong_is_told_to_whoever_looks(context: Context) -> None:
    desk = Desk(context)
    failed = Job(SoundOrder("models/gone.distill", Request(seconds=0.2), 2), context, Models(context), desk)
    for _ in range(2):
        with pytest.raises(UsageError, match="not there any more"):
            list(failed.follow())
    assert failed.over
    assert desk.results == ()
