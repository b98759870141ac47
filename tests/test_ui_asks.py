"""Asking for a kind of sound on the page."""

import json
from pathlib import Path
from typing import Any

import pytest

from asking_util import write_askable
from browser_util import Watched
from distill.artifact.model_file import read_manifest
from model_example import write_example
from page_util import served, wait

pytest.importorskip("gradio")


def test_a_model_shows_what_it_can_be_asked_for(tmp_path: Path) -> None:
    from distill.ui.ask_controls import kind_settings, show_kinds

    group, label, knobs = show_kinds(read_manifest(write_askable(tmp_path / "kit.distill")), new=True)
    assert group["visible"]
    assert [value for _, value in label["choices"]] == ["", "hat", "kick"]
    assert [value for _, value in knobs["choices"]] == ["length", "bright", "noisy", "pitch"]
    plain = read_manifest(write_example(tmp_path / "plain.distill"))
    assert not show_kinds(plain, new=True)[0]["visible"]
    assert kind_settings("", ["bright"], 0.1, 0.2, 0.3, 0.4, 0.5, 0.6) == {"label": None, "bright": 0.3}
    assert kind_settings("hat", [], *[0.5] * 6) == {"label": "hat"}


@pytest.mark.browser
def test_a_label_and_a_knob_are_asked_for(tmp_path: Path, chromium: Any) -> None:
    write_askable(tmp_path / "models" / "kit.distill")
    with served(tmp_path) as server:
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
        said = [json.loads(path.read_text()) for path in (tmp_path / "generated").rglob("*.wav.json")]
        assert [(each["request"]["label"], each["request"]["bright"]) for each in said] == [("hat", 0.9)] * 2
        page.wait_for_timeout(1000)
        page.reload()
        watched.show("Generate")
        wait(lambda: page.locator("#generate-label input").input_value() == "hat")
        wait(lambda: page.get_by_label("number input for Brightness").input_value() == "0.9")
        assert watched.errors == []
