"""Sounds as people have them: every container, sizes that are wrong, channels that cancel, names of any kind."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cases_util import CASES, NAMES, ODD, PCM, PLAIN, SOUND, chunk, riff
from distill.audio.samples import downmix
from distill.audio.sound import EXTENSIONS, SoundError, SoundReader, read_sound
from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset.prepare import prepare
from distill.dataset.scan import scan
from distill.dataset.store import PreparedDataset
from sounds_util import RATE, noise, save, tone

MEMORY = 1 << 30


@pytest.mark.parametrize("name", CASES)
def test_a_file_gets_its_verdict_and_is_used_as_far_as_it_goes(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    case.make(tmp_path / name)
    [report] = scan(tmp_path / name)
    assert (report.path, str(report.verdict)) == (name, case.verdict)
    assert case.note in report.reason
    assert "\n" not in report.reason
    assert report.warnings == ((report.reason,) if report.usable and case.note else ())
    if not report.usable:
        with pytest.raises(SoundError):
            read_sound(tmp_path / name)
        return
    sound = read_sound(tmp_path / name)
    mono = downmix(sound.samples)
    assert report.seconds == pytest.approx(len(mono) / sound.sample_rate, abs=1e-6)
    assert np.abs(mono).max() > 0.02
    if case.near is not None:
        assert len(mono) == len(SOUND)
        assert np.abs(mono - SOUND).max() < case.near


def test_every_case_that_is_usable_can_be_prepared(tmp_path: Path) -> None:
    for name, case in CASES.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        case.make(tmp_path / "in" / name)
    summary = prepare(tmp_path / "in", tmp_path / "out", DataConfig(speed_semitones=()), SpectrogramConfig(), 0)
    manifest = pd.read_csv(tmp_path / "out" / "manifest.csv", keep_default_na=False).set_index("path")
    for name, case in CASES.items():
        assert manifest.loc[name, "verdict"] in (case.verdict, "duplicate"), name
        assert manifest.loc[name, "verdict"] == "duplicate" or case.note in manifest.loc[name, "reason"]
    remarks = [warning for warning in summary.warnings if "half.flac: usable, but decoding stops" in warning]
    assert len(remarks) == 1


@pytest.mark.parametrize(
    ("name", "seconds"), [("without count.mp3", 2.3), ("two sounds.mp3", 0.6), ("two rates.mp3", 0.3)]
)
def test_an_mp3_is_read_to_its_last_frame(tmp_path: Path, name: str, seconds: float) -> None:
    CASES[name].make(tmp_path / name)
    # A stream begins and ends with what its encoder needs.
    assert seconds - 0.01 < read_sound(tmp_path / name).seconds < seconds + 0.1


@pytest.mark.parametrize("before", [b"", ODD])
@pytest.mark.parametrize("size", [4_400_000_000 % 2**32, 2**32 - 1])
def test_all_of_a_wav_is_read_whose_size_needs_more_than_32_bits(tmp_path: Path, size: int, before: bytes) -> None:
    head = riff(before, chunk(b"fmt ", PLAIN), chunk(b"data", PCM, size), size=size)
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(head)
        # No disk is needed for what is not written.
        file.truncate(len(head) - len(PCM) + 4_400_000_000)
    with SoundReader(path) as reader:
        assert reader.seconds == 2_200_000_000 / RATE
        assert "more than 4 GB" in reader.note
        assert np.abs(next(iter(reader.blocks()))[: len(SOUND), 0] - SOUND).max() < 1e-4


def test_names_are_kept_as_they_are(tmp_path: Path) -> None:
    for index, name in enumerate(NAMES):
        save(tmp_path / "in" / name, tone(frequency=200 + 30 * index), format="WAV")
    assert sorted(report.path for report in scan(tmp_path / "in") if report.usable) == sorted(NAMES)
    prepare(tmp_path / "in", tmp_path / "out", DataConfig(speed_semitones=()), SpectrogramConfig(), 0)
    assert sorted(PreparedDataset(tmp_path / "out").manifest["path"]) == sorted(NAMES)


def test_the_mean_of_channels_is_taken_and_one_of_two_that_cancel_is_turned_over() -> None:
    left, right = noise(seed=1), noise(seed=2)
    for channels in ((left, right), (left, left), (left, 0 * left), (left, -0.5 * left), (left,)):
        samples = np.stack(channels)
        assert np.allclose(downmix(samples), samples.mean(0), atol=1e-7)
    for loud, quiet in ((left, -0.9 * left), (right, -0.99 * right)):
        assert np.allclose(downmix(np.stack([loud, quiet])), (loud - quiet) / 2, atol=1e-7)
    # Of more than two that cancel the loudest is taken.
    three = np.stack([left, -0.6 * left, -0.4 * left])
    assert np.array_equal(downmix(three), left)
    three[2] = 0.05 * right
    assert np.allclose(downmix(three), three.mean(0), atol=1e-7)


def test_300_mutated_sounds_give_one_line_or_a_sound_in_bounded_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    paths = []
    for extension in EXTENSIONS:
        options = {"subtype": "OPUS"} if extension == ".opus" else {}
        rate = 48_000 if options else 44_100
        source = save(
            tmp_path / f"whole{extension}", noise(0.2, rate=rate), rate, format=EXTENSIONS[extension], **options
        )
        data = source.read_bytes()
        for index in range(-(-300 // len(EXTENSIONS))):
            damaged = bytearray(data)
            # Headers decide what is allocated: half of the damage is there.
            reach = len(data) if index % 2 else min(200, len(data))
            for _ in range(index % 4 + 1):
                start = int(random.integers(reach))
                width = int(random.choice((1, 2, 4, 8, 40)))
                value = (random.bytes(width), b"\xff" * width, bytes(width))[int(random.integers(3))]
                damaged[start : start + width] = value[: len(data) - start]
            paths.append(tmp_path / f"{index}{extension}")
            paths[-1].write_bytes(damaged)
    assert len(paths) >= 300
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom distill.audio.samples import downmix\n"
        "from distill.audio.sound import SoundError, read_sound\n"
        "for path in json.load(sys.stdin):\n    try:\n        downmix(read_sound(Path(path)).samples)\n"
        "    except SoundError as error:\n        assert '\\n' not in str(error), error\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        input=json.dumps([str(path) for path in paths]),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
