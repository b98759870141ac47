"""Verdicts on files, whatever lies in a folder."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from distill.audio.sound import EXTENSIONS
from distill.dataset.scan import FIRST_FILES, scan, scanned
from distill.dataset.walk import count_files, find_files
from distill.errors import DataError
from distill.workers.choice import PROCESS_SECONDS
from sounds_util import RATE, bad_folder, folder_of_tones, noise, save, tone


def test_everything_that_goes_wrong_gets_its_verdict_and_one_sentence(tmp_path: Path) -> None:
    expected = bad_folder(tmp_path)
    reports = {report.path: report for report in scan(tmp_path)}
    assert {path: str(report.verdict) for path, report in reports.items()} == expected
    for report in reports.values():
        assert report.reason
        assert "\n" not in report.reason
        assert report.usable == (report.verdict in ("ok", "clipped"))
        assert not report.usable or (report.seconds > 0 and len(report.content) == 64)
    assert reports["clipped.wav"].warnings
    assert "a good one.wav" in reports["same again.flac"].reason


def test_reports_are_sorted_by_bytes_and_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    bad_folder(tmp_path)
    folder_of_tones(tmp_path / "Zoo", 4)
    folder_of_tones(tmp_path / "ähnlich", 3)
    one = scan(tmp_path, workers=1)
    assert [report.path.encode() for report in one] == sorted(report.path.encode() for report in one)
    assert scan(tmp_path, workers=5) == one


def test_nothing_is_printed_about_bad_files(tmp_path: Path) -> None:
    bad_folder(tmp_path)
    code = "import sys\nfrom pathlib import Path\nfrom distill.dataset.scan import scan\nscan(Path(sys.argv[1]))\n"
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code, tmp_path], capture_output=True, check=True)
    assert ran.stdout == ran.stderr == b""


def test_names_are_nfc_and_any_bytes_are_survived(tmp_path: Path) -> None:
    save(tmp_path / "u\u0308ber den Wolken 🥁.WAV", tone())
    save(Path(os.fsdecode(os.fsencode(tmp_path) + b"/broken\xff.wav")), noise())
    paths = [report.path for report in scan(tmp_path)]
    assert paths == ["broken\\udcff.wav", "über den Wolken 🥁.WAV"]
    assert all(report.usable for report in scan(tmp_path))


COMPOSED, DECOMPOSED = "\u00fcber", "u\u0308ber"


def test_the_same_samples_are_duplicates_whatever_the_names(tmp_path: Path) -> None:
    for name in (COMPOSED, DECOMPOSED):
        save(tmp_path / f"{name}.wav", tone())
        save(tmp_path / name / "in.wav", noise())
    save(tmp_path / "z.wav", tone())
    reports = scan(tmp_path)
    assert sorted(str(report.verdict) for report in reports) == ["duplicate"] * 3 + ["ok"] * 2


def test_a_sound_on_two_channels_is_the_same_as_on_one(tmp_path: Path) -> None:
    sound, other = noise(), noise(seed=1)
    save(tmp_path / "a.wav", sound)
    save(tmp_path / "b.wav", np.stack([sound, sound], axis=1))
    # What is turned over or lies apart is another sound.
    for name, channels in {"c": (sound, -sound), "d": (other, -other), "e": (sound, other)}.items():
        save(tmp_path / f"{name}.wav", np.stack(channels, axis=1))
    verdicts = [str(report.verdict) for report in scan(tmp_path)]
    assert verdicts == ["ok", "duplicate", "ok", "ok", "ok"]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "FLOAT"])
def test_a_constant_offset_is_no_sound(tmp_path: Path, subtype: str) -> None:
    for name, offsets in {"mono": [0.3], "one": [0.0, 0.3], "both": [0.3, -0.2], "three": [0.3, -0.3, 0.1]}.items():
        save(tmp_path / f"{name}.wav", np.tile(np.array(offsets, np.float32), (9000, 1)), subtype=subtype)
    reports = scan(tmp_path)
    assert [str(report.verdict) for report in reports] == ["silent"] * 4
    assert all("constant offset" in report.reason for report in reports)


def test_an_offset_does_not_decide_how_channels_are_mixed(tmp_path: Path) -> None:
    sound, others = 0.004 * noise(seed=1), [0.004 * noise(seed=seed) for seed in range(2, 6)]
    for name, channels in {
        "cancelling": [sound, -sound, sound, -sound],
        "apart": others,
        "first louder": [sound, -0.8 * sound],
        "second louder": [0.8 * sound, -sound],
    }.items():
        save(tmp_path / f"{name}.wav", np.stack(channels, axis=1) + 0.9, subtype="FLOAT")
    reasons = {report.path: report.reason for report in scan(tmp_path) if report.usable}
    assert len(reasons) == 4
    assert "the loudest, is used" in reasons["cancelling.wav"]
    assert "only the mix of its 4 channels" in reasons["apart.wav"]
    assert "channel 2, the softer" in reasons["first louder.wav"]
    assert "channel 1, the softer" in reasons["second louder.wav"]


def test_no_two_files_have_one_name(tmp_path: Path) -> None:
    for number, name in enumerate((COMPOSED, DECOMPOSED, r"u\u0308ber")):
        save(tmp_path / f"{name}.wav", noise(seed=number))
        save(tmp_path / name / "in.wav", noise(seed=10 + number))
    save(Path(os.fsdecode(os.fsencode(tmp_path) + b"/broken\xff.wav")), noise(seed=20))
    save(tmp_path / r"broken\udcff.wav", noise(seed=21))
    reports = scan(tmp_path)
    assert all(report.usable for report in reports)
    names = [report.path for report in reports]
    assert len(set(names)) == len(names) == 8
    assert names == sorted(names, key=str.encode)
    assert {f"{COMPOSED}.wav", f"{COMPOSED}/in.wav"} < set(names)
    # A folder is a label, however it is composed.
    assert [name for name in names if name.startswith(f"{COMPOSED}/")] == [f"{COMPOSED}/_in.wav", f"{COMPOSED}/in.wav"]


def test_200_nested_folders(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(200):
        folder = folder / "in"
    save(folder / "deep.wav", tone())
    [report] = scan(tmp_path)
    assert report.usable
    assert report.path.count("/") == 200


def test_a_path_too_long_for_the_system_is_reported(tmp_path: Path) -> None:
    back = os.open(".", os.O_RDONLY)
    try:
        os.chdir(tmp_path)
        for _ in range(30):
            os.mkdir("x" * 200)  # noqa: PTH102
            os.chdir("x" * 200)
    finally:
        os.fchdir(back)
        os.close(back)
    save(tmp_path / "a.wav", tone())
    verdicts = [str(report.verdict) for report in scan(tmp_path)]
    assert verdicts == ["ok", "unreadable"]


def test_links_loops_and_pipes(tmp_path: Path) -> None:
    save(tmp_path / "b" / "real.wav", tone())
    (tmp_path / "a_link.wav").symlink_to(tmp_path / "b" / "real.wav")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "a_folder").symlink_to(tmp_path / "b")
    (tmp_path / "self.wav").symlink_to("self.wav")
    (tmp_path / "gone.wav").symlink_to("nowhere.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    verdicts = {report.path: str(report.verdict) for report in scan(tmp_path)}
    assert verdicts == {
        "a_link.wav": "ok",
        "b/real.wav": "duplicate",
        "gone.wav": "unreadable",
        "pipe.wav": "unreadable",
        "self.wav": "unreadable",
    }


def test_a_folder_behind_a_link_outside_is_searched(tmp_path: Path) -> None:
    folder_of_tones(tmp_path / "elsewhere", 2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "linked").symlink_to(tmp_path / "elsewhere")
    assert [report.path for report in scan(tmp_path / "mine")] == ["linked/tone000.wav", "linked/tone001.wav"]


def test_a_single_file_is_a_source_and_a_missing_one_is_not(tmp_path: Path) -> None:
    path = save(tmp_path / "one.flac", tone())
    [report] = scan(path)
    assert (report.path, report.usable) == ("one.flac", True)
    with pytest.raises(DataError, match="no such folder"):
        scan(tmp_path / "nowhere")


def test_figures_of_a_known_sound(tmp_path: Path) -> None:
    wave = np.sin(np.arange(RATE) * 2 * np.pi * 441 / RATE).astype(np.float32)
    save(tmp_path / "a.wav", np.stack([0.5 * wave, 0.5 * wave], axis=1), subtype="FLOAT")
    [report] = scan(tmp_path)
    assert report.seconds == 1.0
    assert (report.sample_rate, report.channels, report.subtype) == (RATE, 2, "FLOAT")
    assert report.peak == pytest.approx(0.5, abs=1e-4)
    assert report.loudness_db == pytest.approx(-9.03, abs=0.02)
    assert report.clipped_samples == 0


def test_loud_is_not_clipped_and_content_is_rate_samples_and_channels(tmp_path: Path) -> None:
    for frequency in (30, 100, 1000):
        save(tmp_path / f"{frequency}.wav", np.sin(np.arange(RATE) * 2 * np.pi * frequency / RATE).astype(np.float32))
    save(tmp_path / "faster.wav", np.sin(np.arange(RATE) * 2 * np.pi * 100 / RATE).astype(np.float32), 48_000)
    reports = scan(tmp_path)
    assert {str(report.verdict) for report in reports} == {"ok"}
    assert len({report.content for report in reports}) == 4


def test_enormous_floats_are_not_finite_and_large_ones_are_fine(tmp_path: Path) -> None:
    save(tmp_path / "huge.wav", tone() * np.float32(1e30), subtype="FLOAT")
    save(tmp_path / "large.wav", tone() * np.float32(30_000), subtype="FLOAT")
    assert [str(report.verdict) for report in scan(tmp_path)] == ["not_finite", "ok"]


def test_progress_counts_every_file(tmp_path: Path) -> None:
    folder_of_tones(tmp_path, 5)
    told: list[tuple[int, int]] = []
    scan(tmp_path, on_progress=lambda done, count: told.append((done, count)))
    assert told == [(index, 5) for index in range(1, 6)]


def test_real_sounds() -> None:
    folder = os.environ.get("DISTILL_TEST_AUDIO")
    if not folder:
        pytest.skip("DISTILL_TEST_AUDIO names no folder of real sounds")
    for name in ("drums", "kit", "tabla"):
        reports = scan(Path(folder) / name)
        sounds = [report for report in reports if report.verdict != "not_audio"]
        assert sounds
        assert all(report.usable for report in sounds)


def test_counting_agrees_with_finding_whatever_lies_there(tmp_path: Path) -> None:
    bad_folder(tmp_path / "in")
    save(tmp_path / "in" / "a" / "b" / "DEEP.WAV", tone())
    save(tmp_path / "elsewhere" / "out.wav", tone())
    (tmp_path / "in" / "a" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "same.wav").symlink_to(tmp_path / "elsewhere" / "out.wav")
    (tmp_path / "in" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    save(tmp_path / "in" / ".hidden" / "x.wav", tone())
    (tmp_path / "in" / ".wav").touch()
    for source in (tmp_path / "in", tmp_path / "in" / "same.wav", tmp_path / "in" / "readme.txt"):
        found = [each for each in find_files(source) if not each.problem and each.path.suffix.lower() in EXTENSIONS]
        assert count_files(source, EXTENSIONS) == len(found)
    with pytest.raises(DataError, match="no such folder or file"):
        count_files(tmp_path / "nowhere", EXTENSIONS)


def test_processes_judge_as_threads_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_folder(tmp_path / "in")
    for seed in range(70):
        save(tmp_path / "in" / "more" / f"{seed}.wav", noise(0.1, seed))
    alone = scan(tmp_path / "in", workers=1)
    monkeypatch.setattr("distill.workers.choice.PROCESS_SECONDS", 0.0)
    assert scan(tmp_path / "in", workers=2) == alone


def test_the_first_of_many_files_are_judged_before_processes_are_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 3 * FIRST_FILES
    for number in range(count):
        save(tmp_path / f"{number:03}.wav", noise(0.06, number))
    # So many files pay for processes, the first of them do not.
    monkeypatch.setattr("distill.dataset.scan.SECONDS_A_FILE", 0.9 * PROCESS_SECONDS / FIRST_FILES)
    before = set(psutil.Process().children())
    judged = scanned(tmp_path, workers=2)
    first = [next(judged) for _ in range(FIRST_FILES)]
    assert set(psutil.Process().children()) == before
    rest = list(judged)
    assert [report.path for report, _ in first + rest] == [f"{number:03}.wav" for number in range(count)]
