"""Generate, Codes and Library in a browser: a real server, a real model of random weights."""

import json
from pathlib import Path
from typing import Any

import pytest

from browser_util import Watched, unfold
from distill.audio.sound import read_sound
from distill.codes.file import read_grid
from distill.generation.sidecar import read_sidecar
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from page_util import Served, wait
from registry_util import make_folder, model_file
from sounds_util import save, tone

pytest.importorskip("gradio")
pytestmark = pytest.mark.browser

MINE, OTHER = "#codes-grid distill-grid", "#codes-other distill-grid"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_folder(tmp_path_factory.mktemp("studio") / "project")
    model_file(project / "models" / "bells.distill")
    for number, hertz in enumerate((330.0, 880.0)):
        save(project / f"tone{number}.wav", tone(1.4, hertz))
    return project


def view(watched: Watched, grid: str = MINE) -> Any:
    return watched.page.evaluate(f"document.querySelector('{grid}')?.view ?? null")


def after(watched: Watched, act: Any, grid: str = MINE) -> Any:
    """The view that follows on what `act` does."""
    before = (view(watched, grid) or {"version": -1})["version"]
    act()
    return wait(lambda: (found := view(watched, grid)) and found["version"] > before and found, 30)


def open_file(watched: Watched, path: Path, where: str = "#codes-file", grid: str = MINE) -> Any:
    return after(watched, lambda: watched.page.set_input_files(f"{where} input[type=file]", path), grid)


def codes_tab(chromium: Any, server: Served, **options: Any) -> Watched:
    watched = Watched(chromium, server, **options)
    watched.open("Codes")
    chosen(watched, "#codes-model")
    return watched


def chosen(watched: Watched, choice: str) -> None:
    """Wait until a model is chosen."""
    wait(lambda: "bells" in watched.page.locator(f"{choice} input").input_value())


def set_code(watched: Watched, code: int) -> Any:
    number = watched.page.locator(f"{MINE} input[type=number]")
    number.fill(str(code))
    return after(watched, lambda: number.press("Enter"))


def test_a_sound_is_generated_heard_and_goes_to_the_codes(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Generate")
    chosen(watched, "#generate-model")
    page.get_by_label("Number of sounds").first.fill("2")
    page.get_by_label("Duration").first.fill("0.7")
    page.get_by_label("Seed").first.fill("5")
    page.locator("#generate-go").click()
    cards = page.locator("#generate-cards .d-card")
    wait(lambda: cards.count() == 2, 60)
    page.locator("#generate-status").get_by_text("2 sounds in").wait_for()
    assert cards.locator("h3").all_inner_texts() == ["bells_0005", "bells_0006"]
    for address in (cards.first.locator("img").get_attribute("src"), cards.first.get_attribute("data-src")):
        assert page.request.get(f"{server.url}{address}").status == 200
    with page.expect_download() as download:
        cards.first.get_by_role("link", name="Download bells_0005.wav").click()
    assert read_sound(Path(download.value.path())).seconds == pytest.approx(0.7)
    [folder] = (project / "generated").iterdir()
    assert read_sidecar(folder / "bells_0005.wav.json").sound.seed == 5

    shown = after(watched, lambda: cards.nth(1).get_by_text("To the codes").click())
    page.locator(f"{MINE} .cells").wait_for()
    assert shown["name"] == "bells_0006.wav"
    assert shown["columns"] == 5
    assert (watched.elsewhere, watched.errors) == ([], [])


def test_a_cell_is_edited_undone_and_saved(server: Served, chromium: Any, project: Path) -> None:
    watched = codes_tab(chromium, server)
    page = watched.page
    start = open_file(watched, project / "tone0.wav")
    assert start["levels"] == ["Structure", "Detail"]
    cells = page.locator(f"{MINE} .cells")
    cells.focus()
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowRight"):
        page.keyboard.press(key)
    place = page.evaluate(f"document.querySelector('{MINE}').selection")
    assert place == {"columns": [1, 3], "bands": [start["bands"] - 2], "levels": [0]}
    other = (start["codes"][0] + 1) % start["size"]
    edited = set_code(watched, other)
    changed = {index for index, code in enumerate(edited["codes"]) if code != start["codes"][index]}
    row = [(column * start["bands"] + place["bands"][0]) * 2 for column in (1, 2)]
    assert changed <= set(row)
    assert [edited["codes"][index] for index in row] == [other, other]
    assert edited["clip"].startswith("data:audio/wav")
    assert "set to" in edited["undo"]

    # No code is none.
    page.locator(f"{MINE} input[type=number]").fill("")
    page.locator(f"{MINE} input[type=number]").press("Enter")
    assert page.locator(f"{MINE} input[type=number]").input_value() == str(other)

    cells.focus()
    assert after(watched, lambda: page.keyboard.press("Control+z"))["codes"] == start["codes"]
    assert after(watched, lambda: page.keyboard.press("Control+Shift+z"))["codes"] == edited["codes"]
    assert after(watched, lambda: page.keyboard.press("Enter"))["clip"]
    played = after(watched, lambda: page.keyboard.press(" "))
    sound = page.request.get(f"{server.url}{played['sound']}", headers={"Range": "bytes=0-99"})
    assert sound.status == 206

    with page.expect_download() as download:
        page.locator("#codes-save-grid").click()
    assert download.value.suggested_filename == "tone0-codes.json"
    saved = project / "saved.json"
    download.value.save_as(saved)
    assert read_grid(saved).grid.codes.ravel().tolist() == edited["codes"]
    with page.expect_download() as download:
        page.locator("#codes-save-sound").click()
    assert read_sound(Path(download.value.path())).seconds == pytest.approx(1.4)

    page.reload()
    watched.show("Codes")
    chosen(watched, "#codes-model")
    loaded = open_file(watched, saved)
    assert (loaded["codes"], loaded["undo"]) == (edited["codes"], edited["undo"])
    assert (watched.elsewhere, watched.errors) == ([], [])


def test_keys_in_quick_succession_are_each_heeded(server: Served, chromium: Any, project: Path) -> None:
    watched = codes_tab(chromium, server)
    page = watched.page
    start = open_file(watched, project / "tone0.wav")
    page.locator(f"{MINE} .cells").focus()
    # The highest band of the first level.
    place = (start["bands"] - 1) * len(start["levels"])
    key = "+" if start["codes"][place] < start["size"] - 6 else "-"
    for _ in range(6):
        page.keyboard.press(key)
    wanted = start["codes"][place] + (6 if key == "+" else -6)
    wait(lambda: view(watched)["codes"][place] == wanted)
    # Neither what is heard in between nor another cell makes a difference.
    back = {"+": "-", "-": "+"}[key]
    for pressed in (back, "Enter", back, "ArrowRight", "+", "ArrowLeft", back):
        page.keyboard.press(pressed)
    wanted += -3 if key == "+" else 3
    wait(lambda: view(watched)["codes"][place] == wanted)
    # What a field took makes room for the next, and what was edited can be had back.
    open_file(watched, project / "tone1.wav")
    returned = after(watched, page.get_by_role("button", name="Back to tone0.wav").click)
    assert returned["codes"][place] == wanted
    page.get_by_role("button", name="Back to tone1.wav").wait_for()
    assert (watched.elsewhere, watched.errors) == ([], [])


def test_grids_are_blended_and_swapped_and_levels_renamed_and_blended_each_by_itself(
    server: Served, chromium: Any, project: Path
) -> None:
    watched = codes_tab(chromium, server)
    page = watched.page
    mine = open_file(watched, project / "tone0.wav")
    unfold(page, "Swap and blend")
    theirs = open_file(watched, project / "tone1.wav", "#codes-second-file", OTHER)
    assert mine["codes"] != theirs["codes"]
    page.locator(f"{MINE} .cells").focus()
    page.keyboard.press("Control+a")
    swapped = after(watched, lambda: page.locator("#codes-swap").click())
    assert (swapped["codes"], wait(lambda: view(watched, OTHER))["codes"]) == (theirs["codes"], mine["codes"])
    page.locator(f"{MINE} .cells").focus()
    undone = after(watched, lambda: page.keyboard.press("Control+z"))
    assert undone["codes"] == mine["codes"]
    wait(lambda: view(watched, OTHER)["codes"] == theirs["codes"])
    after(watched, lambda: page.keyboard.press("Control+Shift+z"))
    wait(lambda: view(watched, OTHER)["codes"] == mine["codes"])
    page.get_by_label("Blend").first.fill("1")
    blended = after(watched, lambda: page.locator("#codes-blend").click())
    assert blended["codes"] == mine["codes"]

    mine = open_file(watched, project / "tone0.wav")
    unfold(page, "Freeze and rename levels")
    page.locator("#codes-level input").click()
    page.get_by_role("option", name="Detail").click()
    page.locator("#codes-label").locator("input, textarea").fill("Sparkle")
    renamed = after(watched, lambda: page.locator("#codes-rename").click())
    assert (renamed["levels"], renamed["codes"]) == (["Structure", "Sparkle"], mine["codes"])
    page.get_by_label("Sparkle", exact=True).first.wait_for()

    theirs = open_file(watched, project / "tone1.wav", "#codes-second-file", OTHER)
    page.locator(f"{MINE} .cells").focus()
    page.keyboard.press("Control+a")
    page.locator("#codes-single input").check()
    weights = page.locator("#codes-weights input[type=number]")
    wait(lambda: weights.count() == 2)
    for weight, value in zip(weights.all(), "01", strict=True):
        weight.fill(value)
    blended = after(watched, lambda: page.locator("#codes-blend").click())
    assert blended["codes"][0::2] == mine["codes"][0::2]
    assert blended["codes"][1::2] == theirs["codes"][1::2]
    for _ in range(2):
        undone = after(watched, lambda: page.get_by_role("button", name="Undo").first.click())
    assert (undone["levels"], undone["codes"]) == (["Structure", "Detail"], mine["codes"])
    page.locator("#codes-weights").get_by_text("Detail").wait_for()
    assert (watched.elsewhere, watched.errors) == ([], [])


def test_a_grid_shows_its_sound_and_what_is_dragged_and_is_blended_with_a_take(
    server: Served, chromium: Any, project: Path
) -> None:
    list(
        produce(project / "models" / "bells.distill", Request(seconds=0.5), Destination(project / "generated"), seed=9)
    )
    watched = codes_tab(chromium, server)
    page, mouse = watched.page, watched.page.mouse
    start = open_file(watched, project / "tone0.wav")
    # A spectrogram has many colours, on the columns of the cells.
    colours = f"""() => {{
      const canvas = document.querySelector("{MINE} .sound");
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const colours = Array.from({{ length: pixels.length / 4 }}, (_, at) => pixels.slice(4 * at, 4 * at + 3).join());
      return new Set(colours).size;
    }}"""
    wait(lambda: page.evaluate(colours) > 50)
    sound, cells = (page.locator(f"{MINE} .{name}").bounding_box() for name in ("sound", "cells"))
    assert sound
    assert cells
    assert (sound["x"], sound["width"]) == (cells["x"], cells["width"])
    # What is dragged on it are columns, and on the cells a region.
    mouse.move(sound["x"] + 150, sound["y"] + 20)
    mouse.down()
    mouse.move(sound["x"] + 250, sound["y"] + 20, steps=3)
    mouse.up()
    found = page.evaluate(f"document.querySelector('{MINE}').selection")
    assert (found["bands"], found["levels"]) == (None, None)
    mouse.move(cells["x"] + 110, cells["y"] + 5)
    mouse.down()
    mouse.move(cells["x"] + 300, cells["y"] + 30, steps=4)
    mouse.up()
    found = page.evaluate(f"document.querySelector('{MINE}').selection")
    first, last = found["columns"]
    assert last - first > 1
    assert found["levels"] == [0]
    assert found["bands"] == list(range(start["bands"] - 3, start["bands"]))
    wait(lambda: "columns" in page.locator(f"{MINE} .where").inner_text())

    unfold(page, "Swap and blend")
    take = page.locator("#codes-second-take input")
    take.click()
    take.fill("bells_0009")
    theirs = after(watched, lambda: page.get_by_role("option", name="bells_0009").click(), OTHER)
    assert theirs["name"] == "bells_0009.wav"
    page.locator(f"{MINE} .cells").focus()
    page.keyboard.press("Control+a")
    page.get_by_label("Blend").first.fill("1")
    blended = after(watched, lambda: page.locator("#codes-blend").click())
    assert blended["codes"][: len(theirs["codes"])] == theirs["codes"]
    assert (watched.elsewhere, watched.errors) == ([], [])


def test_a_region_is_dragged_with_a_finger(server: Served, chromium: Any, project: Path) -> None:
    watched = codes_tab(chromium, server, viewport={"width": 390, "height": 800}, has_touch=True)
    start = open_file(watched, project / "tone0.wav")
    box = watched.page.locator(f"{MINE} .cells").bounding_box()
    assert box
    finger = watched.context.new_cdp_session(watched.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": box["x"] + x, "y": box["y"] + y} for x, y in points]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    heard = after(watched, lambda: watched.page.touchscreen.tap(box["x"] + 90, box["y"] + 5))
    assert heard["clip"]
    touch("touchStart", (90, 5))
    # A finger that sets out sideways selects; up and down it scrolls the page.
    for x, y in ((120, 5), (150, 15), (170, 30)):
        touch("touchMove", (x, y))
    touch("touchEnd")
    found = watched.page.evaluate(f"document.querySelector('{MINE}').selection")
    assert found["columns"][1] - found["columns"][0] > 1
    assert found["bands"] == list(range(start["bands"] - 3, start["bands"]))


def test_two_browsers_do_not_disturb_each_other(server: Served, chromium: Any, project: Path) -> None:
    one, two = (codes_tab(chromium, server, apart=apart) for apart in (False, True))
    first, second = open_file(one, project / "tone0.wav"), open_file(two, project / "tone1.wav")
    edited = set_code(one, (first["codes"][0] + 1) % first["size"])
    assert view(two)["codes"] == second["codes"]
    assert view(two)["undo"] is None
    other = set_code(two, (second["codes"][0] + 1) % second["size"])
    assert view(one)["codes"] == edited["codes"]
    assert other["name"] == "tone1.wav"


def test_what_cannot_be_done_is_one_line(server: Served, chromium: Any, project: Path) -> None:
    (project / "broken.json").write_text(json.dumps({"schema": 1, "format": "distill_codes"}))
    save(project / "silent.wav", tone(0.3, 440.0) * 0)
    watched = codes_tab(chromium, server)
    field = "#codes-file input[type=file]"
    for name, words in (("broken.json", "cannot be used"), ("silent.wav", "silent")):
        watched.page.set_input_files(field, project / name)
        toast = watched.page.locator(".toast-body", has_text=words)
        toast.wait_for()
        assert name in toast.inner_text()
        assert "Traceback" not in toast.inner_text()
        assert str(project) not in toast.inner_text()
        assert view(watched) is None
        # Another file can go into the field.
        watched.page.locator(field).wait_for(state="attached")
        covers = watched.page.locator("#codes-file .wrap.default")
        assert not any(cover.is_visible() for cover in covers.all())
    assert open_file(watched, project / "tone0.wav")["name"] == "tone0.wav"


def test_the_library_shows_imports_saves_and_deletes(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Library")
    cards = page.locator("#library-cards .d-card")
    wait(lambda: cards.count() == 1)
    unfold(page, "Import a model file")
    other = model_file(
        project.parent / "other.distill", name="drums", verdict="warn", weights=1, lineage="c", data="cd"
    )
    assert page.locator("#library-import").is_disabled()
    page.set_input_files("#library-file input[type=file]", other)
    # The name is taken when the file is imported, not when it is dropped.
    wait(lambda: page.locator("#library-import").is_enabled())
    page.locator("#library-name").locator("input, textarea").fill("drums")
    page.locator("#library-import").click()
    wait(lambda: cards.count() == 2)
    assert (project / "models" / "drums.distill").is_file()

    for card in cards.all():
        card.get_by_text("Compare").click()
    page.locator("#library-differences").get_by_text("data_digest").wait_for()
    page.locator("#library-search").locator("input, textarea").fill("drums")
    wait(lambda: cards.count() == 1)
    cards.get_by_text("Details").click()
    page.locator(".d-details").get_by_text("warn: a reason").wait_for()

    with page.expect_download() as download:
        page.locator("#library-download").click()
    assert Path(download.value.path()).read_bytes() == other.read_bytes()
    # A file is registered, and only what is registered is promoted.
    wait(lambda: page.locator("#library-register").is_enabled() and page.locator("#library-promote").is_disabled())
    page.locator("#library-use").click()
    page.get_by_text("now use models/drums.distill").wait_for()
    wait(lambda: "drums" in page.locator("#generate-model input").input_value())
    watched.show("Library")

    page.locator("#library-delete").click()
    page.locator("#library-question").get_by_text("for good?").wait_for()
    page.locator("#library-no").click()
    page.locator("#library-question").wait_for(state="hidden")
    page.locator("#library-delete").click()
    page.locator("#library-yes").click()
    wait(lambda: not (project / "models" / "drums.distill").exists())
    wait(lambda: page.get_by_text("No model matches").is_visible())
    assert (watched.elsewhere, watched.errors) == ([], [])


def test_a_sound_goes_on_and_a_part_is_made_anew(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Generate")
    chosen(watched, "#generate-model")
    page.get_by_label("Number of sounds").first.fill("1")
    page.get_by_label("Duration").first.fill("0.5")
    cards = page.locator("#generate-cards .d-card")
    for count, (words, name) in enumerate(
        (("Continue a sound", "tone0_continue_0000"), ("Fill a part", "tone0_fill_0000")), 1
    ):
        page.get_by_label(words).check()
        if count == 1:
            page.locator("#generate-given input[type=file]").set_input_files(project / "tone0.wav")
            page.locator("#generate-given audio, #generate-given .waveform-container").first.wait_for(state="attached")
        page.locator("#generate-go").click()
        wait(lambda count=count: cards.count() == count, 60)
        assert name in cards.locator("h3").all_inner_texts()
    assert (watched.elsewhere, watched.errors) == ([], [])
