"""Kits for samplers."""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import zipfile
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from asking_util import write_askable
from command_util import Command
from distill.audio.loudness import loudest_lufs
from distill.audio.sound import read_sound
from distill.codec.codec import Grid
from distill.errors import StorageError, UsageError
from distill.generation import variation
from distill.generation.sampler import SamplingConfig
from distill.generation.sound_request import Request
from distill.kits import formats
from distill.kits.formats import HYDROGEN, Instrument
from distill.kits.kit import Kit, duller, kit_of, make_kit
from distill.kits.pads import Pad, pads_named, pads_of
from sounds_util import noise as noise_at
from sounds_util import save as save_at
from sounds_util import tone as tone_at

RATE = 48_000
noise, tone, save = partial(noise_at, rate=RATE), partial(tone_at, rate=RATE), partial(save_at, rate=RATE)

REQUEST = Request(seconds=0.4, natural=True, finish=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_askable(tmp_path_factory.mktemp("model") / "kit.distill")


@pytest.fixture(scope="module")
def kit(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    pads = pads_of("kick,hat:2", ("hat", "kick"))
    return make_kit(model, pads, tmp_path_factory.mktemp("kits") / "My Kit", request=REQUEST, layers=2, turns=2)


def test_pads_lie_on_the_keys_of_their_part() -> None:
    pads = pads_of("kicks:2,snare,hat:3,tom:2", ("kick", "snare", "hats", "tom"))
    assert [(pad.name, pad.note) for pad in pads] == [
        ("kick 1", 36), ("kick 2", 35), ("snare", 38), ("hats 1", 42), ("hats 2", 46), ("hats 3", 44), ("tom 1", 41),
        ("tom 2", 43),
    ]  # fmt: skip
    assert [pad.choked for pad in pads] == [False] * 3 + [True] * 3 + [False] * 2
    assert [pad.note for pad in pads_of("4", ())] == [36, 37, 38, 39]
    assert len(pads_of(None, ("kick", "snare", "bell"))) == 16
    assert len({pad.note for pad in pads_of("64", ("kick", "bell"))}) == 64
    assert [(pad.name, pad.note) for pad in pads_named(["my snare", "bell"])] == [("my snare", 38), ("bell", 36)]


def test_every_part_has_its_own_first_key() -> None:
    labels = ("hat", "kick", "open hat", "snare")
    notes = {pad.name: pad.note for pad in pads_of(None, labels)}
    assert [notes[f"{label} 1"] for label in labels] == [42, 36, 46, 38]
    assert len(set(notes.values())) == len(notes)


def test_a_label_is_named_as_it_is_written() -> None:
    assert [pad.label for pad in pads_of("Kick:1,kick,KICK", ("Kick", "kick"))] == ["Kick", "kick", "kick"]
    assert [pad.label for pad in pads_of("a:b:2,a:b,A:b", ("a:b",))] == ["a:b"] * 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cowbell:2", "there is no label cowbell; the model's labels: kick, snare"),
        ("kick:0", "expected a number from 1 to 64"),
        ("kick:x", "expected a number"),
        ("99", "expected a number"),
        ("kick:40,snare:40", "at most 64 pads"),
    ],
)
def test_pads_that_cannot_be_are_one_line(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        pads_of(text, ("kick", "snare"))


def test_a_kit_has_a_sound_for_every_touch_and_turn(kit: Kit) -> None:
    files = [file for each in kit.instruments for layer in each.layers for file in layer]
    assert len(files) == len(set(files)) == 12
    digests = set()
    said = json.loads((kit.folder / "kit.json").read_text())
    gains = {each["file"]: each["gain_db"] for each in said["sounds"]}
    for file in files:
        sound = read_sound(kit.folder / file)
        digests.add(hashlib.sha256(sound.samples.tobytes()).hexdigest())
        # As loud as others, or with its peak, or the gain, as high as it goes.
        loud = loudest_lufs([sound.samples.T], sound.sample_rate)
        held = np.abs(sound.samples).max() > 0.88 or gains[file] > 23.9
        assert loud == pytest.approx(-20, abs=0.2) or held
    assert len(digests) == 12
    assert [each["file"] for each in said["sounds"]] == files
    assert all(len(each["samples_digest"]) == 64 for each in said["sounds"])
    assert said["digest"]
    # A softer touch is duller.
    soft, hard = (read_sound(kit.folder / kit.instruments[0].layers[layer][0]).samples[0] for layer in (0, 1))
    assert _centre(soft) < _centre(hard)
    with zipfile.ZipFile(kit.archive) as archive:
        assert {Path(name).name for name in archive.namelist()} == {path.name for path in kit.folder.iterdir()}
        assert "LICENSE.txt" in {Path(name).name for name in archive.namelist()}


def test_a_softer_touch_is_duller_and_has_nothing_of_the_beginning_at_its_end() -> None:
    click = np.zeros(4800, np.float32)
    click[0] = 1.0
    soft = duller(click, RATE, 3)
    assert len(soft) == len(click)
    assert _centre(soft) < _centre(click)
    assert np.abs(soft[2400:]).max() < 1e-6


def test_variations_are_drawn_as_the_request_says(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def vary_codes(*args: Any, config: SamplingConfig, **settings: Any) -> Grid:
        drawn.append(config)
        return variation.vary_codes(*args, config=config, **settings)

    monkeypatch.setattr("distill.kits.kit.vary_codes", vary_codes)
    request = REQUEST.model_copy(update={"temperature": 0.5})
    make_kit(model, pads_of("1", ()), tmp_path / "Kit", request=request, turns=2)
    assert drawn == [request.config]


def _centre(samples: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float((power * np.arange(len(power))).sum() / power.sum() / len(samples))


def test_the_same_kit_comes_again(kit: Kit, model: Path, tmp_path: Path) -> None:
    pads = pads_of("kick,hat:2", ("hat", "kick"))
    again = make_kit(model, pads, tmp_path / "My Kit", request=REQUEST, layers=2, turns=2)
    assert again.archive.read_bytes() == kit.archive.read_bytes()


def test_every_sampler_is_told_the_same(kit: Kit) -> None:
    files = {file for each in kit.instruments for layer in each.layers for file in layer}
    text = (kit.folder / "My-Kit.sfz").read_text()
    regions = [dict(re.findall(r"(\w+)=(\S+)", line)) for line in text.splitlines() if line.startswith("<region>")]
    assert {each["sample"] for each in regions} == files
    assert {(each["lovel"], each["hivel"]) for each in regions} == {("1", "64"), ("65", "127")}
    assert {(each["seq_length"], each["seq_position"]) for each in regions} == {("2", "1"), ("2", "2")}
    assert text.count("off_by=1") == 2
    assert [int(note) for note in re.findall(r"^key=(\d+)", text, re.MULTILINE)] == [36, 42, 46]
    spaces = {"h2": HYDROGEN}
    root = ElementTree.parse(kit.folder / "drumkit.xml").getroot()
    assert {each.text for each in root.iterfind(".//h2:filename", spaces)} == files
    assert [each.text for each in root.iterfind(".//h2:midiOutNote", spaces)] == ["36", "42", "46"]
    decent = ElementTree.parse(kit.folder / "My-Kit.dspreset").getroot()
    assert {each.get("path") for each in decent.iter("sample")} == files
    assert {each.get("rootNote") for each in decent.iter("sample")} == {"36", "42", "46"}


def test_a_name_that_xml_cannot_hold_breaks_no_kit() -> None:
    instrument = Instrument(pads_of("1", ("a\x07 kick",))[0], [["a.wav"]])
    hydrogen = formats.hydrogen("kit\x00", [instrument], info="", licence="")
    for written in (hydrogen, formats.decent([instrument])):
        assert "a kick" in ElementTree.canonicalize(written)


def test_touches_cover_all_velocities() -> None:
    for layers in range(1, 9):
        reach = Instrument(Pad("a", None, 36, False), ((("x.wav"),),) * layers).touches(127)
        assert reach[0][0] == 1
        assert reach[-1][1] == 127
        assert all(before[1] + 1 == after[0] for before, after in pairwise(reach))


def test_sounds_that_are_there_become_a_kit(tmp_path: Path) -> None:
    sounds = [save(tmp_path / "snare.wav", noise(0.2)), save(tmp_path / "x.wav", tone(0.2))]
    made = kit_of(sounds, pads_named(["snare", "bell"]), tmp_path / "Kit")
    assert (made.folder / "snare-38.wav").read_bytes() == sounds[0].read_bytes()
    with pytest.raises(StorageError, match="exists"):
        kit_of(sounds, pads_named(["snare", "bell"]), tmp_path / "Kit")
    kit_of(sounds[:1], pads_named(["snare"]), tmp_path / "Kit", force=True)
    assert len(list((tmp_path / "Kit").glob("*.wav"))) == 1
    with pytest.raises(UsageError):
        kit_of([tmp_path / "notes.txt"], pads_named(["a"]), tmp_path / "Other")
    assert not list(tmp_path.glob(".kit-*"))


def test_a_kit_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="/ cannot become a kit"):
        kit_of([], [], Path(tmp_path.anchor))


def test_a_kit_that_cannot_take_its_place_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = [save(tmp_path / "snare.wav", noise(0.2)), save(tmp_path / "x.wav", tone(0.2))]
    old = kit_of(sounds[:1], pads_named(["snare"]), tmp_path / "Kit")
    before = {path: path.read_bytes() for path in (old.archive, *old.folder.iterdir())}
    rename = Path.rename

    def fails_where_the_new_one_comes(path: Path, target: Path) -> Path:
        if target == old.folder and not path.name.endswith("-old"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails_where_the_new_one_comes)
    with pytest.raises(StorageError, match="Input/output error"):
        kit_of(sounds[1:], pads_named(["bell"]), old.folder, force=True)
    assert {path: path.read_bytes() for path in (old.archive, *old.folder.iterdir())} == before
    assert not list(tmp_path.glob(".kit-*"))


def test_whatever_is_no_kit_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.wav").write_bytes(b"mine")
    sound = save(tmp_path / "snare.wav", noise(0.2))
    with pytest.raises(StorageError, match="is no kit"):
        kit_of([sound], pads_named(["snare"]), tmp_path / "music", force=True)
    assert (tmp_path / "music" / "song.wav").read_bytes() == b"mine"
    # Nor what somebody put into a kit, nor an archive without one.
    kit_of([sound], pads_named(["snare"]), tmp_path / "Kit")
    (tmp_path / "Kit" / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"notes\.txt is in it"):
        kit_of([sound], pads_named(["snare"]), tmp_path / "Kit", force=True)
    assert (tmp_path / "Kit" / "notes.txt").read_text() == "mine"
    (tmp_path / "Other.zip").write_bytes(b"mine")
    with pytest.raises(StorageError, match="no kit beside it"):
        kit_of([sound], pads_named(["snare"]), tmp_path / "Other", force=True)
    assert (tmp_path / "Other.zip").read_bytes() == b"mine"


def test_what_comes_to_lie_there_meanwhile_stays(tmp_path: Path, model: Path) -> None:
    def meanwhile(_done: int, _count: int) -> None:
        (tmp_path / "Kit").mkdir(exist_ok=True)
        (tmp_path / "Kit" / "song.wav").write_bytes(b"mine")

    with pytest.raises(StorageError, match="exists"):
        make_kit(model, pads_of("1", ()), tmp_path / "Kit", request=REQUEST, tell=meanwhile)
    assert [path.name for path in tmp_path.rglob("*.wav")] == ["song.wav"]


def test_the_command_makes_a_kit_and_refuses(model: Path, distill: Command, tmp_path: Path) -> None:
    folder = tmp_path / "Kit"
    done = distill(
        "kit", str(model), "-o", str(folder), "--pads", "kick:1,hat:1", "-d", "0.3", "--license", "CC0", "--json"
    )
    made = json.loads(done.out)
    assert [pad["note"] for pad in made["pads"]] == [36, 42]
    assert (folder / "LICENSE.txt").read_text() == "CC0\n"
    assert "CC0" in (folder / "drumkit.xml").read_text()
    for arguments, words, code in (
        (("--pads", "gong:2"), "there is no label gong; the model's labels: hat, kick", 2),
        (("--velocity", "9"), "--velocity", 2),
        ((), "exists", 1),
        (("-d", "0"), "the duration must be above 0", 2),
    ):
        refused = distill("kit", str(model), "-o", str(folder), *arguments, code=code)
        assert words in refused.err, refused.err
        assert "Traceback" not in refused.err


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("h2cli"), reason="needs hydrogen")
def test_hydrogen_takes_the_kit(kit: Kit) -> None:
    done = subprocess.run(
        ["h2cli", "-c", str(kit.folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        timeout=120,
        check=False,
    )
    assert "INVALID" not in done.stdout + done.stderr
    assert "valid" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("polyphone") and shutil.which("fluidsynth")), reason="needs polyphone, fluidsynth"
)
def test_a_player_of_sfz_plays_the_snare_on_note_38(tmp_path: Path) -> None:
    sounds = [save(tmp_path / "snare.wav", noise(0.3)), save(tmp_path / "bell.wav", tone(0.3, 1500))]
    made = kit_of(sounds, pads_named(["snare", "bell"]), tmp_path / "Kit")
    quiet = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    subprocess.run(
        ["polyphone", "-1", "-i", str(made.folder / "Kit.sfz"), "-d", str(tmp_path), "-o", "kit"],
        env=quiet, timeout=120, check=True, capture_output=True,
    )  # fmt: skip
    heard = {}
    for note in (36, 38):
        events = bytes([0, 0x90, note, 127, 0x83, 0x60, 0x80, note, 0, 0, 0xFF, 0x2F, 0])
        song = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(events)) + events
        (tmp_path / "song.mid").write_bytes(song)
        wave = tmp_path / f"{note}.wav"
        subprocess.run(
            ["fluidsynth", "-ni", "-F", str(wave), str(tmp_path / "kit.sf2"), str(tmp_path / "song.mid")],
            timeout=120, check=True, capture_output=True,
        )  # fmt: skip
        samples, rate = soundfile.read(wave)
        power = np.abs(np.fft.rfft(samples[: rate // 4].mean(1))) ** 2
        heard[note] = float(np.exp(np.log(power + 1e-12).mean()) / power.mean())
    # Noise is flat, and a tone is not.
    assert heard[38] > 0.2 > heard[36]
