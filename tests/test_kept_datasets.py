"""Datasets of a folder: listed, gathered from single files, kept with DVC and without."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from distill.errors import DataError, StorageError, UsageError
from distill.locks import lock
from distill.params import Params, write_params
from distill.versions.datasets import Dataset, count_sounds, gather, keep_dataset, list_datasets
from distill.versions.dvc import check_out, dvc
from page_util import make_sounds
from sounds_util import bad_folder, folder_of_tones


def test_files_of_the_same_name_are_all_kept_and_others_left_out(tmp_path: Path) -> None:
    one, other = folder_of_tones(tmp_path / "one", 2), folder_of_tones(tmp_path / "other", 1)
    (other / "notes.txt").write_text("no sound")
    (other / ".hidden.wav").write_bytes(b"x")
    left_out = gather([*sorted(one.iterdir()), *sorted(other.iterdir())], tmp_path / "all")
    assert sorted(left_out) == [".hidden.wav", "notes.txt"]
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["tone000-2.wav", "tone000.wav", "tone001.wav"]


def test_a_folder_without_dvc_keeps_sounds_unversioned(tmp_path: Path) -> None:
    sounds = make_sounds(tmp_path / "mine")
    added = keep_dataset(sounds, tmp_path, "kit")
    assert (added.path, added.pointer, added.usable) == ("data/kit", None, 8)
    assert list_datasets(tmp_path) == [Dataset("data/kit", 8)]
    # Nothing has a copy of what would be replaced.
    folder_of_tones(tmp_path / "fewer", 3)
    with pytest.raises(UsageError, match="no version of it is kept"):
        keep_dataset(tmp_path / "fewer", tmp_path, "kit")
    assert list_datasets(tmp_path) == [Dataset("data/kit", 8)]
    assert keep_dataset(tmp_path / "data" / "kit", tmp_path, "kit").usable == 8


def test_parameters_in_another_encoding_are_left_as_they_are(tmp_path: Path) -> None:
    sounds = make_sounds(tmp_path / "mine")
    (tmp_path / ".dvc").mkdir()
    written = "# für Elise\nschema: 1\n".encode("latin-1")
    (tmp_path / "params.yaml").write_bytes(written)
    with pytest.raises(UsageError, match=r"params\.yaml is not UTF-8: save it as UTF-8"):
        keep_dataset(sounds, tmp_path, "kit")
    assert (tmp_path / "params.yaml").read_bytes() == written
    assert list_datasets(tmp_path) == []


def test_a_dataset_whose_name_begins_with_a_dash_is_brought_back(tmp_path: Path) -> None:
    sounds = make_sounds(tmp_path / "mine")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    analytics = false\n")
    write_params(tmp_path / "params.yaml", Params())
    added = keep_dataset(sounds, tmp_path, "-kit")
    shutil.rmtree(tmp_path / added.path)
    assert count_sounds(check_out(tmp_path, added.path)) == 8


def test_what_could_not_be_versioned_can_be_kept_later(tmp_path: Path) -> None:
    sounds = make_sounds(tmp_path / "mine", 4)
    project = tmp_path / "project"
    write_params(project / "params.yaml", Params())
    dvc(project, "init", "--no-scm", "--quiet")
    config = project / ".dvc" / "config"
    known = config.read_bytes()
    config.write_text("[core\n")
    with pytest.raises(StorageError):
        keep_dataset(sounds, project, "kit")
    assert list_datasets(project) == []
    config.write_bytes(known)
    assert keep_dataset(sounds, project, "kit").pointer == "data/kit.dvc"
    # What lies where datasets are kept is nobody's copy, and stays.
    make_sounds(project / "data" / "own", 4)
    config.write_text("[core\n")
    with pytest.raises(StorageError):
        keep_dataset(project / "data" / "own", project, "own")
    assert Dataset("data/own", 4) in list_datasets(project)


def test_the_table_of_labels_is_kept_and_a_wrong_one_refused(tmp_path: Path) -> None:
    sounds, table = folder_of_tones(tmp_path / "mine", 2), "path,label\ntone000.wav,low\n"
    (sounds / "labels.csv").write_text(table)
    keep_dataset(sounds, tmp_path, "kit")
    assert (tmp_path / "data" / "kit" / "labels.csv").read_text() == table
    (sounds / "labels.csv").write_text("path,label\ngone.wav,low\n")
    with pytest.raises(DataError, match="line 2: there is no file gone"):
        keep_dataset(sounds, tmp_path, "other")
    os.mkfifo(sounds / "pipe.wav")
    (sounds / "labels.csv").write_text("path,label\npipe.wav,low\n")
    with pytest.raises(DataError, match=r"has a label for pipe\.wav, which cannot be copied"):
        keep_dataset(sounds, tmp_path, "other")
    assert list_datasets(tmp_path) == [Dataset("data/kit", 2)]


@pytest.mark.parametrize(("text", "words"), [("", "it has no sections"), ("data: 5\n", "data is no section")])
def test_nothing_is_copied_where_params_yaml_cannot_be_pointed_at_it(tmp_path: Path, text: str, words: str) -> None:
    project = tmp_path / "project"
    (project / ".dvc").mkdir(parents=True)
    (project / "params.yaml").write_text(text)
    with pytest.raises(UsageError, match=words):
        keep_dataset(folder_of_tones(tmp_path / "mine", 4), project, "kit")
    assert list_datasets(project) == []


def test_pipes_and_devices_are_left_out_of_a_copy(tmp_path: Path) -> None:
    sounds = folder_of_tones(tmp_path / "mine", 2)
    os.mkfifo(sounds / "pipe.wav")
    (sounds / "device.wav").symlink_to("/dev/null")
    keep_dataset(sounds, tmp_path, "kit")
    assert sorted(path.name for path in (tmp_path / "data" / "kit").iterdir()) == ["tone000.wav", "tone001.wav"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../kit", "a/b", "/etc", ".hidden", "nul\0", "kit ", " kit", "kit.dvc"]
)
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    sounds = make_sounds(tmp_path / "mine", 4)
    with pytest.raises(UsageError, match="cannot be a folder name"):
        keep_dataset(sounds, tmp_path, name)
    assert not (tmp_path / "data").exists()


def test_what_looks_like_a_sound_is_counted_without_reading_it(tmp_path: Path) -> None:
    bad_folder(tmp_path / "mixed")
    names = [path.suffix.lower() for path in (tmp_path / "mixed").rglob("*") if path.is_file()]
    assert 0 < count_sounds(tmp_path / "mixed") <= len(names)
    with pytest.raises(DataError, match="no such folder"):
        count_sounds(tmp_path / "nothing")


def test_nothing_usable_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "zero.wav").touch()
    with pytest.raises(DataError, match="no usable sound"):
        keep_dataset(tmp_path / "empty", tmp_path, "kit")


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({".new-kit": 2, "kit": 5}, 5),
        ({".new-kit": 6, ".old-kit": 5}, 6),
        ({".old-kit": 5}, 5),
        ({".old-kit": 3, "kit": 6}, 6),
    ],
)
def test_a_copy_that_was_killed_is_completed_or_undone(tmp_path: Path, there: dict[str, int], expected: int) -> None:
    for name, count in there.items():
        folder_of_tones(tmp_path / "data" / name, count)
    assert list_datasets(tmp_path) == [Dataset("data/kit", expected)]
    make_sounds(tmp_path / "mine", 4)
    keep_dataset(tmp_path / "mine", tmp_path, "other")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["kit", "other"]
    assert count_sounds(tmp_path / "data" / "kit") == expected


def test_who_changes_the_datasets_is_alone(tmp_path: Path) -> None:
    for name in (".new-kit", ".old-kit"):
        folder_of_tones(tmp_path / "data" / name, 2)
    sounds = folder_of_tones(tmp_path / "mine", 2)
    keeping = threading.Thread(target=keep_dataset, args=(sounds, tmp_path, "other"))
    with lock(tmp_path / ".distill" / "datasets.lock", lambda: None):
        keeping.start()
        assert list_datasets(tmp_path) == []
        keeping.join(0.5)
        assert keeping.is_alive()
        assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".new-kit", ".old-kit"]
    keeping.join(10)
    assert list_datasets(tmp_path) == [Dataset("data/kit", 2), Dataset("data/other", 2)]


def test_nothing_is_left_of_a_copy_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = folder_of_tones(tmp_path / "mine", 3)
    copy, copied = shutil.copyfile, list[Path]()

    def full(source: Path, target: Path) -> None:
        if copied:
            raise OSError(28, "No space left on device")
        copied.append(Path(copy(source, target)))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StorageError, match="No space left"):
        keep_dataset(sounds, tmp_path, "kit")
    assert copied[0].parent.name == ".new-kit"
    assert list((tmp_path / "data").iterdir()) == []


def test_what_was_changed_by_hand_is_not_undone_for_a_wrong_path(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    analytics = false\n")
    write_params(tmp_path / "params.yaml", Params())
    keep_dataset(folder_of_tones(tmp_path / "tones" / "low", 2).parent, tmp_path, "kit")
    (tmp_path / "data" / "kit" / "low" / "tone000.wav").unlink()
    with pytest.raises(DataError, match="there are no such sounds in kit"):
        check_out(tmp_path, "data/kit/high")
    assert count_sounds(tmp_path / "data" / "kit") == 1
    shutil.rmtree(tmp_path / "data" / "kit")
    assert len(list(check_out(tmp_path, "data/kit/low").iterdir())) == 2


def test_a_version_that_dvc_does_not_take_is_put_back(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    analytics = false\n")
    write_params(tmp_path / "params.yaml", Params())
    keep_dataset(folder_of_tones(tmp_path / "many", 3), tmp_path, "kit")
    pointer = (tmp_path / "data" / "kit.dvc").read_bytes()
    # As a `dvc repro` that reads all datasets leaves its lock.
    reader = {"pid": os.getpid(), "cmd": "dvc repro"}
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_text(json.dumps({"read": {str(tmp_path / "data"): [reader]}}))
    for name in ("kit", "other"):
        with pytest.raises(StorageError, match=rf"dvc add data/{name} failed: .*busy.*dvc repro"):
            keep_dataset(folder_of_tones(tmp_path / "fewer", 1), tmp_path, name)
        assert [path.name for path in (tmp_path / "data").glob("*/")] == ["kit"]
    assert count_sounds(tmp_path / "data" / "kit") == 3
    assert (tmp_path / "data" / "kit.dvc").read_bytes() == pointer


KEEP = """
import os, signal, sys
import signal
import subprocess
import sys
from pathlib import Path
from distill.versions import datasets
rename, left = Path.rename, int(sys.argv[3])
def killed(*arguments):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return rename(*arguments)
Path.rename = killed
datasets.keep_dataset(Path(sys.argv[1]), Path(sys.argv[2]), "kit")
"""


@pytest.mark.parametrize("renames", [0, 1])
def test_a_dataset_is_whole_wherever_its_copy_is_killed(tmp_path: Path, renames: int) -> None:
    keep_dataset(make_sounds(tmp_path / "mine", 4), tmp_path, "kit")
    # As DVC leaves it, which keeps the version that is replaced.
    (tmp_path / "data" / "kit.dvc").touch()
    more = make_sounds(tmp_path / "more", 6)
    done = subprocess.run([sys.executable, "-c", KEEP, more, tmp_path, str(renames)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list_datasets(tmp_path) == [Dataset("data/kit", 6 if renames else 4)]
    keep_dataset(more, tmp_path, "kit")
    assert list_datasets(tmp_path) == [Dataset("data/kit", 6)]
