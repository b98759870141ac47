"""The tab Library with models in the registry: a real server, a real registry, working models."""

from pathlib import Path
from typing import Any

import pytest

from browser_util import Watched, unfold
from database_util import put_database
from distill.registry.registry import find_version, versions
from page_util import Served, wait
from registry_util import make_folder, model_file

pytest.importorskip("gradio")
pytestmark = [
    pytest.mark.browser,
    # MLflow uses what SQLAlchemy will remove.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model that may be promoted, one that may not, and one that may all the same."""
    # With a database that is there already, the registry is read while somebody presses.
    root = put_database(make_folder(tmp_path_factory.mktemp("library") / "project"))
    model_file(root / "models" / "bells.distill")
    model_file(root / "models" / "copies.distill", verdict="fail", weights=1, lineage="c")
    model_file(root / "models" / "parrot.distill", verdict="warn", weights=2, lineage="d")
    return root


def details(watched: Watched, name: str) -> None:
    """Open the details of a model."""
    cards = watched.page.locator("#library-cards .d-card")
    cards.filter(has=watched.page.get_by_role("heading", name=name, exact=True)).get_by_text("Details").click()
    watched.page.locator(".d-details h3", has_text=name).wait_for()


def place(watched: Watched, words: str) -> None:
    """Wait until that file or version is chosen under Where."""
    wait(lambda: words in watched.page.locator("#library-details").get_by_label("Where").input_value())


def test_two_models_are_heard_by_the_same_seeds(server: Served, chromium: Any) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Library")
    cards = page.locator("#library-cards .d-card")
    wait(lambda: cards.count() == 3)
    assert not page.locator("#library-hear-both").is_visible()
    for card in cards.all()[:2]:
        card.get_by_text("Compare", exact=True).click()
        card.get_by_text("Compared").wait_for()
    page.locator("#library-hear-both").click()
    rows = page.locator("#library-heard-both section")
    wait(lambda: rows.count() == 2)
    first = rows.first.locator(".d-sound").first
    first.wait_for()
    assert (first.get_attribute("aria-label") or "").startswith("models/bells.distill, seed 0, ")
    with page.expect_response(lambda answer: "/media/" in answer.url) as answer:
        first.locator(".d-wave-button").click()
    assert answer.value.status in (200, 206)
    assert (watched.elsewhere, watched.errors) == ([], [])


def test_versions_are_promoted_saved_imported_compared_and_deleted(
    server: Served, chromium: Any, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    watched = Watched(chromium, server)
    page = watched.open("Library")
    cards = page.locator("#library-cards .d-card")
    wait(lambda: cards.count() == 3)

    details(watched, "bells")
    place(watched, "models/bells.distill")
    page.locator("#library-register").click()
    place(watched, "bells/1")
    # A version whose weights also lie in a file is one choice with it, and stays chosen.
    page.locator("#library-use").click()
    page.locator(".toast-body", has_text="now use models/bells.distill").wait_for()
    for tab in ("Generate", "Codes", "Generate"):
        watched.show(tab)
        chosen = page.locator(f"#{tab.lower()}-model input")
        # The message comes before what it tells of.
        wait(lambda shown=chosen: "models/bells.distill" in shown.input_value())
        page.wait_for_timeout(500)
        assert "models/bells.distill" in chosen.input_value()
    watched.show("Library")
    place(watched, "bells/1")
    page.locator("#library-promote").click()
    page.locator(".toast-body", has_text="bells@champion is bells/1").wait_for()
    assert "champion" in find_version("bells/1", project).aliases
    cards.get_by_text("@champion").wait_for()

    with page.expect_download() as download:
        page.locator("#library-download").click()
    assert download.value.suggested_filename == "bells.distill"
    saved = tmp_path / "saved.distill"
    download.value.save_as(saved)
    assert saved.read_bytes() == (project / "models" / "bells.distill").read_bytes()

    # What speaks against a promotion is asked about first, where anybody may overrule it.
    question = page.locator("#library-question")
    details(watched, "copies")
    page.locator("#library-register").click()
    place(watched, "copies/1")
    page.locator("#library-promote").click()
    page.locator(".toast-body", has_text="it memorized its sounds").wait_for()
    assert not question.is_visible()
    details(watched, "parrot")
    page.locator("#library-register").click()
    place(watched, "parrot/1")
    page.locator("#library-promote").click()
    question.get_by_text("memorization verdict is warn").wait_for()
    page.locator("#library-no").click()
    question.wait_for(state="hidden")
    assert "champion" not in find_version("parrot/1", project).aliases
    page.locator("#library-promote").click()
    page.get_by_role("button", name="Promote all the same").click()
    page.locator(".toast-body", has_text="parrot@champion is parrot/1").wait_for()
    assert "champion" in find_version("parrot/1", project).aliases

    for card in cards.all()[:2]:
        card.get_by_text("Compare", exact=True).click()
        card.get_by_text("Compared").wait_for()
    differences = page.locator("#library-differences")
    cells = differences.get_by_role("row", name="verdict").locator("td")
    wait(lambda: {"pass", "fail"} <= set(cells.all_inner_texts()))

    # A version without a file of its own is kept as one again, and used in between.
    (project / "models" / "bells.distill").unlink()
    page.reload()
    watched.show("Library")
    cards.get_by_text("bells/1 @").wait_for()
    details(watched, "bells")
    place(watched, "bells/1")
    page.locator("#library-use").click()
    page.get_by_text("now use bells/1").wait_for()
    page.get_by_role("tab", name="Generate", selected=True).wait_for()
    watched.show("Library")
    unfold(page, "Import a model file")
    page.locator("#library-name").locator("input, textarea").fill("chimes")
    page.set_input_files("#library-file input[type=file]", saved)
    page.locator("#library-import").click()
    page.locator(".toast-body", has_text="Imported as models/chimes.distill.").wait_for()
    assert (project / "models" / "chimes.distill").read_bytes() == saved.read_bytes()

    details(watched, "parrot")
    place(watched, "parrot/1")
    page.locator("#library-delete").click()
    question.get_by_text("Delete parrot/1 for good? It is the one in use (champion)").wait_for()
    assert len(versions(project, "parrot")) == 1
    page.locator("#library-yes").click()
    page.locator(".toast-body", has_text="Deleted parrot/1").wait_for()
    wait(lambda: not versions(project, "parrot"))
    assert (project / "models" / "parrot.distill").is_file()
    assert "Traceback" not in page.content()
    assert (watched.elsewhere, watched.errors) == ([], [])
