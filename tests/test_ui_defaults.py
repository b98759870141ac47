"""Every control of the page as it is when nobody has touched it: folds closed, nothing chosen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser_util import Watched
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from distill.runs.folder import run_folders
from distill.runs.progress import alive
from page_util import Served, make_sounds, served, wait
from registry_util import make_folder, model_file

pytest.importorskip("gradio")

TABS = ("Start", "Data", "Train", "Monitor", "Generate", "Takes", "Codes", "Library")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("project")
    make_sounds(project / "data" / "kit")
    return project


@pytest.mark.browser
def test_a_training_starts_without_a_fold_opened(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Train")
    wait(lambda: "for 8 usable files" in page.locator("#train-codebook").locator("input, textarea").input_value())
    page.locator("#train-start").click()
    page.get_by_text("It goes on when this page is closed").wait_for()
    (root,) = run_folders(project)
    page.get_by_role("button", name="Stop", exact=True).locator("visible=true").click()
    wait(lambda: not alive(root))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page of a folder with nothing in it."""
    with served(tmp_path_factory.mktemp("empty"), forked=True) as server:
        yield server


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page of a folder with a model and a take, so that each list has something chosen."""
    project = make_folder(tmp_path_factory.mktemp("filled") / "project")
    model = model_file(project / "models" / "bells.distill")
    list(produce(model, Request(seconds=0.3), Destination(project / "generated")))
    with served(project, forked=True) as server:
        yield server


@pytest.mark.browser
def test_a_page_that_nobody_touches_draws_no_frames(empty: Served, chromium: Any) -> None:
    watched = Watched(chromium, empty)
    watched.page.add_init_script(
        """const before = window.requestAnimationFrame.bind(window);
        window.requestAnimationFrame = (call) => {
          window.frames_drawn = (window.frames_drawn ?? 0) + 1;
          return before(call);
        };"""
    )
    page = watched.open()

    def drawn() -> int:
        page.evaluate("window.frames_drawn = 0")
        page.wait_for_timeout(1000)
        return int(page.evaluate("window.frames_drawn"))

    wait(lambda: drawn() < 5, 60)
    # What is counted is counted.
    assert page.evaluate("new Promise((done) => requestAnimationFrame(() => done(window.frames_drawn)))") > 0


@pytest.mark.browser
@pytest.mark.parametrize(
    ("what", "folds"),
    [
        pytest.param("empty", "closed", marks=pytest.mark.slow),
        pytest.param("empty", "open", marks=pytest.mark.slow),
        ("filled", "open"),
    ],
)
def test_no_button_fails_unexpectedly(request: pytest.FixtureRequest, chromium: Any, what: str, folds: str) -> None:
    watched = Watched(chromium, request.getfixturevalue(what))
    page = watched.open()
    pressed = set()
    for tab in TABS:
        if tab != TABS[0]:
            page.reload()
        watched.show(tab)
        panel = page.get_by_role("tabpanel").locator("visible=true")
        panel.locator("button").first.wait_for(state="attached")
        if folds == "open":
            for fold in panel.locator("button.label-wrap").all():
                fold.evaluate("each => each.click()")
        page.wait_for_timeout(700 if what == "filled" else 300)
        # What one press takes away, such as a card, another need not find.
        buttons = ", ".join(f"button.{kind}:enabled" for kind in ("lg", "md", "sm", "d-button"))
        for button in panel.locator(buttons).element_handles():
            # Told errors lie over other buttons.
            pressed.add(button.inner_text().strip())
            button.evaluate("each => each.click()")
            page.wait_for_timeout(100)
        page.wait_for_timeout(700)
        told = " ".join(page.locator(".toast-body").all_inner_texts())
        assert "unexpected" not in told, (tab, told)
        assert watched.errors == [], tab
    assert {"Check", "Start"} <= pressed
