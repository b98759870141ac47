"""Names of files are words on the page, whatever stands in them."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from browser_util import Watched, unfold
from page_util import Served, wait
from registry_util import make_folder, model_file
from sounds_util import save, tone

pytest.importorskip("gradio")
pytestmark = pytest.mark.browser

NAME = "<img src=x onerror=alert(1)> [b](javascript:alert(1)) *c* $d$ &lt;i&gt; 'e' \"f\""
LINK = "a[href^=javascript]"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_folder(tmp_path_factory.mktemp("names") / NAME)
    model_file(project / "models" / f"{NAME}.distill")
    (project / "models" / f"broken {NAME}.distill").write_text("no model")
    save(project / "data" / NAME / f"{NAME}.wav", tone(1.4))
    (project / "data" / NAME / f"broken {NAME}.wav").write_text("no sound")
    return project


def test_names_are_shown_as_they_are(server: Served, chromium: Any, project: Path, tmp_path: Path) -> None:
    watched = Watched(chromium, server)
    asked: list[str] = []
    watched.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page = watched.open("Data")

    def harmless() -> None:
        assert page.locator("img[src=x]").count() == 0
        assert page.locator(LINK).count() == 0
        assert asked == []

    page.locator("header.d-top").get_by_text(NAME).wait_for()
    folder = page.locator("#data-folder input")
    folder.fill(f"data/{NAME}")
    folder.press("Enter")
    page.locator("#data-check").click()
    page.locator(".d-sounds").get_by_text(f"{NAME}.wav", exact=True).wait_for()
    harmless()
    sound = project / "data" / NAME / f"{NAME}.wav"
    page.locator("#data-files input[type=file]").set_input_files([sound])
    page.get_by_text("1 of 1 files").wait_for()
    harmless()

    watched.show("Generate")
    wait(lambda: NAME in page.locator("#generate-model input").input_value())
    watched.show("Codes")
    wait(lambda: NAME in page.locator("#codes-model input").input_value())
    page.set_input_files("#codes-file input[type=file]", sound)
    page.locator("#codes-said b").wait_for()
    harmless()

    watched.show("Library")
    page.locator("#library-trouble").get_by_text(f"broken {NAME}.distill").wait_for()
    page.locator("#library-cards").get_by_text("Details").first.click()
    page.locator("#library-delete").click()
    page.locator("#library-question").get_by_text(NAME).wait_for()
    page.locator("#library-use").click()
    page.locator(".toast-body", has_text="now use").get_by_text(NAME).wait_for()
    harmless()
    page.get_by_role("tab", name="Generate", selected=True).wait_for()
    watched.show("Library")
    unfold(page, "Import a model file")
    other = tmp_path / f"{NAME}.distill"
    shutil.copy(project / "models" / f"broken {NAME}.distill", other)
    page.set_input_files("#library-file input[type=file]", other)
    page.locator("#library-import").click()
    page.locator(".toast-body").filter(has_not_text="now use").first.wait_for()
    harmless()
    assert watched.elsewhere == []
