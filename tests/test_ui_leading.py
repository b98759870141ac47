"""Buttons that lead from one tab to the next, with what was just made chosen there."""

import re
from pathlib import Path
from typing import Any

import pytest

from browser_util import Watched, playwright
from distill.runs.folder import Order, write_order
from distill.stages.workspace import Workspace, write_report
from page_util import Served, make_sounds, wait
from registry_util import model_file

pytest.importorskip("gradio")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished training, whose model is not the newest one."""
    project = tmp_path_factory.mktemp("project")
    make_sounds(project / "kit", 4)
    make_sounds(project / "elsewhere", 3)
    model_file(project / "models" / "bells.distill")
    root = project / "runs" / "bells-run"
    write_order(root, Order("kit"), finished=True)
    write_report(Workspace(root), "assemble", {"model": "models/bells.distill", "digest": "0" * 64})
    model_file(project / "models" / "chimes.distill", weights=1, lineage="c")
    return project


def in_front(watched: Watched, tab: str) -> None:
    watched.page.get_by_role("tab", name=tab, exact=True, selected=True).wait_for()


def test_train_on_these_keeps_what_was_dropped_and_chooses_it(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Data")
    page.locator("#data-files input[type=file]").set_input_files(sorted((project / "kit").glob("*.wav")))
    page.get_by_text("4 of 4 files").wait_for()
    page.locator("#data-train").click()
    in_front(watched, "Train")
    sounds = page.locator("#train-sounds input")
    wait(lambda: "data/sounds-1" in sounds.input_value())
    assert len(list((project / "data" / "sounds-1").iterdir())) == 4
    # What lies in a folder is trained on where it is.
    watched.show("Data")
    folder = page.locator("#data-folder input")
    folder.fill("elsewhere")
    folder.press("Enter")
    page.locator("#data-check").click()
    page.get_by_text("3 of 3 files").wait_for()
    page.locator("#data-train").click()
    in_front(watched, "Train")
    wait(lambda: "elsewhere" in sounds.input_value())
    assert {each.name for each in (project / "data").iterdir()} == {"sounds-1"}
    # Another tab has chosen it, and it is there after a reload.
    wait(lambda: "elsewhere" in "".join(note.read_text() for note in project.glob(".distill/desks/*/desk.json")))
    page.reload()
    watched.show("Train")
    wait(lambda: "elsewhere" in sounds.input_value())
    assert (watched.elsewhere, watched.errors) == ([], [])


@pytest.mark.parametrize("tab", [pytest.param("Train", marks=pytest.mark.slow), "Monitor"])
def test_make_sounds_leads_to_generate_with_that_model(server: Served, chromium: Any, tab: str) -> None:
    watched = Watched(chromium, server)
    page = watched.open(tab)
    model = page.locator("#generate-model input")
    panel = page.get_by_role("tabpanel").locator("visible=true")
    use = panel.get_by_role("button", name="Make sounds", exact=True)
    wait(use.is_enabled)
    use.click()
    in_front(watched, "Generate")
    wait(lambda: "models/bells.distill" in model.input_value())
    wait(page.locator("#generate-go").is_enabled)
    # It stays chosen after a reload, also in a tab that is in front before the page has come back.
    page.reload()
    for name in ("Generate", "Codes"):
        watched.show(name)
        choice = playwright.expect(page.locator(f"#{name.lower()}-model input"))
        choice.to_have_value(re.compile("models/bells.distill"), timeout=90_000)
    page.wait_for_timeout(1000)
    assert "models/bells.distill" in model.input_value()
    assert (watched.elsewhere, watched.errors) == ([], [])
