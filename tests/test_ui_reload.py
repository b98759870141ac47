"""A page that is loaded anew shows what was on it; what fails leaves nothing behind."""

from pathlib import Path
from typing import Any

import pytest

from browser_util import Watched, unfold
from distill.library.takes import Takes
from page_util import Served, free_port, make_sounds, served, wait
from registry_util import make_folder, model_file
from sounds_util import save, tone

pytest.importorskip("gradio")
pytestmark = pytest.mark.browser

GRID = "#codes-grid distill-grid"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_folder(tmp_path_factory.mktemp("reload") / "project")
    model_file(project / "models" / "bells.distill")
    save(project / "tone.wav", tone(1.4, 330.0))
    make_sounds(project / "kit", 4)
    return project


def codes(page: Any) -> list[int] | None:
    found = page.evaluate(f"document.querySelector('{GRID}')?.view?.codes ?? null")
    return None if found is None else list(found)


def chosen(page: Any, choice: str) -> None:
    wait(lambda: "bells" in page.locator(f"{choice} input").input_value())


def make_one(watched: Watched) -> None:
    """Let the tab Generate make one sound."""
    page = watched.page
    page.get_by_label("Number of sounds").first.fill("1")
    wait(lambda: page.locator("#generate-go").is_enabled())
    page.locator("#generate-go").click()
    page.locator("#generate-status").get_by_text("1 sound in").wait_for()


def edit_a_grid(watched: Watched, sound: Path) -> tuple[list[int], list[int]]:
    """Open a sound in the tab Codes and change its first code; all codes before and after."""
    page, number = watched.page, watched.page.locator(f"{GRID} input[type=number]")
    watched.show("Codes")
    chosen(page, "#codes-model")
    page.set_input_files("#codes-file input[type=file]", sound)
    first = wait(lambda: codes(page))
    number.fill(str((first[0] + 1) % 16))
    number.press("Enter")
    return first, wait(lambda: (now := codes(page)) != first and now)


def test_a_reload_loses_no_takes_edits_or_dropped_sounds(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Data")
    page.locator("#data-files input[type=file]").set_input_files(sorted((project / "kit").glob("*.wav")))
    page.get_by_text("4 of 4 files").wait_for()
    watched.show("Generate")
    chosen(page, "#generate-model")
    page.get_by_label("Duration").first.fill("0.5")
    make_one(watched)
    first, edited = edit_a_grid(watched, project / "tone.wav")

    page.reload()
    watched.show("Data")
    page.get_by_text("4 of 4 files").wait_for()
    watched.show("Generate")
    page.locator("#generate-cards .d-card h3", has_text="bells_0000").wait_for()
    watched.show("Codes")
    wait(lambda: codes(page) == edited)
    page.locator("#codes-said").get_by_text("1 edit done").wait_for()
    page.reload()
    # The tab in front is the one that was; its grid comes a moment later.
    page.locator(f"{GRID} .cells").focus()
    wait(lambda: codes(page) == edited)
    page.keyboard.press("Control+z")
    wait(lambda: codes(page) == first)
    assert watched.errors == []
    # Another tab of the browser has a desk of its own, also one that is a copy of this one.
    name = page.evaluate("sessionStorage.getItem('distill-tab')")
    other = watched.context.new_page()
    other.add_init_script(f"sessionStorage.setItem('distill-tab', '{name}')")
    other.goto(f"{server.url}/")
    other.get_by_role("tab", name="Codes", exact=True).click()
    other.locator("#codes-said").get_by_text("Open a sound").wait_for()
    assert codes(other) is None


def test_forms_are_as_they_were_left_and_edits_outlive_the_server(chromium: Any, project: Path) -> None:
    port = free_port()
    with served(project, port=port, forked=True) as server:
        watched = Watched(chromium, server)
        page = watched.open("Generate")
        chosen(page, "#generate-model")
        ending = page.get_by_label("Where the model ends it")

        # How sounds end follows from the model, and is told a moment after that is chosen.
        def picked() -> bool:
            ending.click()
            page.wait_for_timeout(500)
            return bool(ending.is_checked())

        wait(picked)
        page.get_by_label("Temperature").first.fill("0.4")
        make_one(watched)
        page.get_by_label("Number of sounds").first.fill("7")
        watched.show("Train")
        page.locator("#train-name").locator("input, textarea").fill("mine")
        page.get_by_label("Only to rebuild sounds").check()
        first, edited = edit_a_grid(watched, project / "tone.wav")
        # The server writes a moment later what was named, and what was edited.
        written = ('"name":"mine"', '"kind":"set"')
        wait(lambda: any(all(each in note.read_text() for each in written) for note in notes(project)))
        page.reload()
        left_as_they_were(watched)
        server.process.kill()
        server.process.wait()
    page.evaluate("document.body.dataset.before = 'yes'")
    with served(project, port=port, forked=True) as server:
        # The page notices by itself.
        page.wait_for_function("!document.body.dataset.before")
        left_as_they_were(watched)
        watched.show("Codes")
        wait(lambda: codes(page) == edited)
        page.locator(f"{GRID} .cells").focus()
        page.keyboard.press("Control+z")
        wait(lambda: codes(page) == first)
        # A card that was found again does what it did.
        watched.show("Generate")
        card = page.locator("#generate-cards .d-card")
        wait(lambda: card.count() == 1)
        with page.expect_response(lambda answer: "/media/" in answer.url) as answer:
            card.locator(".d-wave-button").click()
        assert answer.value.status in (200, 206)
        assert not kept(project)
        card.locator("[data-act=keep]").click()
        wait(lambda: len(kept(project)) == 1)
        card.get_by_text("To the codes").click()
        wait(lambda: codes(page) not in (first, edited))


def kept(project: Path) -> list[str]:
    return [take.id for take in Takes(project).all() if take.note.kept]


def notes(project: Path) -> list[Path]:
    return list((project / ".distill" / "desks").glob("*/desk.json"))


def left_as_they_were(watched: Watched) -> None:
    page = watched.page
    watched.show("Train")
    wait(lambda: page.locator("#train-name").locator("input, textarea").input_value() == "mine")
    assert page.get_by_label("Only to rebuild sounds").is_checked()
    watched.show("Generate")
    wait(lambda: page.get_by_label("Number of sounds").first.input_value() == "7")
    assert page.get_by_label("Temperature").first.input_value() == "0.4"
    chosen(page, "#generate-model")
    page.wait_for_timeout(500)
    assert page.get_by_label("Where the model ends it").is_checked()


def test_sounds_are_made_to_the_end_after_a_reload_and_until_somebody_stops_it(
    server: Served, chromium: Any, project: Path
) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Generate")
    chosen(page, "#generate-model")
    cards, status = page.locator("#generate-cards .d-card"), page.locator("#generate-status")
    page.get_by_label("Number of sounds").first.fill("4")
    page.get_by_label("Duration").first.fill("10")
    page.get_by_label("After exactly this long").check()
    wait(lambda: page.locator("#generate-go").is_enabled())
    page.locator("#generate-go").click()
    cards.first.wait_for(timeout=240_000)
    page.reload()
    watched.show("Generate")
    wait(lambda: cards.count() == 4, 240)
    wait(lambda: page.locator("#generate-go").is_enabled() and page.locator("#generate-stop").is_disabled())
    page.get_by_label("Number of sounds").first.fill("16")
    page.locator("#generate-go").click()
    wait(lambda: cards.count() > 4, 240)
    page.locator("#generate-stop").click()
    status.get_by_text("Stopped: ").wait_for()
    assert 4 < cards.count() < 20
    wait(lambda: page.locator("#generate-go").is_enabled())
    assert watched.errors == []


def test_what_cannot_be_made_leaves_no_word_and_no_folder(server: Served, chromium: Any, project: Path) -> None:
    before = {*(project / "generated").glob("*")}
    save(project / "short.wav", tone(0.49, 330.0))
    watched = Watched(chromium, server)
    page = watched.open("Generate")
    chosen(page, "#generate-model")
    page.get_by_label("Fill a part").check()
    # Nothing was given: nothing can be made.
    wait(lambda: page.locator("#generate-go").is_disabled())
    page.locator("#generate-given input[type=file]").set_input_files(project / "short.wav")
    # The part is one of the sound.
    wait(lambda: page.locator("#generate-to input").input_value() == "0.49")
    assert page.locator("#generate-from input").input_value() == "0.24"
    page.locator("#generate-from input").fill("0.4")
    page.locator("#generate-to input").fill("0.3")
    wait(lambda: page.locator("#generate-go").is_enabled())
    page.locator("#generate-go").click()
    toast = page.locator(".toast-body", has_text="the end must be after the start")
    toast.wait_for()
    wait(lambda: "Making" not in page.locator("#generate-status").inner_text())
    assert {*(project / "generated").glob("*")} == before
    # What is told covers nothing that is pressed, and goes with the tab, or by itself.
    page.locator("#generate-again").click(trial=True)
    assert toast.evaluate("each => getComputedStyle(each).pointerEvents") == "none"
    assert toast.evaluate("each => each.getBoundingClientRect().bottom > innerHeight / 2")
    watched.show("Takes")
    toast.wait_for(state="detached")


def test_what_cannot_be_done_cannot_be_pressed(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Codes")
    chosen(page, "#codes-model")
    buttons = {name: page.locator(f"#codes-{name}") for name in ("save-sound", "save-grid", "rename", "blend", "swap")}
    unfold(page, "Freeze and rename levels")
    unfold(page, "Swap and blend")
    assert all(button.is_disabled() for button in buttons.values())
    page.set_input_files("#codes-file input[type=file]", project / "tone.wav")
    wait(lambda: buttons["save-sound"].is_enabled() and buttons["save-grid"].is_enabled())
    assert all(buttons[name].is_disabled() for name in ("rename", "blend", "swap"))
    page.set_input_files("#codes-second-file input[type=file]", project / "tone.wav")
    wait(lambda: buttons["blend"].is_enabled() and buttons["swap"].is_enabled())
    page.locator("#codes-level input").click()
    page.get_by_role("option", name="Detail").click()
    wait(lambda: buttons["rename"].is_enabled())
    for tab in ("Train", "Monitor"):
        watched.show(tab)
        panel = page.get_by_role("tabpanel").locator("visible=true")
        for name in ("Pause", "Resume", "Make sounds"):
            assert panel.get_by_role("button", name=name, exact=True).is_disabled()
