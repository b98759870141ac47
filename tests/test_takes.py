"""Takes: every generated sound is found again, and what somebody thinks of it stays."""

import json
import os
import threading
import zipfile
from pathlib import Path

import pytest

from distill.audio.sound import read_sound
from distill.errors import ArtifactError, UsageError
from distill.files import plain_name
from distill.library.takes import Take, Takes, filter_takes, heard_of, write_zip
from sounds_util import save, tone


def take_file(project: Path, name: str, *, given: str | None = None, age: float = 0.0, sidecar: bool = True) -> Path:
    path = save(project / "generated" / name, tone(0.3, 440.0))
    if sidecar:
        values = {"schema": 1, "given_file": None if given is None else {"path": given, "digest": "a" * 64}}
        path.with_name(f"{path.name}.json").write_text(json.dumps(values))
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def names(takes: list[Take]) -> list[str]:
    return [take.id for take in takes]


def test_every_generated_sound_is_a_take_and_the_newest_comes_first(tmp_path: Path) -> None:
    take_file(tmp_path, "one_0000.wav", age=2)
    take_file(tmp_path, "page-1/two_0000.flac", age=1)
    take_file(tmp_path, "page-1/bare.wav", sidecar=False)
    (tmp_path / "generated" / "notes.txt").write_text("no sound")
    assert names(Takes(tmp_path).all()) == ["page-1/bare.wav", "page-1/two_0000.flac", "one_0000.wav"]
    assert Takes(tmp_path / "elsewhere").all() == []


def test_a_sound_that_was_given_is_no_take(tmp_path: Path) -> None:
    take_file(tmp_path, "page-1/mine.wav", sidecar=False)
    take_file(tmp_path, "page-1/mine_continue_0000.wav", given="mine.wav")
    assert names(Takes(tmp_path).all()) == ["page-1/mine_continue_0000.wav"]
    # What was made from a take is one more; the take stays.
    take_file(tmp_path, "a_0000.wav")
    take_file(tmp_path, "a_0000_fill_0000.wav", given="a_0000.wav")
    assert len(Takes(tmp_path).all()) == 3


def test_what_was_noted_stays_and_nothing_is_deleted(tmp_path: Path) -> None:
    path = take_file(tmp_path, "a/kick_0000.wav")
    takes = Takes(tmp_path)
    takes.mark(["a/kick_0000.wav"], kept=True)
    takes.mark(["a/kick_0000.wav"], name="  Deep\nkick ")
    takes.mark(["a/kick_0000.wav"], dropped=True)
    [take] = Takes(tmp_path).all()
    assert (take.name, take.note.kept, take.note.dropped) == ("Deep kick", True, True)
    assert path.is_file()
    assert names(filter_takes([take], "bin")) == ["a/kick_0000.wav"]
    assert filter_takes([take], "all") == filter_takes([take], "kept") == []
    takes.mark(["a/kick_0000.wav"], dropped=False, name="")
    [take] = takes.all()
    assert (take.name, take.note.kept) == ("kick_0000", True)
    assert names(filter_takes([take], "kept", "KICK a/")) == ["a/kick_0000.wav"]
    assert filter_takes([take], "all", "snare") == []


@pytest.mark.parametrize("wanted", ["../secret.wav", "/etc/passwd", "a/../one_0000.wav", "none.wav", ""])
def test_only_what_is_listed_is_a_take(tmp_path: Path, wanted: str) -> None:
    take_file(tmp_path, "one_0000.wav")
    save(tmp_path / "secret.wav", tone(0.3, 440.0))
    with pytest.raises(UsageError, match="not among the generated sounds"):
        Takes(tmp_path).mark([wanted], kept=True)
    assert not (tmp_path / "generated" / "takes.json").exists()


def test_names_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        take_file(tmp_path, name)
    with pytest.raises(UsageError, match="at most 80"):
        Takes(tmp_path).mark(["a.wav"], name="x" * 81)
    with pytest.raises(UsageError, match="one sound"):
        Takes(tmp_path).mark(["a.wav", "b.wav"], name="x")


def test_notes_of_several_at_once_are_all_kept(tmp_path: Path) -> None:
    ids = [f"t_{number:04d}.wav" for number in range(8)]
    for each in ids:
        take_file(tmp_path, each)
    threads = [threading.Thread(target=Takes(tmp_path).mark, args=([each],), kwargs={"kept": True}) for each in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(take.note.kept for take in Takes(tmp_path).all())


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 1}', '{"schema": 1, "takes": {"a": {"stars": 5}}}', '{"schema": 1, "takes": []}']
)
def test_damaged_notes_are_told_and_left(tmp_path: Path, text: str) -> None:
    take_file(tmp_path, "one_0000.wav")
    notes = tmp_path / "generated" / "takes.json"
    notes.write_text(text)
    with pytest.raises(ArtifactError, match=r"takes\.json"):
        Takes(tmp_path).mark(["one_0000.wav"], kept=True)
    assert notes.read_text() == text


def test_exported_sounds_have_plain_names_of_their_own(tmp_path: Path) -> None:
    for number in range(3):
        take_file(tmp_path, f"page-{number}/kit_0000.wav", age=number)
    takes = Takes(tmp_path)
    takes.mark(["page-1/kit_0000.wav"], name="Kick / 1")
    takes.mark(["page-2/kit_0000.wav"], name="KIT_0000")
    # Older than any date that a zip can have.
    os.utime(takes.all()[-1].path, (0, 0))
    write_zip(takes.all(), tmp_path / "out" / "kit.zip")
    with zipfile.ZipFile(tmp_path / "out" / "kit.zip") as archive:
        assert archive.namelist() == ["kit_0000.wav", "Kick-1.wav", "KIT_0000_2.wav"]
        archive.extractall(tmp_path / "out")
    assert read_sound(tmp_path / "out" / "Kick-1.wav").seconds == pytest.approx(0.3)
    with pytest.raises(UsageError, match="choose"):
        write_zip([], tmp_path / "none.zip")
    assert plain_name("....") == "sound"


def test_a_take_is_heard_as_it_is_even_where_it_cannot_be_read(tmp_path: Path) -> None:
    take_file(tmp_path, "good.wav")
    (tmp_path / "generated" / "bad.wav").write_bytes(b"no sound")
    heard = {take.id: heard_of(take.path) for take in Takes(tmp_path).all()}
    assert heard["good.wav"].seconds == pytest.approx(0.3)
    assert -25 < heard["good.wav"].lufs < -5
    assert (heard["bad.wav"].seconds, heard["bad.wav"].wave) == (0.0, "")
