"""The page about a dataset: what it says, what it may not do, and when it is not written."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest

from dataset_page_util import HOSTILE, Reader, harmless
from distill.reports.page_parts import histogram, name_of, waveform
from sounds_util import bad_folder, folder_of_tones, noise, save, tone

if TYPE_CHECKING:
    from command_util import Command


def test_everything_is_on_the_page(tmp_path: Path, distill: "Command") -> None:
    sounds = tmp_path / "sounds"
    bad_folder(sounds / "bad")
    folder_of_tones(sounds / "bells", 3)
    save(sounds / "loops" / "funk_120bpm.wav", tone(4.0))
    save(sounds / "wide.wav", np.stack([noise(seed=1), noise(seed=2)], axis=1))
    for name in ("copy.wav", "copy.mp3"):
        save(sounds / name, tone(0.7, 333))
    output = tmp_path / "report.html"
    said = distill("dataset", "report", str(sounds), "-o", str(output), "--json")
    values = json.loads(said.out)
    checked = json.loads(distill("dataset", "check", str(sounds), "--json").out)
    near = values.pop("near_duplicates")
    assert values.pop("page") == str(output)
    assert values == checked
    assert [(pair["first"], pair["second"]) for pair in near][:1] == [("copy.mp3", "copy.wav")]
    page = Reader(output)
    harmless(page)
    for report in checked["reports"]:
        assert page.text.count(report["path"]) >= 1
        assert report["usable"] or report["reason"] in page.text
    for said in ("9 of 24 files are usable", "bells", "120", "1 with 2", "clipped", "Pitch", "Noisy"):
        assert said in page.text, said
    assert page.tags.count("figure") == 8
    assert page.tags.count("path") == 9 + 1


def test_the_same_sounds_give_the_same_bytes(tmp_path: Path, distill: "Command") -> None:
    folder_of_tones(tmp_path / "sounds", 5)
    for name in ("one.html", "two.html"):
        distill("dataset", "report", str(tmp_path / "sounds"), "-o", str(tmp_path / name))
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_names_are_text_and_links_lead_to_the_files(tmp_path: Path, distill: "Command") -> None:
    sounds = tmp_path / "my <b>sounds"
    for number, name in enumerate(HOSTILE):
        save(sounds / "<i>label" / name, tone(frequency=200 + 70 * number))
    save(Path(os.fsdecode(os.fsencode(sounds) + b"/broken\xff.wav")), noise())
    (tmp_path / "pages").mkdir()
    output = tmp_path / "pages" / "page.html"
    distill("dataset", "report", str(sounds), "-o", str(output))
    page = Reader(output)
    harmless(page)
    for name in ("<img src=x onerror=alert(1)>.wav", "a\"b'c&amp;.wav", r"left\u202egnp.wav", r"line\nbreak.wav"):
        assert f"<i>label/{name}" in page.text
    assert "my <b>sounds" in page.text
    assert "\u202e" not in output.read_text(encoding="utf-8")
    linked = {os.path.realpath(os.fsencode(output.parent) + b"/" + unquote_to_bytes(each)) for each in page.of("href")}
    assert linked == {os.fsencode(path) for path in sounds.rglob("*.wav")}
    assert set(page.of("data-sound")) == set(page.of("href"))


def test_one_sound_is_a_dataset(tmp_path: Path, distill: "Command") -> None:
    save(tmp_path / "one.wav", tone())
    output = tmp_path / "one.html"
    distill("dataset", "report", str(tmp_path / "one.wav"), "-o", str(output))
    page = Reader(output)
    harmless(page)
    assert "1 of 1 file is usable" in page.text
    assert "No two sounds are nearly the same" in page.text


@pytest.mark.parametrize(
    ("source", "output", "code", "said"),
    [
        ("missing", "page.html", 1, "no such folder"),
        ("silent", "page.html", 1, "no usable sound"),
        ("empty", "page.html", 1, "no usable sound"),
        ("wrong", "page.html", 1, "labels.csv"),
        ("sounds", "nowhere/page.html", 2, "make it first"),
        ("sounds", "folder", 2, "is a folder"),
        ("sounds", "folder.html", 2, "is a folder"),
        ("sounds", "sounds/tone000.wav", 2, "end in .html"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    tmp_path: Path, distill: "Command", source: str, output: str, code: int, said: str
) -> None:
    folder_of_tones(tmp_path / "sounds", 2)
    folder_of_tones(tmp_path / "wrong", 2)
    (tmp_path / "wrong" / "labels.csv").write_text("path,label\nnone.wav,kick\n")
    save(tmp_path / "silent" / "a.wav", 0 * tone())
    for name in ("empty", "folder", "folder.html"):
        (tmp_path / name).mkdir()
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    ended = distill("dataset", "report", str(tmp_path / source), "-o", str(tmp_path / output), code=code)
    assert said in ended.err
    assert len(ended.complaints) == 1
    assert ended.out == ""
    assert before == {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}


def test_bars_are_shares_of_the_values_of_a_group() -> None:
    one, other = np.array([1.0, 1.0, 10.0, 100.0]), np.array([1.0, 100.0])
    heights = [
        (float(height), kind)
        for kind, height in re.findall(r'class="([ab])"[^>]* height="([\d.]+)"', histogram("length", "s", one, other))
    ]
    assert heights == [(56.0, "a"), (28.0, "a"), (28.0, "a"), (56.0, "b"), (56.0, "b")]


def test_values_that_are_all_the_same_and_none_at_all_are_drawn() -> None:
    for unit in ("s", "dB"):
        assert histogram("x", unit, np.array([-3.0 if unit == "dB" else 3.0] * 4)).count("<rect") == 1
    assert "No sound has it" in histogram("x", "s", np.zeros(0))
    assert histogram("x", "s", np.zeros(0), np.array([0.0, 1.0])).count("<rect") == 2


def test_small_parts() -> None:
    assert name_of("<a&\n") == r"<bdi>&lt;a&amp;\n</bdi>"
    assert waveform(()) == ""
    assert waveform((0, 100)).count("M") == 2


@pytest.mark.skipif("DISTILL_TEST_AUDIO" not in os.environ, reason="DISTILL_TEST_AUDIO is not set")
def test_recorded_sounds(tmp_path: Path, distill: "Command") -> None:
    output = tmp_path / "kit.html"
    distill("dataset", "report", str(Path(os.environ["DISTILL_TEST_AUDIO"]) / "kit"), "-o", str(output))
    page = Reader(output)
    harmless(page)
    assert "20 of 20 files are usable" in page.text
    assert "1 pair of files sounds nearly the same" in page.text
    assert output.stat().st_size < 100_000


@pytest.mark.browser
def test_a_browser_shows_and_plays_it(tmp_path: Path, distill: "Command", chromium: Any) -> None:
    for number, name in enumerate(HOSTILE):
        save(tmp_path / "sounds" / name, tone(2.0, frequency=200 + 70 * number))
    distill("dataset", "report", str(tmp_path / "sounds"), "-o", str(tmp_path / "page.html"))
    complaints: list[str] = []
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for button in page.locator("button").all():
        button.click()
        page.wait_for_timeout(100)
        assert button.inner_text() == "stop"
    assert page.locator("button", has_text="stop").count() == 1
    assert complaints == []
