"""The tab Start in a browser: from a folder of sounds to new ones in three acts, with reloads on the way."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from browser_util import Watched
from distill.errors import DistillError
from distill.runs.folder import run_folders
from distill.runs.progress import alive
from distill.runs.stopping import stop
from page_util import make_sounds, served, wait

pytest.importorskip("gradio")
pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

# Learning takes its time on a machine that has other work.
LONG = 600_000


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    project = tmp_path / "project"
    project.mkdir()
    yield project
    for root in run_folders(project):
        with suppress(DistillError):
            stop(root)
        wait(lambda root=root: not alive(root))


def test_from_sounds_to_new_ones_in_three_acts_by_keyboard_alone(project: Path, chromium: Any, tmp_path: Path) -> None:
    make_sounds(tmp_path / "kit", 5)
    with served(project, str(tmp_path / "kit"), "--no-browser", command="start", forked=True) as server:
        watched = Watched(chromium, server)
        page = watched.open("Start")
        page.get_by_text("All 5 sounds can be used").wait_for()
        page.get_by_text(re.compile(r"Sketch \(about")).wait_for()
        watched.press(page.get_by_label(re.compile("Sketch")), "Space")
        watched.press(page.locator("#start-go"))
        bar = page.locator("#start-live").get_by_role("progressbar")
        bar.wait_for(timeout=LONG)
        page.get_by_text("left, of").wait_for()
        page.reload()
        bar.wait_for(timeout=LONG)
        cards = page.locator("#start-live .d-card")
        cards.first.wait_for(timeout=LONG)
        with page.expect_response(lambda answer: "/media/" in answer.url) as answer:
            watched.press(cards.first.locator(".d-play"))
        assert answer.value.status in (200, 206)
        page.get_by_text("16 new sounds of kit-sketch.").wait_for(timeout=LONG)
        page.reload()
        wait(lambda: page.locator("#start-live .d-wall").first.locator(".d-card").count() == 16)
        # One sound after the other is played.
        plays = page.locator("#start-live .d-wall").first.locator(".d-play")
        watched.press(page.get_by_role("button", name="Hear all").first)
        wait(lambda: "d-on" in (plays.nth(1).get_attribute("class") or ""))
        watched.press(page.locator("#start-more"))
        wait(lambda: "kit-sketch" in page.locator("#generate-model input").input_value())
        # The run that was begun is the one that the other tabs look at.
        watched.show("Train")
        wait(lambda: page.locator("#train-run input").input_value().startswith("kit-"))
        watched.show("Start")
        watched.press(cards.first.get_by_text("To the codes"))
        page.locator("#codes-grid .cells").wait_for()
        assert page.locator(".toast-body").count() == 0
        assert (watched.elsewhere, watched.errors) == ([], [])


def test_there_is_something_to_hear_before_the_page_is_loaded(project: Path, chromium: Any) -> None:
    with served(project, command="start", loaded=False) as server:
        watched = Watched(chromium, server)
        page = watched.page
        page.goto(f"{server.url}/?token={server.token}")
        page.get_by_text("The page is opening").wait_for()
        wait(lambda: page.locator("distill-start .d-card").count() == 6)
        assert page.get_by_role("tab").count() == 0
        assert page.locator(".d-acts").first.is_hidden()
        play = page.locator("distill-start .d-play").nth(1)
        play.click()
        wait(lambda: "d-on" in (play.get_attribute("class") or ""))
        page.get_by_role("tab", name="Library").wait_for()
        page.get_by_text("Drop a few sounds of your own").wait_for()
        assert (watched.elsewhere, watched.errors) == ([], [])


def test_sounds_that_are_dropped_are_there_after_a_reload(project: Path, chromium: Any, tmp_path: Path) -> None:
    make_sounds(tmp_path / "kit", 5)
    with served(project, forked=True) as server:
        watched = Watched(chromium, server)
        page = watched.open("Start")
        page.get_by_text("Drop a few sounds of your own").wait_for()
        # There is something to hear before anybody does anything.
        wait(lambda: page.locator("#start-live .d-card").count() == 6)
        page.locator("#start-files input[type=file]").set_input_files(sorted((tmp_path / "kit").iterdir()))
        page.get_by_text("All 5 sounds can be used").wait_for()
        page.reload()
        page.get_by_text("All 5 sounds can be used").wait_for()
        assert len(list((project / "data" / "my-sounds").iterdir())) == 5
        page.locator("#start-other").click()
        page.get_by_text("Drop a few sounds of your own").wait_for()
        assert (watched.elsewhere, watched.errors) == ([], [])
