"""The tab Takes in a browser: what was generated is found again, heard, kept, dropped, renamed, compared, exported."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from browser_util import Watched
from distill.generation.export import ExportSettings
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from distill.library.takes import Takes
from page_util import Served, wait
from registry_util import make_folder, model_file

pytest.importorskip("gradio")
pytestmark = pytest.mark.browser

CARDS = "#takes-list .d-entry"
# Notes which side begins to be heard, each time that one does.
HEARD = """() => {
  window.heard = [];
  for (const side of document.querySelectorAll(".d-side")) {
    let before = side.classList.contains("d-heard");
    new MutationObserver(() => {
      const now = side.classList.contains("d-heard");
      if (now && !before) window.heard.push(side.querySelector("strong").textContent);
      before = now;
    }).observe(side, { attributes: true, attributeFilter: ["class"] });
  }
}"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_folder(tmp_path_factory.mktemp("takes") / "project")
    model = model_file(project / "models" / "bells.distill")
    request = Request(seconds=3.0, finish=True)
    list(produce(model, request, Destination(project / "generated", ExportSettings()), count=3, seed=0))
    return project


def takes_tab(chromium: Any, server: Served, **options: Any) -> Watched:
    watched = Watched(chromium, server, **options)
    watched.open("Takes")
    watched.page.locator(CARDS).first.wait_for()
    return watched


def titles(watched: Watched) -> list[str]:
    return watched.page.locator(f"{CARDS} h3").all_inner_texts()


def playing(watched: Watched) -> str:
    """The name of what is heard now, of all players of the page."""
    return str(watched.page.evaluate("[...document.querySelectorAll('.d-heard')].map((e) => e.dataset.file).join()"))


def test_takes_are_played_kept_renamed_and_dropped_by_keys(server: Served, chromium: Any, project: Path) -> None:
    watched = takes_tab(chromium, server)
    page, cards = watched.page, watched.page.locator(CARDS)
    assert titles(watched) == ["bells_0002", "bells_0001", "bells_0000"]
    assert "3.00 s" in cards.first.inner_text()
    cards.first.focus()
    page.keyboard.press("ArrowRight")
    with page.expect_response(lambda answer: "/media/" in answer.url) as answer:
        page.keyboard.press(" ")
    assert answer.value.status in (200, 206)
    assert "bells_0001" in answer.value.url
    page.keyboard.press("f")
    wait(lambda: [take.id for take in Takes(project).all() if take.note.kept] == ["bells_0001.wav"])
    wait(lambda: page.evaluate("document.activeElement.dataset.id") == "bells_0001.wav")
    page.keyboard.press("r")
    page.keyboard.type("Bright bell")
    page.keyboard.press("Enter")
    wait(lambda: titles(watched) == ["bells_0002", "Bright bell", "bells_0000"])
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    wait(lambda: titles(watched) == ["bells_0002", "Bright bell"])
    assert (project / "generated" / "bells_0000.wav").is_file()
    # Found again after a reload.
    page.reload()
    watched.show("Takes")
    page.get_by_role("button", name="Kept (1)").click()
    wait(lambda: titles(watched) == ["Bright bell"])
    page.get_by_role("button", name="Bin (1)").click()
    wait(lambda: titles(watched) == ["bells_0000"])
    page.get_by_role("button", name="Take back").click()
    wait(lambda: not any(take.note.dropped for take in Takes(project).all()))
    assert watched.errors == []


def test_one_sound_at_a_time_is_heard_on_hover(server: Served, chromium: Any) -> None:
    watched = takes_tab(chromium, server)
    page, cards = watched.page, watched.page.locator(CARDS)
    # A browser plays nothing before somebody pressed something.
    page.get_by_label("Search takes").click()
    requested: list[str] = []
    page.on("request", lambda request: "/media/" in request.url and requested.append(request.url))
    cards.nth(0).hover()
    wait(lambda: any("bells_0002" in url for url in requested))
    cards.nth(2).hover()
    wait(lambda: any("bells_0000" in url for url in requested))
    assert "," not in playing(watched)
    page.get_by_label("Play on hover").uncheck()
    cards.nth(1).hover()
    page.wait_for_timeout(300)
    assert not any("bells_0001" in url for url in requested)
    page.get_by_label("Play on hover").check()


def test_two_takes_are_heard_in_turns_equally_loud_and_exported(server: Served, chromium: Any, tmp_path: Path) -> None:
    watched = takes_tab(chromium, server)
    page, cards = watched.page, watched.page.locator(CARDS)
    for number in (0, 2):
        cards.nth(number).get_by_role("button", name="Choose").click()
    sides = page.locator(".d-side")
    wait(lambda: sides.count() == 2)
    volumes = [float(side.get_attribute("data-volume") or 0) for side in sides.all()]
    assert max(volumes) == pytest.approx(1)
    assert all(0 < volume <= 1.0001 for volume in volumes)
    page.evaluate(HEARD)
    for heard in ("A", "AB", "ABA"):
        page.get_by_role("button", name="Play the other").click()
        wait(lambda heard=heard: page.evaluate("window.heard.join('')") == heard)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export 2 as zip").click()
    download.value.save_as(tmp_path / "out.zip")
    assert zipfile.ZipFile(tmp_path / "out.zip").namelist() == ["bells_0002.wav", "bells_0000.wav"]
    assert download.value.suggested_filename.endswith("-2-sounds.zip")
    # A card is dragged out as a file.
    told = cards.first.evaluate(
        """(card) => {
          const dataTransfer = new DataTransfer();
          card.dispatchEvent(new DragEvent("dragstart", { bubbles: true, dataTransfer }));
          return dataTransfer.getData("DownloadURL");
        }"""
    )
    assert told.startswith(f"audio/wav:bells_0002.wav:{server.url}/media/")
    assert (watched.elsewhere, watched.errors) == ([], [])


def test_a_take_goes_to_the_codes_and_more_like_it_are_made(server: Served, chromium: Any, project: Path) -> None:
    watched = takes_tab(chromium, server)
    page = watched.page
    before = len(Takes(project).all())
    page.locator(CARDS).first.get_by_role("button", name="Open its codes").click()
    page.locator("#codes-grid distill-grid .cells").wait_for()
    page.locator("#codes-said").get_by_text("bells_0002.wav").wait_for()
    watched.show("Takes")
    page.locator(CARDS).first.get_by_role("button", name="Make more like this").click()
    made = page.locator("#generate-cards .d-card")
    wait(lambda: made.count() == 4)
    assert made.first.locator("h3").inner_text().startswith("bells_0002_vary_")
    wait(lambda: len(Takes(project).all()) == before + 4)
    assert (watched.elsewhere, watched.errors) == ([], [])


def test_what_is_in_the_bin_is_not_exported_and_what_is_refused_is_said(
    server: Served, chromium: Any, project: Path
) -> None:
    watched = takes_tab(chromium, server)
    page, cards = watched.page, watched.page.locator(CARDS)
    for number in (0, 1):
        cards.nth(number).get_by_role("button", name="Choose").click()
    gone = cards.nth(1).get_attribute("data-id")
    assert gone
    cards.nth(0).get_by_role("button", name="Drop into the bin").click()
    export = page.get_by_role("button", name="Export 1 as zip")
    export.wait_for()
    (project / "generated" / gone).unlink()
    export.click()
    wait(lambda: page.locator("distill-takes .d-trouble").inner_text())
    # It stays until something else is done, however often the takes are read meanwhile.
    page.wait_for_timeout(3000)
    assert Path(gone).stem in page.locator("distill-takes .d-trouble").inner_text()
    # What is gone is not chosen any more.
    page.locator("[data-act=export]", has_text="Export as zip").wait_for()
    page.get_by_role("button", name="Bin (").press("Enter")
    page.get_by_role("button", name="Take back from the bin").wait_for()
    # Where the keyboard was, it still is.
    assert page.evaluate("document.activeElement.dataset.act") == "show-bin"
    assert page.get_by_role("button", name="Choose, to export").count() == 0
