"""Removing trainings in a browser: by state, after a question."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser_util import Watched, unfold
from distill.processes.run_lock import hold
from distill.runs.folder import Order, run_folders, write_order
from page_util import Served, make_sounds, wait

pytest.importorskip("gradio")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a training that runs, one that was stopped, and three that have finished."""
    project = tmp_path_factory.mktemp("project")
    make_sounds(project / "data" / "kit")
    for name in ("done-a", "done-b", "done-c", "halted", "runs-on"):
        write_order(project / "runs" / name, Order("data/kit"), finished=name.startswith("done"))
    with hold(project / "runs" / "runs-on"):
        yield project


def choose(page: Any, name: str) -> None:
    page.locator("#train-run input").click()
    page.get_by_role("option", name=name, exact=True).click()
    page.locator("#train-live strong", has_text=name).wait_for()


def test_trainings_are_removed_by_state_and_after_a_question(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Train")
    remove, question = page.locator("#train-remove"), page.locator("#train-removing-question")
    # The one that runs comes first, and cannot be removed.
    page.locator("#train-live strong", has_text="runs-on").wait_for()
    unfold(page, "Remove trainings")
    page.locator("#train-prune").wait_for()
    assert remove.is_disabled()
    # Five are kept, and there are three.
    assert page.locator("#train-prune").is_disabled()
    choose(page, "halted")
    wait(remove.is_enabled)
    remove.click()
    question.get_by_text("It cannot be resumed afterwards").wait_for()
    page.locator("#train-remove-no").click()
    question.wait_for(state="hidden")
    assert len(run_folders(project)) == 5
    remove.click()
    page.locator("#train-remove-yes").click()
    page.locator(".toast-body", has_text="Removed halted").wait_for()
    # Another one is shown then.
    page.locator("#train-live strong", has_text="runs-on").wait_for()
    assert {root.name for root in run_folders(project)} == {"done-a", "done-b", "done-c", "runs-on"}
    page.locator("#train-keep input").fill("1")
    wait(page.locator("#train-prune").is_enabled)
    page.locator("#train-prune").click()
    question.get_by_text("Remove 2 finished trainings").wait_for()
    page.locator("#train-remove-yes").click()
    wait(lambda: len(run_folders(project)) == 2)
    wait(page.locator("#train-prune").is_disabled)
    assert "runs-on" in {root.name for root in run_folders(project)}
    # The page may have asked once more for what was just removed.
    assert [error for error in watched.errors if "404" not in error] == []
