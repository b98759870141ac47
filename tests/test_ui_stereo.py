"""On the page: how wide new sounds are, where they lie, and the level of space among the codes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from space_util import write_stereo

from browser_util import Watched, unfold
from distill.audio.sound import read_sound
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from model_example import write_example
from page_util import Served, wait
from registry_util import make_folder

if TYPE_CHECKING:
    from starlette.testclient import TestClient

pytest.importorskip("gradio")

STEREO, MONO = "models/wide.distill", "models/plain.distill"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_folder(tmp_path_factory.mktemp("stereo") / "project")
    (project / "models").mkdir(exist_ok=True)
    write_example(project / MONO)
    model = write_stereo(project / STEREO)
    list(produce(model, Request(seconds=0.4, finish=True), Destination(project / "generated"), count=2))
    return project


def said(project: Path) -> list[dict[str, Any]]:
    """What is known of every sound that was made on the page."""
    return [json.loads(path.read_text()) for path in sorted((project / "generated").glob("page-*/*.wav.json"))]


def test_programs_ask_for_channels_and_are_told_where_takes_lie(client: "TestClient", project: Path) -> None:
    for wish, channels in (({"seconds": 0.3}, 2), ({"seconds": 0.3, "channels": 1}, 1)):
        [made] = client.post("/api/generate", json={"model": STEREO, "request": wish}).json()["sounds"]
        assert len(read_sound(project / "generated" / made["id"]).samples) == channels
    wide = {"model": MONO, "request": {"seconds": 0.3, "width": 0.5}}
    refused = client.post("/api/generate", json=wide)
    assert refused.status_code == 400
    assert "makes mono sounds" in refused.text
    places = {take["id"]: take["place"] for take in client.get("/api/takes").json()["takes"]}
    assert {"place", "left", "breadth", "stereo"} == {*places["wide_0000.wav"]}
    assert "wide," in places["wide_0000.wav"]["place"]


@pytest.mark.browser
def test_width_is_asked_for_where_a_model_knows_it(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Generate")
    width, model = page.locator("#generate-space"), page.get_by_label("Model", exact=True).first
    choose(page, model, "plain")
    wait(lambda: not width.is_visible())
    choose(page, model, "wide")
    wait(width.is_visible)
    before = len(said(project))
    page.get_by_label("number input for Width").fill("0.5")
    page.get_by_label("number input for Number of sounds").fill("1")
    go, cards = page.locator("#generate-go"), page.locator("#generate-cards .d-card")
    wait(go.is_enabled)
    go.click()
    wait(lambda: cards.count() == 1)
    bar = cards.first.locator(".d-place")
    assert bar.is_visible()
    assert "wide," in (bar.get_attribute("aria-label") or "")
    page.locator("#generate-mono").get_by_label("Mono").check()
    wait(go.is_enabled)
    go.click()
    wait(lambda: cards.count() == 2)
    assert not cards.first.locator(".d-place").is_visible()
    wait(lambda: len(said(project)) == before + 2)
    one, two = said(project)[-2:]
    assert sorted([one["sound"]["channels"], two["sound"]["channels"]]) == [1, 2]
    assert {one["request"].get("width"), two["request"].get("width")} == {0.5, None}
    assert watched.errors == []


@pytest.mark.browser
def test_takes_show_where_they_lie_and_space_is_a_level_among_the_codes(
    server: Served, chromium: Any, project: Path
) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Takes")
    bars = page.locator("#takes-list .d-place")
    wait(lambda: bars.count() >= 2)
    lefts = [float(bar.locator("rect").get_attribute("x") or -1) for bar in bars.all()]
    assert all(0 <= left < 100 for left in lefts)
    assert np.isfinite(lefts).all()
    page.locator('.d-entry[data-id="wide_0000.wav"]').get_by_role("button", name="Open its codes").click()
    cells = page.locator("distill-grid .cells").first
    wait(lambda: "Space of" in (cells.get_attribute("aria-label") or ""))
    unfold(page, "Freeze and rename levels")
    page.locator("#codes-levels").get_by_label("Space", exact=True).check()
    unfold(page, "What was done")
    wait(lambda: page.get_by_text("freeze Space").count() > 0)
    assert watched.errors == []


def choose(page: Any, control: Any, name: str) -> None:
    """Choose a model by a part of its name."""
    control.click()
    control.fill(name)
    page.get_by_role("option", name=name).first.click()
