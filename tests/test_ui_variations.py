"""On the page: variations, loops, what lies between sounds, the map, kits; and new sounds by the JSON API."""

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asking_util import write_askable
from browser_util import Watched, unfold
from distill.audio.sound import read_sound
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from page_util import Served, wait
from registry_util import make_folder
from sounds_util import save, tone

if TYPE_CHECKING:
    from starlette.testclient import TestClient

pytest.importorskip("gradio")

CARDS = "#takes-list .d-entry"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_folder(tmp_path_factory.mktemp("variations") / "project")
    model = write_askable(project / "models" / "kit.distill")
    list(produce(model, Request(seconds=0.4, finish=True), Destination(project / "generated"), count=3))
    return project


def said(project: Path) -> list[dict[str, Any]]:
    """What is known of every sound that was made."""
    found: list[dict[str, Any]] = [json.loads(path.read_text()) for path in (project / "generated").rglob("*.wav.json")]
    return found


def test_programs_ask_for_sounds_as_the_command_does(client: "TestClient", project: Path) -> None:
    wish = {"seconds": 0.3, "natural": True, "label": "hat", "best_of": 2}
    order = {"model": "models/kit.distill", "request": wish, "count": 2, "seed": 5}
    made = client.post("/api/generate", json=order).json()["sounds"]
    assert [each["seed"] for each in made] == [5, 6]
    assert all(each["got"]["label"] in ("hat", "kick") for each in made)
    vary = {"action": "vary", "strength": 0.5}
    order = {"model": "models/kit.distill", "request": vary, "sound": made[0]["id"]}
    [changed] = client.post("/api/generate", json=order).json()["sounds"]
    assert (project / "generated" / changed["id"]).is_file()
    assert changed["got"]["distance"] > 0
    for values, words in (
        ({"model": "models/kit.distill", "request": {"seconds": 0.3, "label": "tom"}}, "there is no label tom"),
        ({"model": "models/kit.distill", "request": {"secs": 1}}, "unknown parameter secs"),
        ({"model": "models/gone.distill", "request": {"seconds": 1}}, "is not there any more"),
        ({"model": "models/kit.distill", "request": {"seconds": 1e3}}, "of 300 s at once here"),
        ({"model": "models/kit.distill", "request": vary, "sound": "../secret.wav"}, "is not among"),
    ):
        refused = client.post("/api/generate", json=values)
        assert refused.status_code == 400
        assert words in refused.text


def test_the_map_lists_every_sound_with_its_places(client: "TestClient") -> None:
    found = client.get("/api/map").json()
    assert len(found["points"]) >= 3
    for point in found["points"]:
        assert {*point["places"]} == {*found["axes"]}
        assert point["kind"] == "generated"


def test_kits_and_folders_of_takes_that_are_not_there_are_refused(client: "TestClient", project: Path) -> None:
    for path in ("/api/takes/kit", "/api/takes/folder"):
        assert "not among" in client.post(path, json={"takes": ["../models/kit.distill"]}).text
        assert client.post(path, json={"takes": []}).status_code == 400
    assert not (project / "exports").exists()


@pytest.mark.browser
def test_a_label_and_a_knob_are_asked_for(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Generate")
    page.locator("#generate-asks").wait_for()
    page.locator("#generate-label input").click()
    page.get_by_role("option", name="hat").click()
    assert not page.get_by_label("number input for Brightness").is_visible()
    page.locator("#generate-knobs").get_by_label("Brightness").check()
    page.get_by_label("number input for Brightness").fill("0.9")
    page.get_by_label("number input for Number of sounds").fill("2")
    page.locator("#generate-go").click()
    wait(lambda: page.locator("#generate-cards .d-card").count() == 2)
    asked = [each["request"]["label"] for each in said(project) if each["request"].get("bright") == 0.9]
    assert asked == ["hat"] * 2
    page.wait_for_timeout(1000)
    page.reload()
    watched.show("Generate")
    wait(lambda: page.locator("#generate-label input").input_value() == "hat")
    wait(lambda: page.get_by_label("number input for Brightness").input_value() == "0.9")
    assert watched.errors == []


@pytest.mark.browser
def test_a_sound_is_varied_and_a_loop_is_made(server: Served, chromium: Any, project: Path, tmp_path: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Generate")
    page.locator("#generate-what").get_by_label("Vary a sound").check()
    page.locator("#generate-given input[type=file]").set_input_files(save(tmp_path / "mine.wav", tone(0.5)))
    page.get_by_label("number input for Strength").fill("0.6")
    page.locator("#generate-keep").get_by_label("its coarsest level").check()
    page.get_by_label("number input for Number of sounds").fill("2")
    go = page.locator("#generate-go")
    wait(go.is_enabled)
    go.click()
    wait(lambda: page.locator("#generate-cards .d-card").count() == 2)
    varied = [each for each in said(project) if each["given_file"] and each["given_file"]["path"] == "mine.wav"]
    assert [(each["request"]["strength"], each["request"]["keep"]) for each in varied] == [(0.6, "structure")] * 2
    assert "from the given one" in page.locator("#generate-cards .d-card").first.inner_text()
    page.locator("#generate-what").get_by_label("New sounds").check()
    unfold(page, "Bars and loops")
    page.get_by_label("Tempo").fill("150")
    page.get_by_label("number input for Bars").fill("1")
    page.locator("#generate-loop").get_by_label("Loop").check()
    wait(go.is_enabled)
    go.click()
    wait(lambda: page.locator("#generate-cards .d-card").count() == 4)
    [first, _] = [each for each in said(project) if each["request"].get("loop")]
    assert (first["request"]["bpm"], first["request"]["bars"], first["sound"]["frames"]) == (150.0, 1, 76_800)
    # More like one of them is a variation of it, beside it.
    page.locator("#generate-cards .d-card").first.get_by_role("button", name="More like this").click()
    wait(lambda: page.locator("#generate-cards .d-card").count() == 8)
    assert (
        sum(each["request"]["action"] == "vary" and each["request"]["strength"] == 0.5 for each in said(project)) >= 4
    )
    assert watched.errors == []


@pytest.mark.browser
def test_takes_become_a_kit_a_folder_and_what_lies_between(
    server: Served, chromium: Any, project: Path, tmp_path: Path
) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Takes")
    cards = page.locator(CARDS)
    page.get_by_label("Search takes").fill("kit_000")
    wait(lambda: cards.count() >= 3)
    page.get_by_role("button", name="Map", exact=True).click()
    points = page.locator(".d-point")
    wait(lambda: points.count() >= 3)
    # The key Tab passes all points in one step.
    assert page.locator('.d-point[tabindex="0"]').count() == 1
    for name in ("kit_0000", "kit_0001"):
        page.locator(f'.d-point[data-id="{name}.wav"]').click()
    wait(lambda: page.locator('.d-point[aria-pressed="true"]').count() == 2)
    before = points.first.evaluate("point => point.style.left")
    page.get_by_label("Across").select_option("bright")
    assert page.locator('.d-point[aria-pressed="true"]').count() == 2
    assert points.all()[0].evaluate("point => point.style.left") != before
    # B plays the one of the two chosen ones that is not heard.
    sides = page.locator(".d-side")
    wait(lambda: sides.count() == 2)
    heard = []
    for _ in range(2):
        cards.first.focus()
        page.keyboard.press("b")
        heard.append(page.evaluate("document.querySelector('.d-side.d-heard')?.dataset.file ?? ''"))
    assert len({*heard}) == 2
    with page.expect_download() as download:
        page.get_by_role("button", name="As kit").click()
    download.value.save_as(tmp_path / "kit.zip")
    with zipfile.ZipFile(tmp_path / "kit.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"project-kit.sfz", "drumkit.xml", "LICENSE.txt", "kit_0000-36.wav"} <= names
    # A double click is one.
    page.get_by_role("button", name="As folder").dblclick()
    wait(lambda: page.get_by_text("2 sounds copied to exports/sounds-1.").is_visible())
    assert sorted(path.name for path in (project / "exports" / "sounds-1").iterdir()) == [
        "kit_0000.wav",
        "kit_0001.wav",
    ]
    page.get_by_role("button", name="Between these").click()
    wait(lambda: page.locator("#generate-cards .d-card").count() >= 4)
    series = [each for each in said(project) if each["request"]["action"] == "morph"]
    assert sorted(each["request"]["weight"] for each in series) == [0.2, 0.4, 0.6, 0.8]
    assert not (project / "exports" / "sounds-2").exists()
    assert all(read_sound(path).seconds > 0.3 for path in (project / "generated").rglob("kit_0000_kit_0001_*.wav"))
    assert watched.errors == []
